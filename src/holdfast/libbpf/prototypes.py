# SPDX-License-Identifier: Apache-2.0
"""Prototypes of the libbpf functions and structures that Holdfast uses (libbpf.h, bpf.h).

Each structure begins with its own size, and libbpf accepts a longer one than it knows as long as
the rest is zero (OPTS_VALID), so one layout serves every release.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

__all__ = [
    "PROTOTYPES",
    "SHIM",
    "OpenOpts",
    "PrintFn",
    "Prototype",
    "ShimPrintFn",
    "TestRunOpts",
]

_pointer = ctypes.c_void_p  # struct bpf_object *, bpf_program *, bpf_map *, bpf_link *
_text = ctypes.c_char_p
_int = ctypes.c_int
_u32 = ctypes.c_uint32
_size = ctypes.c_size_t
_bool = ctypes.c_bool

PrintFn = ctypes.CFUNCTYPE(_int, _int, _text, ctypes.c_void_p)  # libbpf_print_fn_t, the va_list as a word
ShimPrintFn = ctypes.CFUNCTYPE(None, _int, _text)


class OpenOpts(ctypes.Structure):
    """``struct bpf_object_open_opts``."""

    _fields_ = (
        ("sz", _size),
        ("object_name", _text),
        ("relaxed_maps", _bool),
        ("pin_root_path", _text),
        ("_attach_prog_fd", _u32),  # gone since 1.0
        ("kconfig", _text),
        ("btf_custom_path", _text),
        ("kernel_log_buf", ctypes.c_void_p),
        ("kernel_log_size", _size),
        ("kernel_log_level", _u32),
        ("bpf_token_path", _text),  # 1.4
    )


class TestRunOpts(ctypes.Structure):
    """``struct bpf_test_run_opts``."""

    __test__ = False  # pytest collects classes by this prefix

    _fields_ = (
        ("sz", _size),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", _u32),
        ("data_size_out", _u32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", _u32),
        ("ctx_size_out", _u32),
        ("retval", _u32),
        ("repeat", _int),
        ("duration", _u32),
        ("flags", _u32),
        ("cpu", _u32),
        ("batch_size", _u32),
    )


@dataclass(frozen=True, slots=True)
class Prototype:
    """A C function: result, arguments, and the libbpf release that brought it."""

    result: Any
    arguments: tuple[Any, ...]
    since: tuple[int, int] = (1, 0)


_P = Prototype
PROTOTYPES: dict[str, Prototype] = {
    "libbpf_major_version": _P(_u32, ()),
    "libbpf_minor_version": _P(_u32, ()),
    "libbpf_version_string": _P(_text, ()),
    "libbpf_strerror": _P(_int, (_int, _text, _size)),
    "bpf_object__open_file": _P(_pointer, (_text, _pointer)),
    "bpf_object__open_mem": _P(_pointer, (_text, _size, _pointer)),
    "bpf_object__prepare": _P(_int, (_pointer,), (1, 6)),
    "bpf_object__load": _P(_int, (_pointer,)),
    "bpf_object__close": _P(None, (_pointer,)),
    "bpf_object__name": _P(_text, (_pointer,)),
    "bpf_object__next_program": _P(_pointer, (_pointer, _pointer)),
    "bpf_object__next_map": _P(_pointer, (_pointer, _pointer)),
    "bpf_program__name": _P(_text, (_pointer,)),
    "bpf_program__section_name": _P(_text, (_pointer,)),
    "bpf_program__fd": _P(_int, (_pointer,)),
    "bpf_program__type": _P(_int, (_pointer,)),
    "bpf_program__expected_attach_type": _P(_int, (_pointer,)),
    "bpf_program__autoload": _P(_bool, (_pointer,)),
    "bpf_program__set_autoload": _P(_int, (_pointer, _bool)),
    "bpf_program__set_attach_target": _P(_int, (_pointer, _int, _text)),
    "bpf_program__insns": _P(_pointer, (_pointer,)),
    "bpf_program__insn_cnt": _P(_size, (_pointer,)),
    "bpf_program__attach": _P(_pointer, (_pointer,)),
    "bpf_map__name": _P(_text, (_pointer,)),
    "bpf_map__fd": _P(_int, (_pointer,)),
    "bpf_map__type": _P(_int, (_pointer,)),
    "bpf_map__key_size": _P(_u32, (_pointer,)),
    "bpf_map__value_size": _P(_u32, (_pointer,)),
    "bpf_map__max_entries": _P(_u32, (_pointer,)),
    "bpf_map__set_max_entries": _P(_int, (_pointer, _u32)),
    "bpf_map__map_flags": _P(_u32, (_pointer,)),
    "bpf_map__autocreate": _P(_bool, (_pointer,)),
    "bpf_map__set_autocreate": _P(_int, (_pointer, _bool)),
    "bpf_map__is_internal": _P(_bool, (_pointer,)),
    "bpf_map__initial_value": _P(_pointer, (_pointer, _pointer)),
    "bpf_map__set_initial_value": _P(_int, (_pointer, _text, _size)),
    "bpf_map__pin_path": _P(_text, (_pointer,)),
    "bpf_map__set_pin_path": _P(_int, (_pointer, _text)),
    "bpf_map__is_pinned": _P(_bool, (_pointer,)),
    "bpf_map__reuse_fd": _P(_int, (_pointer, _int)),
    "bpf_map__attach_struct_ops": _P(_pointer, (_pointer,)),
    "bpf_link__fd": _P(_int, (_pointer,)),
    "bpf_link__disconnect": _P(None, (_pointer,)),
    "bpf_link__destroy": _P(_int, (_pointer,)),
    "bpf_prog_test_run_opts": _P(_int, (_int, _pointer)),
}

# Of scripts/libbpf_shim.c, in the bundled library alone.
SHIM: dict[str, Prototype] = {
    "holdfast_set_print": _P(None, (ShimPrintFn,)),
    "holdfast_set_print_level": _P(None, (_int,)),
}
