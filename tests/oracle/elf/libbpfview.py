# SPDX-License-Identifier: Apache-2.0
"""What libbpf says of an object that it has opened, and what it makes of one that it prepares."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.insn import INSN_SIZE, Instruction, decode
from holdfast.libbpf import Level, Library, Messages
from holdfast.libbpf.prototypes import OpenOpts

__all__ = ["LibbpfMap", "LibbpfProgram", "View", "opened", "prepared", "section_type"]

# Getters that the binding has no use for: result by name.
_MORE = {
    "bpf_map__map_extra": ctypes.c_uint64,
    "bpf_map__numa_node": ctypes.c_uint32,
    "bpf_map__btf_key_type_id": ctypes.c_uint32,
    "bpf_map__btf_value_type_id": ctypes.c_uint32,
    "bpf_map__inner_map": ctypes.c_void_p,
}


@dataclass(frozen=True, slots=True)
class LibbpfProgram:
    name: str
    section: str
    type: int
    attach_type: int
    autoload: bool
    insns: tuple[Instruction, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LibbpfMap:
    """``autocreate`` and ``internal`` mean nothing for an inner map."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    map_extra: int
    numa_node: int
    key_type_id: int
    value_type_id: int
    inner: LibbpfMap | None
    autocreate: bool
    internal: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class View:
    """``refusal`` is libbpf's last warning when it does not open, or does not prepare, the object; ``log`` is
    all that it said while it opened it.
    """

    programs: tuple[LibbpfProgram, ...] = ()
    maps: tuple[LibbpfMap, ...] = ()
    refusal: str | None = None
    log: tuple[str, ...] = field(default=(), repr=False)


def opened(lib: Library, path: Path) -> View:
    """The object as ``bpf_object__open()`` leaves it; instructions are the main functions' alone."""
    messages = Messages(most=Level.DEBUG)
    with _open(lib, path.read_bytes(), path.name, messages) as handle:
        if not handle:
            return View(refusal=_last(messages))
        log = tuple(message.text for message in messages.kept)
        return replace(_view(lib, handle), log=log)


def prepared(lib: Library, data: bytes, name: str, adjust: Callable[[int], None]) -> View:
    """The object after ``bpf_object__prepare()``: relocated, its maps created, no program loaded.

    ``adjust`` gets the opened object's handle.
    """
    messages = Messages(most=Level.DEBUG)
    with _open(lib, data, name, messages) as handle:
        if not handle:
            return View(refusal=_last(messages))
        adjust(handle)
        with lib.listening(messages):
            failed = lib.call("bpf_object__prepare", handle)
        return View(refusal=_last(messages)) if failed else _view(lib, handle)


def each(lib: Library, function: str, handle: int) -> Iterator[int]:
    """Handles of all programs or maps of an object."""
    one = lib.call(function, handle, None)
    while one:
        yield one
        one = lib.call(function, handle, one)


@contextmanager
def _open(lib: Library, data: bytes, name: str, messages: Messages) -> Iterator[int]:
    # libbpf's own choice of a name for a file: the part before the first dot
    options = OpenOpts(sz=ctypes.sizeof(OpenOpts), object_name=name.partition(".")[0].encode())
    with lib.listening(messages):
        handle = lib.call("bpf_object__open_mem", data, len(data), ctypes.byref(options))
    try:
        yield handle or 0
    finally:
        if handle:
            lib.call("bpf_object__close", handle)


def _last(messages: Messages) -> str:
    return (messages.warnings() or ["it says nothing"])[-1]


def _view(lib: Library, handle: int) -> View:
    more = ctypes.CDLL(lib.path)
    programs = tuple(_program(lib, one) for one in each(lib, "bpf_object__next_program", handle))
    maps = tuple(_map(lib, more, one) for one in each(lib, "bpf_object__next_map", handle))
    return View(programs, maps)


def _program(lib: Library, handle: int) -> LibbpfProgram:
    size = lib.call("bpf_program__insn_cnt", handle) * INSN_SIZE
    return LibbpfProgram(
        lib.call("bpf_program__name", handle).decode(),
        lib.call("bpf_program__section_name", handle).decode(),
        lib.call("bpf_program__type", handle),
        lib.call("bpf_program__expected_attach_type", handle),
        lib.call("bpf_program__autoload", handle),
        decode(ctypes.string_at(lib.call("bpf_program__insns", handle), size)),
    )


def _map(lib: Library, more: ctypes.CDLL, handle: int) -> LibbpfMap:
    def get(name: str) -> Any:
        if name not in _MORE:
            return lib.call(name, handle)
        function = getattr(more, name)
        function.restype, function.argtypes = _MORE[name], (ctypes.c_void_p,)
        return function(handle)

    inner = get("bpf_map__inner_map")
    return LibbpfMap(
        get("bpf_map__name").decode(),
        get("bpf_map__type"),
        get("bpf_map__key_size"),
        get("bpf_map__value_size"),
        get("bpf_map__max_entries"),
        get("bpf_map__map_flags"),
        get("bpf_map__map_extra"),
        get("bpf_map__numa_node"),
        get("bpf_map__btf_key_type_id"),
        get("bpf_map__btf_value_type_id"),
        _map(lib, more, inner) if inner else None,
        get("bpf_map__autocreate"),
        get("bpf_map__is_internal"),
        bool(get("bpf_map__pin_path")),
    )


def section_type(lib: Library, section: str, messages: Messages | None = None) -> tuple[int, int] | None:
    """(program type, attach type) of a section name (``libbpf_prog_type_by_name()``), None if it has none.

    What libbpf says goes to ``messages``.
    """
    function = ctypes.CDLL(lib.path).libbpf_prog_type_by_name
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
    kind, attach = ctypes.c_int(), ctypes.c_int()
    with lib.listening(messages or Messages(most=Level.DEBUG)):
        failed = function(section.encode(), ctypes.byref(kind), ctypes.byref(attach))
    return None if failed else (kind.value, attach.value)
