# SPDX-License-Identifier: Apache-2.0
"""Read BTF: an index of where each type stands, and types decoded when they are asked for.

A kernel's BTF has well over 100,000 types and a CO-RE relocation looks at a few of them, so reading is
two-staged: one walk over the type headers fills flat arrays (:mod:`holdfast.btf.index`), and :meth:`Btf.type`
decodes a single type and remembers it. Names are found by hash in a sorted array.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from holdfast.btf import decode
from holdfast.btf.index import (
    MOST_NAMES,
    CutOffError,
    NamesError,
    TypeIndex,
    UnknownKindError,
    build,
    essential_name,
)
from holdfast.btf.types import BtfType, Kind, Void
from holdfast.errors import BtfError

__all__ = ["BTF_MAGIC", "Btf", "essential_name"]

BTF_MAGIC: Final = 0xEB9F
_MIN_HEADER: Final = 24
_LAYOUT_HEADER: Final = 32  # with layout_off, layout_len (kernels from 7.1 on)
_VOID: Final = Void("")
# (bytes after the 12-byte header, bytes per vlen element) of each kind, include/uapi/linux/btf.h
_SIZES: Final[dict[int, tuple[int, int]]] = {
    Kind.INT: (4, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (4, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 12),
}
_MANY_NAMES: Final = 4096  # so many looked up, it is worth to copy the strings of a mapped file


class Btf:
    """BTF of a kernel, a module (split: ``base`` is the kernel's) or an object.

    ``data`` is kept, not copied. ``origin`` names the file for error messages; ``index`` may be one that was
    made from the very same data before. Instances share nothing mutable but their caches and may be read from
    several threads.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        *,
        base: Btf | None = None,
        origin: str = "BTF",
        index: TypeIndex | None = None,
    ) -> None:
        self.data = data
        self.origin = origin
        self.base = base
        self.start_id = len(base) if base else 1  # id of the first type in this data
        self._str_start: int = base.str_len if base else 0
        self._read_header()
        self.index = index or self._walk()
        self._types: dict[int, BtfType] = {}
        self._names: dict[int, str] = {}
        self._named = 0  # bytes of these
        self._by_essential_name: dict[str, tuple[int, ...]] = {}
        self._base_named: dict[str, list[int]] | None = None
        self._kinds: bytes | None = None

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, *, base: Btf | None = None, origin: str = "BTF") -> Btf:
        """Read raw BTF. Raises :exc:`holdfast.errors.BtfError` for anything that is not well-formed."""
        return cls(data, base=base, origin=origin)

    def _fail(self, offset: int, problem: str) -> BtfError:
        return BtfError(self.origin, problem, place=f"BTF offset {offset:#x}")

    def _read_header(self) -> None:
        data = self.data
        if len(data) < _MIN_HEADER:
            raise self._fail(0, f"{len(data)} bytes are too few for a BTF header of {_MIN_HEADER}")
        for order in "<", ">":
            if struct.unpack_from(order + "H", data)[0] == BTF_MAGIC:
                self.byteorder = "little" if order == "<" else "big"
                break
        else:
            raise self._fail(0, f"no BTF: magic is {data[0]:02x} {data[1]:02x}")
        self._order = order
        version, _flags, header = struct.unpack_from(order + "BBI", data, 2)
        if version != 1:
            raise self._fail(2, f"BTF version {version} is not known (1 is)")
        if not _MIN_HEADER <= header <= len(data):
            raise self._fail(4, f"header length {header} is impossible")
        type_off, type_len, str_off, str_len = struct.unpack_from(order + "IIII", data, 8)
        if type_off % 4 or header + type_off + type_len > len(data):
            raise self._fail(8, "the type section lies outside the data")
        if header + str_off + str_len > len(data):
            raise self._fail(16, "the string section lies outside the data")
        strings = data[header + str_off : header + str_off + str_len]
        if (strings and strings[-1]) or (not self.base and strings[:1] != b"\0"):
            raise self._fail(header + str_off, "the string section is not delimited by NUL bytes")
        self._type_start = header + type_off
        self._type_end = header + type_off + type_len
        self.strings: bytes | memoryview = strings
        self.str_len: int = self._str_start + len(strings)  # bytes, the base's included
        self._sizes = self._layout(header) if header >= _LAYOUT_HEADER else _SIZES

    def _layout(self, header: int) -> dict[int, tuple[int, int]]:
        """Sizes of kinds by the optional layout section (``struct btf_layout``), ours where it is silent."""
        off, length = struct.unpack_from(self._order + "II", self.data, _MIN_HEADER)
        sizes = dict(_SIZES)
        if length == 0:
            return sizes
        if length % 4 or header + off + length > len(self.data):
            raise self._fail(_MIN_HEADER, "the layout section lies outside the data")
        for kind in range(length // 4):
            info, element = struct.unpack_from("BB", self.data, header + off + 4 * kind)
            sizes.setdefault(kind, (info, element))
        return sizes

    def _walk(self) -> TypeIndex:
        try:
            return build(
                bytes(self.data),
                self._order,
                self._type_start,
                self._type_end,
                self._sizes,
                bytes(self.strings),
                self._str_start,
            )
        except UnknownKindError as error:
            problem = f"type {self.start_id + error.ordinal} is of unknown kind {error.kind}"
            raise self._fail(error.at, problem) from None
        except NamesError:
            problem = f"the names of its types have more than {MOST_NAMES >> 20} MiB together"
            raise self._fail(self._type_end, problem) from None
        except CutOffError as error:
            raise self._fail(error.at, f"type {self.start_id + error.ordinal} is cut off") from None

    def __len__(self) -> int:
        """Number of type ids, ``void`` and the base's included: ids are ``range(len(btf))``."""
        return self.start_id + len(self.index.offsets)

    def string(self, offset: int) -> str:
        """The string at ``offset`` bytes of the string section (the base's comes first)."""
        known = self._names.get(offset)
        if known is not None:
            return known
        if offset < self._str_start and self.base:
            return self.base.string(offset)
        local = offset - self._str_start
        found = self._until_nul(local) if local >= 0 else None
        if found is None:
            raise self._fail(0, f"string offset {offset:#x} is outside the string section")
        self._named += len(found)
        if self._named > MOST_NAMES:
            raise self._fail(0, f"the names that it has been asked for have more than {MOST_NAMES >> 20} MiB")
        name = found.decode("utf-8", "backslashreplace")
        self._names[offset] = name
        return name

    def _until_nul(self, start: int) -> bytes | None:
        """The bytes from ``start`` to the next NUL; None where there is none."""
        strings = self.strings
        if len(self._names) >= _MANY_NAMES and not isinstance(strings, bytes):
            strings = self.strings = bytes(strings)
        if isinstance(strings, bytes):
            end = strings.find(b"\0", start)
            return strings[start:end] if end >= 0 else None
        size = 64  # a view of a mapped file cannot be searched, and to copy all of it costs milliseconds
        while True:
            piece = bytes(strings[start : start + size])
            end = piece.find(b"\0")
            if end >= 0:
                return piece[:end]
            if len(piece) < size:
                return None
            size *= 8

    def type(self, type_id: int) -> BtfType:
        """The type with this id. Raises :exc:`~holdfast.errors.BtfError` for an id that does not exist."""
        known = self._types.get(type_id)
        if known is not None:
            return known
        if type_id < self.start_id:
            if type_id == 0:
                return _VOID
            if self.base:
                return self.base.type(type_id)
        if not self.start_id <= type_id < len(self):
            raise self._fail(0, f"type id {type_id} does not exist ({len(self)} types)")
        decoded = self._types[type_id] = self._decode(self.index.offsets[type_id - self.start_id])
        return decoded

    def _decode(self, at: int) -> BtfType:
        name_off, info, size_or_type = struct.unpack_from(self._order + "III", self.data, at)
        return decode.decode(self, self._order, self.data, at, self.string(name_off), info, size_or_type)

    def name(self, type_id: int) -> str:
        """Name of a type, "" when it has none; cheaper than decoding it."""
        if type_id < self.start_id:
            return self.base.name(type_id) if self.base and type_id else ""
        if type_id >= len(self):
            raise self._fail(0, f"type id {type_id} does not exist ({len(self)} types)")
        return self.string(self.index.name_offs[type_id - self.start_id])

    def kind_number(self, type_id: int) -> int:
        """The kind's number of a type of this data or its base, without decoding it."""
        if type_id < self.start_id:
            return self.base.kind_number(type_id) if self.base and type_id else 0
        if type_id >= len(self):
            raise self._fail(0, f"type id {type_id} does not exist ({len(self)} types)")
        at = self.index.offsets[type_id - self.start_id]
        info: int = struct.unpack_from(self._order + "I", self.data, at + 4)[0]
        return (info >> 24) & 0x7F

    def own_ids(self) -> range:
        """Ids of the types in this data, the base's excluded."""
        return range(self.start_id, len(self))

    def own_of_kind(self, *kinds: Kind) -> list[int]:
        """Those of :meth:`own_ids` that are of one of these kinds, without decoding them."""
        if self._kinds is None:
            at = 7 if self.byteorder == "little" else 4  # of the kind: the highest byte of the second word
            self._kinds = bytes([self.data[offset + at] & 0x7F for offset in self.index.offsets])
        return [type_id for type_id, kind in enumerate(self._kinds, self.start_id) if kind in kinds]

    def __iter__(self) -> Iterator[tuple[int, BtfType]]:
        """All own types with their ids (decodes everything)."""
        for type_id in self.own_ids():
            yield type_id, self.type(type_id)

    def candidates(self, essential: str) -> tuple[int, ...]:
        """Ids of this data's own types whose essential name (no ``___flavor``) is ``essential``,
        ascending.
        """
        try:
            return self._by_essential_name[essential]
        except KeyError:
            pass
        found = [self.start_id + ordinal for ordinal in self.index.ordinals(essential)]
        if self.base:
            found += self._named_in_base(essential)
        result = tuple(sorted(i for i in found if essential_name(self.name(i)) == essential))
        self._by_essential_name[essential] = result
        return result

    def _named_in_base(self, essential: str) -> list[int]:
        """Own types whose name stands in the base's strings (a split BTF adds only strings that are new)."""
        if self._base_named is None:
            self._base_named = {}
            for ordinal, name_off in enumerate(self.index.name_offs):
                if 0 < name_off < self._str_start:
                    name = essential_name(self.string(name_off))
                    self._base_named.setdefault(name, []).append(self.start_id + ordinal)
        return self._base_named.get(essential, [])

    def find_all(self, name: str, *kinds: Kind) -> list[int]:
        """Ids of this data's own types of that very name (and one of ``kinds``, if given), ascending."""
        if not name:
            return []
        return [
            type_id
            for type_id in self.candidates(essential_name(name))
            if self.name(type_id) == name and (not kinds or self.kind_number(type_id) in kinds)
        ]

    def tagged(self, tag: str, kind: Kind) -> list[int]:
        """Ids of the types of this kind that this data's own decl tags mark as a whole, each once.

        A kernel has hundreds of tags of one name: they are looked at without being decoded.
        """
        if self.base:
            ordinals = [type_id - self.start_id for type_id in self.candidates(essential_name(tag))]
        else:
            ordinals = self.index.all_ordinals(essential_name(tag))
        words, offsets, data = struct.Struct(self._order + "II"), self.index.offsets, self.data
        targets: dict[int, None] = {}
        for at in [offsets[ordinal] for ordinal in ordinals]:
            name_off, info = words.unpack_from(data, at)
            if (info >> 24) & 0x7F == Kind.DECL_TAG and self.string(name_off) == tag:
                type_id, component = words.unpack_from(data, at + 8)
                if component == 0xFFFFFFFF:  # -1
                    targets[type_id] = None
        if self.base:
            return [type_id for type_id in targets if self.kind_number(type_id) == kind]
        own = [type_id for type_id in targets if 0 < type_id < len(self)]
        infos = [words.unpack_from(data, offsets[type_id - 1])[1] for type_id in own]
        return [type_id for type_id, info in zip(own, infos, strict=True) if (info >> 24) & 0x7F == kind]

    def find(self, name: str, *kinds: Kind) -> int | None:
        """Id of the first type of that very name, the base's types before own ones; None when there is
        none.
        """
        if self.base:
            found = self.base.find(name, *kinds)
            if found is not None:
                return found
        own = self.find_all(name, *kinds)
        return own[0] if own else None
