# SPDX-License-Identifier: Apache-2.0
"""Read ``.BTF.ext``: function info, line info and CO-RE relocations of an object.

Layout: ``struct btf_ext_header`` and its records in libbpf's ``libbpf_internal.h`` and
``include/uapi/linux/bpf.h``. All instruction offsets are in bytes from the start of the ELF section that a
record belongs to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from holdfast.btf.reader import BTF_MAGIC, Btf
from holdfast.errors import BtfError

__all__ = ["BtfExt", "CoreRelo", "CoreReloKind", "FuncInfo", "LineInfo"]


class CoreReloKind(IntEnum):
    """``enum bpf_core_relo_kind``; :attr:`label` is the word that libbpf prints for it."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS: Final = {
    CoreReloKind.FIELD_BYTE_OFFSET: "byte_off",
    CoreReloKind.FIELD_BYTE_SIZE: "byte_sz",
    CoreReloKind.FIELD_EXISTS: "field_exists",
    CoreReloKind.FIELD_SIGNED: "signed",
    CoreReloKind.FIELD_LSHIFT_U64: "lshift_u64",
    CoreReloKind.FIELD_RSHIFT_U64: "rshift_u64",
    CoreReloKind.TYPE_ID_LOCAL: "local_type_id",
    CoreReloKind.TYPE_ID_TARGET: "target_type_id",
    CoreReloKind.TYPE_EXISTS: "type_exists",
    CoreReloKind.TYPE_SIZE: "type_size",
    CoreReloKind.ENUMVAL_EXISTS: "enumval_exists",
    CoreReloKind.ENUMVAL_VALUE: "enumval_value",
    CoreReloKind.TYPE_MATCHES: "type_matches",
}
_KINDS: Final[dict[int, CoreReloKind]] = {int(kind): kind for kind in CoreReloKind}


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """A function begins at ``insn_off`` bytes; ``type_id`` is its FUNC."""

    insn_off: int
    type_id: int


class LineInfo(NamedTuple):
    """The instruction at ``insn_off`` bytes comes from this place of the source."""

    # A tuple: objects have tens of thousands, and a frozen dataclass takes three times as long to make.

    insn_off: int
    file_name: str
    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class CoreRelo:
    """A CO-RE relocation of the instruction at ``insn_off`` bytes (``struct bpf_core_relo``).

    ``type_id`` is the root type in the object's BTF; ``access`` is the accessor string such as "0:1:2".
    ``kind`` is a plain number when it is newer than :class:`CoreReloKind`.
    """

    insn_off: int
    type_id: int
    access: str
    kind: CoreReloKind | int


@dataclass(frozen=True, slots=True)
class BtfExt:
    """The records of .BTF.ext by ELF section name."""

    funcs: dict[str, list[FuncInfo]] = field(default_factory=dict)
    lines: dict[str, list[LineInfo]] = field(default_factory=dict)
    core_relos: dict[str, list[CoreRelo]] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes, btf: Btf, origin: str) -> BtfExt:
        """Read the section. Raises :exc:`~holdfast.errors.BtfError` for what libbpf would refuse."""
        return _Reader(data, btf, origin).read()


class _Reader:
    def __init__(self, data: bytes, btf: Btf, origin: str) -> None:
        self.data = data
        self.btf = btf
        self.origin = origin

    def fail(self, offset: int, problem: str) -> BtfError:
        return BtfError(self.origin, problem, place=f".BTF.ext offset {offset:#x}")

    def read(self) -> BtfExt:
        data = self.data
        if len(data) < 8:
            raise self.fail(0, f"{len(data)} bytes are too few for a header")
        self.order = "<" if struct.unpack_from("<H", data)[0] == BTF_MAGIC else ">"
        magic, version, _flags, header = struct.unpack_from(self.order + "HBBI", data)
        if magic != BTF_MAGIC:
            raise self.fail(0, f"magic is {magic:#06x}, not {BTF_MAGIC:#06x}")
        if version != 1:
            raise self.fail(2, f"version {version} is not known (1 is)")
        if not 24 <= header <= len(data):
            raise self.fail(4, f"header length {header} is impossible")
        self.header = header
        fields = struct.unpack_from(self.order + "IIII", data, 8)
        # core_relo_off and core_relo_len came with the CO-RE header of 32 bytes
        core = struct.unpack_from(self.order + "II", data, 24) if header >= 32 else (0, 0)
        result = BtfExt()
        for section, rows in self.tables(fields[0], fields[1], "II"):
            result.funcs.setdefault(section, []).extend(FuncInfo(*row) for row in rows)
        string, new = self.btf.string, tuple.__new__
        for section, rows in self.tables(fields[2], fields[3], "IIII"):
            result.lines.setdefault(section, []).extend(
                [
                    new(
                        LineInfo,
                        (insn_off, string(file_off), column >> 10, column & 0x3FF, string(line_off)),
                    )
                    for insn_off, file_off, line_off, column in rows
                ]
            )
        for section, rows in self.tables(core[0], core[1], "IIII"):
            result.core_relos.setdefault(section, []).extend(
                CoreRelo(insn_off, type_id, string(access_off), _KINDS.get(kind, kind))
                for insn_off, type_id, access_off, kind in rows
            )
        return result

    def tables(
        self, offset: int, length: int, fields: str
    ) -> Iterator[tuple[str, Iterator[tuple[int, ...]]]]:
        """(section name, its records) for one of the three tables; records may be longer than ``fields``."""
        if length == 0:
            return
        at = self.header + offset
        end = at + length
        if end > len(self.data) or length < 4:
            raise self.fail(at, f"a table of {length} bytes does not fit")
        (size,) = struct.unpack_from(self.order + "I", self.data, at)
        least = 4 * len(fields)
        if size < least or size % 4:
            raise self.fail(at, f"record size {size} is impossible (at least {least}, a multiple of 4)")
        record = struct.Struct(f"{self.order}{fields}{size - least}x")
        at += 4
        while at < end:
            if at + 8 > end:
                raise self.fail(at, "a section header is cut off")
            name_off, count = struct.unpack_from(self.order + "II", self.data, at)
            at += 8
            if count == 0 or at + count * size > end:
                raise self.fail(at, f"{count} records of {size} bytes do not fit")
            yield self.btf.string(name_off), record.iter_unpack(self.data[at : at + count * size])
            at += count * size
