# SPDX-License-Identifier: Apache-2.0
"""What lookups need of a kernel, put together: kept in the user's cache and used straight from there.

One file for each part of a kernel (its BTF with an index, its modules' BTF, its symbols, its texts), made
when the part is first asked for, by numpy in a few tenths of a second, and then mapped. A file's name depends
on all blobs that its content was made from.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from holdfast.btf import Btf
from holdfast.btf.index import TypeIndex
from holdfast.kernels.cache import Cache, digest
from holdfast.kernels.catalogue.manifest import Manifest
from holdfast.kernels.catalogue.parts import DamagedError
from holdfast.kernels.catalogue.symbols import SymbolTable, table

__all__ = ["Expanded", "Reader", "RegistrationText"]

_VERSION: Final = "catalogue 2"  # of the files in the cache; a change of theirs needs another
_COUNT: Final = struct.Struct("<Q")


class Reader(Protocol):
    """What :class:`holdfast.kernels.catalogue.decode.KernelReader` has; made when the cache has not all."""

    def indexed(self) -> tuple[bytes, bytes]:
        """Raw BTF of vmlinux, and an index over it."""

    def modules(self) -> Iterator[tuple[str, bytes]]:
        """Name and raw BTF of each module."""

    def symbol_names(self) -> list[bytes] | None:
        """All symbols."""

    def text_lines(self) -> tuple[bytes, bytes, bytes]:
        """Names of all modules, one a line; JSON: config or null, registrations or null, one a line."""


class Expanded:
    """The parts of one kernel. Everything may raise what ``reader`` and its methods raise."""

    def __init__(self, manifest: Manifest, cache: Cache, reader: Callable[[], Reader]) -> None:
        self._manifest = manifest
        self._cache = cache
        self._reader = reader
        self._vmlinux: Btf | None = None
        self._modules: dict[str, memoryview] | None = None
        self._texts: list[memoryview] | None = None

    def _sections(self, part: str, make: Callable[[], Sequence[bytes]]) -> list[memoryview]:
        if self._cache.path is None:
            return [memoryview(section) for section in make()]
        # vmlinux's chain: modules are told by its types
        chains = self._manifest.chains[part], self._manifest.chains["vmlinux"]
        name = digest(_VERSION, part, *self._manifest.segments, *chains[0], "", *chains[1]) + f".{part}"
        found = self._cache.get(name)
        sections = None if found is None else _split(found)
        if sections is None:
            made = make()
            self._cache.put(name, _join(made))
            found = self._cache.get(name)  # mapped, it takes no memory of this process's own
            sections = None if found is None else _split(found)
            if sections is None:
                sections = [memoryview(section) for section in made]
        return sections

    def vmlinux(self) -> Btf:
        """BTF of vmlinux."""
        if self._vmlinux is None:
            self._vmlinux = self._base(*self._sections("vmlinux", self._make_vmlinux))
        return self._vmlinux

    def _base(self, data: bytes | memoryview, index: memoryview) -> Btf:
        return Btf(data, origin=self._manifest.id, index=TypeIndex.from_buffer(index))

    def _make_vmlinux(self) -> tuple[bytes, bytes]:
        made = self._reader().indexed()
        if self._cache.path is not None:
            # Modules are told by the types of vmlinux: now, while these are at hand.
            self._vmlinux = self._base(made[0], memoryview(made[1]))
            self._module_data()
            self._vmlinux, self._modules = None, None
        return made

    def module_names(self) -> tuple[str, ...]:
        """Those whose BTF is kept."""
        return tuple(self._module_data())

    def module(self, name: str, base: Btf) -> Btf:
        """BTF of a module."""
        data, index = _pair(self._module_data()[name])
        origin = f"{self._manifest.id}: {name}"
        return Btf(data, base=base, origin=origin, index=TypeIndex.from_buffer(index))

    def _module_data(self) -> Mapping[str, memoryview]:
        if self._modules is None:
            names, *data = self._sections("modules", self._make_modules)
            self._modules = dict(zip(json.loads(bytes(names)), data, strict=True))
        return self._modules

    def _make_modules(self) -> list[bytes]:
        names, pairs = [], []
        base = self.vmlinux()
        for name, data in self._reader().modules():
            names.append(name)
            pairs.append(_join([data, Btf(data, base=base, origin=name).index.to_bytes()]))
        return [json.dumps(names).encode(), *pairs]

    def symbols(self) -> SymbolTable | None:
        """All symbols, None where they are not known."""
        if not self._manifest.has_symbols:
            return None
        [data] = self._sections("symbols", lambda: [table(self._reader().symbol_names() or [])])
        return SymbolTable(data)

    def _text(self, at: int) -> memoryview:
        if self._texts is None:
            self._texts = self._sections("texts", lambda: self._reader().text_lines())
        return self._texts[at]

    def all_module_names(self) -> list[str]:
        """All modules of the build."""
        names = str(self._text(0), "utf-8", "surrogateescape")
        return names.split("\n") if names else []

    def has_module_names(self) -> bool:
        """Whether they are known; does not read them."""
        return bool(self._text(0))

    def has_config(self) -> bool:
        """Whether the config is known; does not read it."""
        return not _is_null(self._text(1))

    def has_registrations(self) -> bool:
        """Whether registrations are known; does not read them."""
        return not _is_null(self._text(2))

    def config(self) -> dict[str, str] | None:
        """Options that are set; None where they are not known."""
        found: dict[str, str] | None = json.loads(bytes(self._text(1)))
        return found

    def registrations(self) -> RegistrationText:
        """Those of all kfuncs; none where they are not known."""
        return RegistrationText(bytes(self._text(2)))


class RegistrationText:
    """Registrations as :mod:`holdfast.kernels.registration_plain` has them, in JSON with one on each line."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __bool__(self) -> bool:
        return b":" in self._text

    def one(self, name: str) -> object:
        """That of a kfunc, read alone; None where there is none."""
        key = f"\n{json.dumps(name)}:".encode()
        at = self._text.find(key)
        if at < 0:
            return None
        end = self._text.index(b"\n", at + 1)
        return json.loads(self._text[at + len(key) : end].rstrip(b","))

    def names(self) -> list[str]:
        """All kfuncs, in order."""
        return list(json.loads(self._text) or ())


def _is_null(text: memoryview) -> bool:
    return bytes(text[:5]) == b"null"


def _join(sections: Sequence[bytes]) -> bytes:
    head = b"".join(_COUNT.pack(number) for number in (len(sections), *map(len, sections)))
    return b"".join([head, *sections])


def _split(data: memoryview) -> list[memoryview] | None:
    count = _COUNT.unpack_from(data)[0] if len(data) >= _COUNT.size else 0
    at = _COUNT.size * (1 + count)
    if not count or at > len(data):
        return None
    sections = []
    for number in range(count):
        size = _COUNT.unpack_from(data, _COUNT.size * (1 + number))[0]
        sections.append(data[at : at + size])
        at += size
    return sections if at == len(data) else None


def _pair(data: memoryview) -> tuple[memoryview, memoryview]:
    found = _split(data)
    if found is None or len(found) != 2:
        raise DamagedError("BTF of a module is cut off")
    return found[0], found[1]
