# SPDX-License-Identifier: Apache-2.0
"""Facts of a catalogued kernel: its BTF at once, all else when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from holdfast.btf import Btf
from holdfast.kernels import registration_plain
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue.expanded import Expanded, Reader, RegistrationText
from holdfast.kernels.catalogue.manifest import Manifest
from holdfast.kernels.catalogue.symbols import SymbolTable
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.kfuncs import Registration
from holdfast.kernels.probed import ProbeFacts

__all__ = ["facts_of"]

_Value = TypeVar("_Value")
Guard = Callable[[], AbstractContextManager[None]]
"""Turns what reading raises into one clear error."""


def facts_of(
    manifest: Manifest, cache: Cache, reader: Callable[[], Reader], guard: Guard, probes: ProbeFacts | None
) -> KernelFacts:
    """The facts; ``probes`` go with them."""
    expanded = Expanded(manifest, cache, reader)
    base = expanded.vmlinux()
    config = expanded.has_config()
    registered = expanded.has_registrations()
    return KernelFacts(
        id=manifest.id,
        release=manifest.release,
        arch=manifest.arch,
        source=manifest.source,
        vmlinux=base,
        modules=_Modules(expanded, base, guard),
        module_names=_Names(expanded) if expanded.has_module_names() else None,
        config=_Lazy(lambda: expanded.config() or {}, guard) if config else None,
        kallsyms=_Symbols(expanded, guard) if manifest.has_symbols else None,
        registrations=_Registrations(expanded.registrations, guard) if registered else None,
        upstream=manifest.upstream,
        probes=probes,
        build=manifest.package.sha256 if manifest.package else "",
    )


class _Lazy(Mapping[str, _Value], Generic[_Value]):
    """A mapping that is read when it is first asked for anything."""

    def __init__(self, read: Callable[[], Mapping[str, _Value]], guard: Guard) -> None:
        self._read = read
        self._guard = guard
        self._found: Mapping[str, _Value] | None = None

    def _all(self) -> Mapping[str, _Value]:
        if self._found is None:
            with self._guard():
                self._found = self._read()
        assert self._found is not None
        return self._found

    def __getitem__(self, key: str) -> _Value:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, key: object) -> bool:
        return key in self._all()


class _Registrations(Mapping[str, Registration]):
    """Registrations, each read and understood when it is asked for."""

    def __init__(self, read: Callable[[], RegistrationText], guard: Guard) -> None:
        self._read = read
        self._guard = guard
        self._text: RegistrationText | None = None
        self._names: dict[str, None] | None = None
        self._found: dict[str, Registration | None] = {}

    def _opened(self) -> RegistrationText:
        if self._text is None:
            self._text = self._read()
        return self._text

    def _one(self, name: str) -> Registration | None:
        if name not in self._found:
            with self._guard():
                raw = self._opened().one(name)
                self._found[name] = None if raw is None else registration_plain.from_plain({name: raw})[name]
        return self._found[name]

    def _all(self) -> dict[str, None]:
        if self._names is None:
            with self._guard():
                self._names = dict.fromkeys(self._opened().names())
        return self._names

    def __bool__(self) -> bool:  # asked often, and without it answered by reading all
        with self._guard():
            return bool(self._opened())

    def __getitem__(self, name: str) -> Registration:
        found = self._one(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._one(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Modules(Mapping[str, Btf]):
    """BTF of the modules that are kept, each read when asked for."""

    def __init__(self, expanded: Expanded, base: Btf, guard: Guard) -> None:
        self._expanded = expanded
        self._base = base
        self._guard = guard
        self._names: dict[str, None] | None = None
        self._read: dict[str, Btf] = {}

    def _all(self) -> dict[str, None]:
        if self._names is None:
            with self._guard():
                self._names = dict.fromkeys(self._expanded.module_names())
        return self._names

    def __getitem__(self, name: str) -> Btf:
        if name not in self._all():
            raise KeyError(name)
        if name not in self._read:
            with self._guard():
                self._read[name] = self._expanded.module(name, self._base)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Names(Set[str]):
    """Names of all modules: thousands, and few ask for them."""

    def __init__(self, expanded: Expanded) -> None:
        self._expanded = expanded
        self._found: frozenset[str] | None = None

    def _all(self) -> frozenset[str]:
        if self._found is None:
            self._found = frozenset(self._expanded.all_module_names())
        return self._found

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Symbols:
    """:data:`holdfast.kernels.facts.Kallsyms` of a catalogued kernel."""

    def __init__(self, expanded: Expanded, guard: Guard) -> None:
        self._expanded = expanded
        self._guard = guard
        self._table: SymbolTable | None = None

    def __call__(self, name: str) -> range:
        with self._guard():
            if self._table is None:
                self._table = self._expanded.symbols()
            assert self._table is not None
            return self._table(name)
