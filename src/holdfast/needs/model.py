# SPDX-License-Identifier: Apache-2.0
"""What a program may require of a kernel, one class for each kind of need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from holdfast.btf.ext import CoreRelo
from holdfast.elf.spec import ExternSpec, MapSpec, ProgramSpec
from holdfast.insn.features import InsnFeature
from holdfast.terms import AttachType, ProgramType

__all__ = [
    "AttachTargetNeed",
    "CapabilityNeed",
    "CoreReloNeed",
    "HelperNeed",
    "InstructionNeed",
    "KconfigNeed",
    "KfuncNeed",
    "KsymNeed",
    "LicenseNeed",
    "MapNeed",
    "Need",
    "NeedKind",
    "ObjectNeeds",
    "ProgramNeeds",
    "ProgramTypeNeed",
    "SizeNeed",
    "StructOpsNeed",
    "TargetKind",
]


class NeedKind(StrEnum):
    """Kinds of needs, in the order in which reports list them."""

    PROGRAM_TYPE = "program type"
    CAPABILITY = "capability"
    LICENSE = "license"
    ATTACH_TARGET = "attach target"
    STRUCT_OPS = "struct_ops"
    MAP = "map"
    HELPER = "helper"
    KFUNC = "kfunc"
    KSYM = "ksym"
    CORE_RELO = "CO-RE"
    KCONFIG = "kconfig"
    INSTRUCTION = "instruction"
    SIZE = "size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that a program requires.

    ``slots`` are the instructions that ask for it (empty: the program as a whole), ``source`` the C file and
    line of the first of them. ``conditions`` name the weak needs without which none of these instructions is
    live: ``if bpf_foo exists``, ``if task_struct.x exists``, or with ``not`` for the code that runs in their
    absence.
    """

    kind: ClassVar[NeedKind]
    name: str
    slots: tuple[int, ...] = ()
    source: str | None = None
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramTypeNeed(Need):
    """The program type, with what else is said at BPF_PROG_LOAD."""

    kind = NeedKind.PROGRAM_TYPE
    type: ProgramType
    attach_type: AttachType | None
    sleepable: bool
    libbpf: tuple[int, int]  # the release whose SEC() table knows the section


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityNeed(Need):
    """Capabilities of the loading process; CAP_SYS_ADMIN replaces them all."""

    kind = NeedKind.CAPABILITY
    to_load: tuple[str, ...]
    to_attach: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseNeed(Need):
    """A GPL-compatible license, demanded by the program type or by functions that it calls."""

    kind = NeedKind.LICENSE
    license: str
    compatible: bool
    demanded_by: tuple[str, ...]


class TargetKind(StrEnum):
    """What an attach target is."""

    FUNCTION = "function"  # fentry, fexit, fmod_ret, fsession: a FUNC in BTF
    LSM_HOOK = "LSM hook"
    TRACEPOINT_BTF = "BTF tracepoint"  # tp_btf
    ITERATOR = "iterator"
    PROGRAM = "BPF program"  # freplace
    RAW_TRACEPOINT = "raw tracepoint"
    TRACEPOINT = "tracepoint"
    KPROBE = "kernel symbol"
    SYSCALL = "system call"
    UPROBE = "user-space symbol"
    USDT = "USDT probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachTargetNeed(Need):
    """What the program attaches to; ``at_load``: it must be found for the program to load at all."""

    kind = NeedKind.ATTACH_TARGET
    target_kind: TargetKind
    target: str | None
    module: str | None
    at_load: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StructOpsNeed(Need):
    """A struct_ops type and the members that the object fills."""

    kind = NeedKind.STRUCT_OPS
    map: MapSpec
    type_name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapNeed(Need):
    """A map that libbpf creates for the object; ``helpers`` are those that the program calls on it, where
    known.
    """

    kind = NeedKind.MAP
    map: MapSpec
    used: bool
    application_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperNeed(Need):
    """A helper function; ``number`` is its ``enum bpf_func_id``."""

    kind = NeedKind.HELPER
    number: int
    in_subprogram: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KfuncNeed(Need):
    """A kfunc; ``name`` is what libbpf looks for, ``spelled`` what the object says (``___flavor``
    included).
    """

    kind = NeedKind.KFUNC
    extern: ExternSpec
    spelled: str
    weak: bool
    guarded: bool
    prototype: str
    in_subprogram: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KsymNeed(Need):
    """A kernel variable or symbol whose address the program takes."""

    kind = NeedKind.KSYM
    extern: ExternSpec
    weak: bool
    declaration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreReloNeed(Need):
    """A CO-RE relocation; ``spec`` is libbpf's text for it, ``label`` libbpf's word for its kind."""

    kind = NeedKind.CORE_RELO
    relo: CoreRelo
    label: str
    spec: str
    optional: bool  # a missing target gives 0 instead of an invalid instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class KconfigNeed(Need):
    """A value of the kernel's configuration (or one that libbpf makes up: LINUX_KERNEL_VERSION ...)."""

    kind = NeedKind.KCONFIG
    extern: ExternSpec
    weak: bool
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionNeed(Need):
    """A property of instructions that not every kernel accepts; ``isa`` is clang's -mcpu level, 1 to 4."""

    kind = NeedKind.INSTRUCTION
    feature: InsnFeature
    isa: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeNeed(Need):
    """How large the program is: 8-byte slots with all subprograms, and the number of functions."""

    kind = NeedKind.SIZE
    insns: int
    functions: int


@dataclass(frozen=True, slots=True)
class ProgramNeeds:
    """Everything that one program requires, those needs of the object included that libbpf enforces for
    each.
    """

    program: ProgramSpec
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class ObjectNeeds:
    """The needs of an object's programs, in libbpf's order of programs."""

    path: str
    sha256: str
    programs: tuple[ProgramNeeds, ...]
