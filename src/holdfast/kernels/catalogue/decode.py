# SPDX-License-Identifier: Apache-2.0
"""From what a store keeps of a kernel to its parts, each read when asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property
from typing import Any

import numpy as np

from holdfast.btf import Btf
from holdfast.kernels import registration_plain
from holdfast.kernels.catalogue import chain, symbols
from holdfast.kernels.catalogue.chain import Lists, Part
from holdfast.kernels.catalogue.encode import digest_of
from holdfast.kernels.catalogue.manifest import Manifest
from holdfast.kernels.catalogue.parts import DamagedError
from holdfast.kernels.catalogue.pool import Pool
from holdfast.kernels.catalogue.types import Base, Decoded, Order, decode, index_of
from holdfast.kernels.record import KernelRecord

__all__ = ["KernelReader"]


class KernelReader:
    """The parts of one kernel; ``get`` gives blobs, ``pool`` the pool of its segments.

    Everything raises :exc:`DamagedError` where what is read is not what was written.
    """

    def __init__(
        self,
        manifest: Manifest,
        get: Callable[[str], bytes],
        pool: Callable[[], Pool],
        known: MutableMapping[str, Lists] | None = None,
    ) -> None:
        self.manifest = manifest
        self._get = get
        self._pool = pool
        self._known = known  # lists of vmlinux, by blob: kernels have most of their chains in common

    def part(self, name: str, data: tuple[str, ...] = ()) -> Part:
        """The lists of a part, and data of it."""
        try:
            known = self._known if name == "vmlinux" else None
            return chain.read(name, self.manifest.chains[name], self._get, data, known)
        except KeyError:
            raise DamagedError(f"the manifest of {self.manifest.id} has no {name}") from None

    @cached_property
    def vmlinux(self) -> tuple[bytes, Decoded | None]:
        """Raw BTF, and it as it was put together, None where it was kept as it is."""
        part = self.part("vmlinux", ("plain", "choices", "before", "between", "after"))
        if part.data["plain"]:
            return self._checked("", part.data["plain"]), None
        frame = part.data["before"], part.data["between"], part.data["after"]
        order = Order(part.lists["strings"], part.lists["types"], _numbers(part.data["choices"]), frame)
        found = decode(order, self._pool(), Base())
        return self._checked("", found.data), found

    def _checked(self, name: str, data: bytes) -> bytes:
        if digest_of(data) != self.manifest.digests.get(name):
            raise DamagedError(f"BTF of {name or 'vmlinux'} is not what was added")
        return data

    def modules(self) -> Iterator[tuple[str, bytes]]:
        """Name and raw split BTF of each module that is kept, by name."""
        part = self.part("modules", ("directory", "choices", "frames", "plain"))
        strings, types = part.lists["strings"], part.lists["types"]
        choices, frames, plain = _numbers(part.data["choices"]), part.data["frames"], part.data["plain"]
        for name, kept, string_count, type_count, choice_count, *pieces in _rows(part.data["directory"]):
            first, second, third = (frames[sum(pieces[:i]) : sum(pieces[: i + 1])] for i in range(3))
            order = Order(
                strings[:string_count], types[:type_count], choices[:choice_count], (first, second, third)
            )
            strings, types, choices = strings[string_count:], types[type_count:], choices[choice_count:]
            frames = frames[sum(pieces) :]
            data, plain = plain[:kept], plain[kept:]
            if not kept:
                whole = self.vmlinux[1]
                if whole is None:
                    raise DamagedError(f"BTF of {name} has no base")
                data = decode(order, self._pool(), whole.as_base).data
            yield name, self._checked(name, data)

    def symbol_names(self) -> list[bytes] | None:
        """The name of each symbol, in no order; None where they are not known."""
        if not self.manifest.has_symbols:
            return None
        part = self.part("symbols")
        pooled = self._pool().strings
        names: list[bytes] = []
        for prefix, numbers in zip(symbols.PREFIXES, part.lists.values(), strict=True):
            names += [prefix + string for string in _strings(pooled, numbers)]
        return names

    def symbol_text(self) -> str | None:
        """As :func:`symbols.canonical` gives it."""
        names = self.symbol_names()
        return None if names is None else symbols.text_of(Counter(names))

    def text_lines(self) -> tuple[bytes, bytes, bytes]:
        """Names of all modules, one a line; JSON: config or null, registrations or null, one a line."""
        config, modules, _, registrations = self._texts()
        names = "\n".join(modules).encode("utf-8", "surrogateescape")
        return names, json.dumps(config).encode(), _one_a_line(registrations)

    def _texts(self) -> tuple[dict[str, str] | None, list[str], list[str], bytes]:
        part = self.part("texts", ("known", "registrations"))
        pooled = self._pool().strings
        lines = {
            name: [line.decode("utf-8", "surrogateescape") for line in _strings(pooled, numbers)]
            for name, numbers in part.lists.items()
        }
        options = {key: value for key, _, value in (line.partition("=") for line in lines["config"])}
        known = json.loads(part.data["known"])["config"]
        return options if known else None, lines["modules"], lines["builtin"], part.data["registrations"]

    def indexed(self) -> tuple[bytes, bytes]:
        """Raw BTF of vmlinux, and an index over it as ``TypeIndex.to_bytes()`` gives it."""
        data, found = self.vmlinux
        if found is None:
            return data, Btf(data, origin=self.manifest.id).index.to_bytes()
        return data, index_of(found, self._pool().strings).to_bytes()

    def record(self) -> KernelRecord:
        """All of it but the probes, as it was added; of the symbols what is kept of them."""
        one = self.manifest
        config, modules, builtin, registrations = self._texts()
        raw = json.loads(registrations)
        return KernelRecord(
            id=one.id,
            release=one.release,
            arch=one.arch,
            source=one.source,
            upstream=one.upstream,
            vmlinux=self.vmlinux[0],
            modules=dict(self.modules()),
            module_names=tuple(modules),
            builtin_modules=tuple(builtin),
            config=config,
            symbols=self.symbol_text(),
            registrations=None if raw is None else registration_plain.from_plain(raw),
            package=one.package,
        )


def _strings(pooled: list[bytes], numbers: Any) -> list[bytes]:
    if len(numbers) and int(numbers.max()) >= len(pooled):
        raise DamagedError("a string is missing")
    return [pooled[number] for number in numbers.tolist()]


def _one_a_line(text: bytes) -> bytes:
    """The same JSON object with each key at the beginning of a line, so that one can be found and read alone.

    In JSON no string has a line break.
    """
    raw = json.loads(text)
    if raw is None:
        return b"null"
    rows = (f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in raw.items())
    return "\n".join(["{", ",\n".join(rows), "}"]).encode()


def _numbers(data: bytes) -> Any:
    if len(data) % 4:
        raise DamagedError("a list is cut off")
    return np.frombuffer(data, "<u4").astype(np.int64)


def _rows(data: bytes) -> Any:
    try:
        return [row for row in json.loads(data) if len(row) == 8]
    except (ValueError, TypeError) as error:
        raise DamagedError(f"a directory of modules: {error}") from error
