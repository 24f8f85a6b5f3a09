# SPDX-License-Identifier: Apache-2.0
"""What a BPF object says, as values: the same on every machine, for every kernel.

``ObjectSpec`` is what :func:`holdfast.elf.open_object` returns. All sizes are in bytes unless a name says
bits; ``slot`` is an index into an instruction stream (8 bytes each).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.btf import Btf
from holdfast.btf.ext import CoreRelo, LineInfo
from holdfast.elf.sections import SectionDef
from holdfast.insn import Instruction
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = [
    "ExternKind",
    "ExternSpec",
    "InitialSlot",
    "MapOrigin",
    "MapSpec",
    "ObjectRelo",
    "ObjectSpec",
    "OpenProblem",
    "Part",
    "ProgramSpec",
    "Reference",
    "ReferenceKind",
    "StructOpsSpec",
]


class MapOrigin(StrEnum):
    """Where a map is declared."""

    BTF = ".maps"
    LEGACY = "maps"
    DATA = ".data"
    RODATA = ".rodata"
    BSS = ".bss"
    KCONFIG = ".kconfig"
    STRUCT_OPS = ".struct_ops"


@dataclass(frozen=True, slots=True)
class InitialSlot:
    """A declared element: ``values`` of a map of maps (``target`` is a map) or of a program array (a
    program).
    """

    index: int
    target: str


@dataclass(frozen=True, slots=True)
class StructOpsSpec:
    """A struct_ops variable: ``type_id`` is its struct in the object's BTF, ``programs`` maps members to
    programs.
    """

    type_name: str
    type_id: int
    programs: dict[str, str]
    link: bool  # in .struct_ops.link: BPF_F_LINK


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map as declared. ``type`` is a plain number when it is newer than :class:`~holdfast.terms.MapType`.

    ``key_type_id`` and ``value_type_id`` are 0 where the declaration has no BTF type. ``max_entries`` 0 means
    that the application must set it (or that the type wants 0). ``contents`` is the initial value of a data
    section.
    """

    name: str
    type: MapType | int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    origin: MapOrigin
    key_type_id: int = 0
    value_type_id: int = 0
    map_extra: int = 0
    numa_node: int = 0
    pinning: int = 0
    autocreate: bool = True
    section: str = ""
    section_index: int = 0
    offset: int = 0
    inner: MapSpec | None = None
    slots: tuple[InitialSlot, ...] = ()
    struct_ops: StructOpsSpec | None = None
    contents: bytes | None = field(default=None, repr=False)

    @property
    def is_internal(self) -> bool:
        """Made by libbpf out of a data section."""
        return self.origin in (MapOrigin.DATA, MapOrigin.RODATA, MapOrigin.BSS, MapOrigin.KCONFIG)

    @property
    def frozen(self) -> bool:
        """libbpf freezes it before the programs load, so that the verifier sees its contents as constants."""
        return self.origin in (MapOrigin.RODATA, MapOrigin.KCONFIG)


class ExternKind(StrEnum):
    """What an undefined symbol stands for."""

    KCONFIG = "kconfig"
    KFUNC = "kfunc"
    KSYM_TYPED = "typed ksym"
    KSYM_UNTYPED = "ksym"


@dataclass(frozen=True, slots=True)
class ExternSpec:
    """An extern; ``type_id`` is its VAR's or FUNC's type in the object's BTF.

    ``size`` and ``offset`` place a kconfig extern in the ``.kconfig`` map.
    """

    name: str
    kind: ExternKind
    weak: bool
    btf_id: int
    type_id: int
    size: int = 0
    offset: int = 0


class ReferenceKind(StrEnum):
    """What a relocated instruction refers to."""

    MAP = "map"  # the map itself
    MAP_VALUE = "map value"  # an address inside a data section or arena
    EXTERN = "extern"  # address or value of an extern
    KFUNC_CALL = "kfunc call"
    SUBPROG_CALL = "subprogram call"
    SUBPROG_ADDRESS = "subprogram address"
    JUMP_TABLE = "jump table"


@dataclass(frozen=True, slots=True)
class Reference:
    """The instruction at ``slot`` of the program's stream refers to ``name``; ``offset`` in bytes inside
    it.
    """

    slot: int
    kind: ReferenceKind
    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A function inside a program's stream: the main function first, then each subprogram that it reaches.

    ``function`` is its number in the object (:class:`ObjectRelo`).
    """

    function: int
    name: str
    start: int
    length: int
    func_type_id: int | None
    is_global: bool


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """One entry-point program with all the subprograms that it reaches, laid out as libbpf hands them over.

    ``section`` is as libbpf sees it (no leading ``?``). ``type`` is UNSPEC where no SEC() row matches.
    """

    name: str
    section: str
    autoload: bool
    definition: SectionDef | None
    type: ProgramType
    attach_type: AttachType | None
    insns: tuple[Instruction, ...] = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)
    references: tuple[Reference, ...] = field(repr=False)
    core_relos: tuple[tuple[int, CoreRelo], ...] = field(repr=False)
    lines: tuple[tuple[int, LineInfo], ...] = field(repr=False)
    link_problem: str | None = None

    @property
    def sleepable(self) -> bool:
        return self.definition is not None and self.definition.sleepable

    @property
    def target(self) -> str | None:
        """What stands after the first ``/`` of the section name: an attach target for most tracing types."""
        return self.section.partition("/")[2] or None

    def line_at(self, slot: int) -> LineInfo | None:
        """The last line info at or before ``slot`` inside the same function, None without line info."""
        at = bisect_right(self.lines, slot, key=lambda row: row[0]) - 1
        if at < 0:
            return None
        start, info = self.lines[at]
        for part in self.parts:
            if part.start <= slot < part.start + part.length:
                return info if start >= part.start else None
        return None

    def source_at(self, slot: int) -> str | None:
        """``file.c:12`` for an instruction, None without line info."""
        info = self.line_at(slot)
        return f"{info.file_name.rsplit('/', 1)[-1]}:{info.line}" if info else None


@dataclass(frozen=True, slots=True)
class ObjectRelo:
    """A CO-RE relocation where it stands in the object: ``slot`` counts from the start of function number
    ``function``; ``following`` is the next slot, the second half of a wide instruction.
    """

    function: int
    is_subprog: bool
    slot: int
    insn: Instruction
    following: Instruction | None
    relo: CoreRelo


@dataclass(frozen=True, slots=True)
class OpenProblem:
    """Something that makes libbpf refuse the object when it opens it; ``rule`` names the place in libbpf."""

    message: str
    rule: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """A BPF object. ``byteorder`` is "little" or "big"; ``license`` is "" without a license section.

    ``core_relos`` are those of all functions in the order of .BTF.ext, which is the order that libbpf takes.
    """

    path: str
    sha256: str
    byteorder: str
    license: str
    version: int | None
    programs: tuple[ProgramSpec, ...]
    maps: tuple[MapSpec, ...]
    externs: tuple[ExternSpec, ...]
    btf: Btf | None
    problems: tuple[OpenProblem, ...] = ()
    core_relos: tuple[ObjectRelo, ...] = field(default=(), repr=False)

    def program(self, name: str) -> ProgramSpec | None:
        """The program of that name."""
        return next((p for p in self.programs if p.name == name), None)

    def map(self, name: str) -> MapSpec | None:
        """The map of that name."""
        return next((m for m in self.maps if m.name == name), None)

    def extern(self, name: str) -> ExternSpec | None:
        """The extern of that name, as spelled in the object."""
        return next((e for e in self.externs if e.name == name), None)
