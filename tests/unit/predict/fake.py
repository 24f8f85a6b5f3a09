# SPDX-License-Identifier: Apache-2.0
"""Kernels that offer just what a test says, written as BTF; programs compiled from C."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.btfwriter import BOOL, BtfWriter

from holdfast.kernels import KernelFacts
from holdfast.kernels.host import HostFacts
from holdfast.rules.ask import SignKind
from holdfast.rules.eras import MARKERS
from holdfast.rules.helper_table import HELPERS, LAST_HELPER, TREES
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = ["ROOT", "AllOn", "Writer", "kernel", "types_of"]

ROOT = HostFacts(frozenset({"CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"}), bpf_jit_enable=1)


FORCED = ("LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY")


class AllOn(Mapping[str, str]):
    """A configuration in which everything is built in but what is named, and nothing locked down."""

    def __init__(self, *off: str, **values: str) -> None:
        self.off = {f"CONFIG_{name}" for name in (*off, *FORCED)}
        self.values_of = {f"CONFIG_{name}": value for name, value in values.items()}

    def __getitem__(self, key: str) -> str:
        if key in self.off:
            raise KeyError(key)
        return self.values_of.get(key, "y")

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)


class Writer(BtfWriter):
    """Ids of the plain types that every fake kernel has."""

    def __init__(self) -> None:
        super().__init__()
        self.int = self.integer()
        self.long = self.integer("long int", 8)
        self.u64 = self.integer("long unsigned int", 8, 0)
        self.bool = self.integer("_Bool", 1, BOOL)
        self.task = self.struct("task_struct", 16, ("pid", self.int, 0), ("tgid", self.int, 32))
        self.task_ptr = self.ptr(self.task)

    def function(self, name: str, returns: int = 0, *params: int, kfunc: bool = False) -> int:
        """A FUNC; with the tag of a kfunc if asked for."""
        func = self.func(name, self.proto(returns, *[(f"p{n}", p) for n, p in enumerate(params)]))
        if kfunc:
            self.decl_tag("bpf_kfunc", func)
        return func


def kernel(
    extra: Callable[[Writer], object] = lambda _: None,
    *,
    release: tuple[int, int] = (6, 12),
    without: Collection[str] = (),
    config: Mapping[str, str] | None = None,
    host: HostFacts | None = None,
    arch: str = "x86_64",
    **fields: Any,
) -> KernelFacts:
    """The facts of a kernel whose BTF is as :func:`types_of` writes it. ``config`` None: everything is on."""
    text = f"{release[0]}.{release[1]}.0"
    facts = KernelFacts(
        f"file/{text}",
        text,
        arch,
        "file",
        types_of(extra, release=release, without=without).btf("vmlinux"),
        config=AllOn() if config is None else config,
        host=host,
    )
    return replace(facts, **fields)


def types_of(
    extra: Callable[[Writer], object] = lambda _: None,
    *,
    release: tuple[int, int] = (6, 12),
    without: Collection[str] = (),
) -> Writer:
    """BTF of about that release: its enumerations, the markers of its age, all program types built in.

    ``without`` leaves out enumerators and functions by name (``BPF_MAP_TYPE_RINGBUF``); ``extra`` adds types.
    """
    writer = Writer()
    enums: dict[str, dict[str, int]] = {
        "bpf_prog_type": {f"BPF_PROG_TYPE_{kind.name}": kind.value for kind in ProgramType},
        "bpf_map_type": {f"BPF_MAP_TYPE_{kind.name}": kind.value for kind in MapType},
        "bpf_attach_type": {f"BPF_{kind.name}": kind.value for kind in AttachType},
        "bpf_func_id": {f"BPF_FUNC_{name}": n for n, name in HELPERS.items() if n <= _last_helper(release)},
        "bpf_reg_type": {"PTR_TO_FUNC": 19},
        "bpf_cmd": {"BPF_MAP_CREATE": 0},
        "bpf_cond_pseudo_jmp": {"BPF_MAY_GOTO": 0},
        "bpf_addr_space_cast": {"BPF_ADDR_SPACE_CAST": 1},
    }
    functions = ["bpf_jit_supports_kfunc_call", "array_map_mmap"]
    for came, sign in MARKERS:
        if sign.kind is SignKind.FUNC:
            functions += [sign.name] if came <= release else []
        elif came > release:
            enums.get(sign.of, {}).pop(sign.name, None)
        else:
            enums[sign.of].setdefault(sign.name, 9999)
    for name, values in enums.items():
        writer.enum(name, *[(key, value) for key, value in values.items() if key not in without])
    for name in functions:
        if name not in without:
            writer.function(name)
    built = [f"BPF_PROG_TYPE_{kind.name}_prog" for kind in ProgramType if kind]
    members = [(name, writer.int, 0) for name in built if name not in without]
    writer.struct("bpf_ctx_convert", 4, *members)
    called = [("called", writer.int, 0)] if "called" not in without else []
    writer.struct("bpf_func_info_aux", 4, *called)
    extra(writer)
    return writer


def _last_helper(release: tuple[int, int]) -> int:
    return max(last for tree, last in zip(TREES, LAST_HELPER, strict=True) if tree <= release)
