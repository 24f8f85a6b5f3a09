# SPDX-License-Identifier: Apache-2.0
"""Kernels with just the kfuncs that a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.btfwriter import BtfWriter

from holdfast.btf import Btf
from holdfast.kernels import KernelFacts
from holdfast.kernels.facts import Registration
from holdfast.terms import Evidence, ProgramType

__all__ = ["TC", "XDP", "Kfunc", "Types", "kernel"]

TC, XDP = ProgramType.SCHED_CLS, ProgramType.XDP


@dataclass(frozen=True)
class Kfunc:
    """A kfunc. ``params`` are name and type (a key of :class:`Types`); ``flags`` None: not registered."""

    params: Sequence[tuple[str, str]] = ()
    returns: str = "int"
    flags: str | None = ""
    types: Sequence[ProgramType] | None = (TC,)
    narrowed: bool = False
    module: str | None = None
    by_type: Mapping[ProgramType, str] | None = None


class Types(BtfWriter):
    """The types that prototypes may use, by their text in C."""

    def __init__(self, base: Btf | None = None) -> None:
        super().__init__(base=base)
        self.ids: dict[str, int] = {"void": 0}
        if base is not None:
            return
        self.ids["int"] = self.integer()
        self.ids["s32"] = self.typedef("s32", self.ids["int"])
        self.ids["u32"] = self.typedef("u32", self.integer("unsigned int", 4, 0))
        self.ids["u64"] = self.typedef("u64", self.integer("long unsigned int", 8, 0))
        self.ids["void *"] = self.ptr(0)
        structs = ("sock", "sk_buff", "__sk_buff", "bpf_dynptr", "bpf_dynptr_kern", "bpf_prog_aux", "other")
        for name in structs:
            # a struct of numbers alone would be memory to the verifier, and no object
            struct = self.struct(name, 8, ("a", self.ids["u64" if name == "other" else "void *"], 0))
            self.ids[f"struct {name} *"] = self.ptr(struct)
            self.ids[f"const struct {name} *"] = self.ptr(self.const(struct))
        self.struct("bpf_ct_opts", 12, ("netns_id", self.ids["int"], 0), ("error", self.ids["int"], 32))

    def kfunc(self, name: str, row: Kfunc) -> int:
        proto = self.proto(self.ids[row.returns], *[(param, self.ids[text]) for param, text in row.params])
        return self.func(name, proto)


def kernel(
    release: str,
    kfuncs: Mapping[str, Kfunc] | None = None,
    *,
    source: str = "debian",
    config: Mapping[str, str] | None = None,
    modules: bool = True,
    arch: str = "x86_64",
    enums: Mapping[str, Mapping[str, int]] | None = None,
    types: Types | None = None,
) -> KernelFacts:
    """A kernel; ``release`` as ``6.12.1-cloud-amd64``. ``modules`` False: none came along."""
    writer = types or Types()
    kfuncs = kfuncs or {}
    for name, row in kfuncs.items():
        if row.module is None:
            writer.kfunc(name, row)
    for enum, values in (enums or {}).items():
        writer.enum(enum, *values.items())
    vmlinux = Btf.from_bytes(writer.raw())
    split: dict[str, Btf] = {}
    for module in sorted({row.module for row in kfuncs.values() if row.module}):
        part = Types(vmlinux)
        part.ids = writer.ids
        for name, row in kfuncs.items():
            if row.module == module:
                part.kfunc(name, row)
        split[module] = Btf.from_bytes(part.raw(), base=vmlinux)
    return KernelFacts(
        f"{source}/{release}",
        release,
        arch,
        source,
        vmlinux,
        split if modules else {},
        frozenset(split) if modules else None,
        config,
        registrations={
            name: _registration(row)
            for name, row in kfuncs.items()
            if row.flags is not None and (modules or row.module is None)
        },
    )


def _registration(row: Kfunc) -> Registration:
    return Registration(
        frozenset((row.flags or "").split()),
        None if row.types is None else frozenset(row.types),
        row.narrowed,
        (Evidence.BTF_IDS, Evidence.INIT_CODE),
        row.module,
        None
        if row.by_type is None
        else {kind: frozenset(text.split()) for kind, text in row.by_type.items()},
    )
