# SPDX-License-Identifier: Apache-2.0
"""The kernel that a relocation is matched against: its BTF and that of its modules."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from holdfast.btf import Btf
from holdfast.btf.skip import pointer_size
from holdfast.btf.types import Kind

__all__ = ["KernelBtf", "Side", "Steps", "Target", "Way", "kind_class"]


class KernelBtf(Protocol):
    """What relocation asks of a kernel.

    ``modules`` maps a module's name to its split BTF, in the order in which libbpf would see them (ascending
    BTF object id, which is load order). It is looked at only when vmlinux does not have what is searched, so
    its values may be read when they are asked for. Leave it empty for a kernel without module BTF (before
    5.11), without the capability to iterate BTF objects (CAP_SYS_ADMIN), or when libbpf is given a BTF file
    (``btf_custom_path``).
    """

    @property
    def vmlinux(self) -> Btf: ...

    @property
    def modules(self) -> Mapping[str, Btf]: ...


@dataclass(frozen=True, slots=True)
class Side:
    """One BTF that takes part: ``name`` is "vmlinux", a module's name, or "object"; ``pointer_bytes`` its
    pointers.
    """

    btf: Btf
    name: str
    pointer_bytes: int


_ANY_ENUM: Final = int(Kind.ENUM)


def kind_class(kind: int) -> int:
    """Kinds that ``btf_kind_core_compat()`` takes for the same share a number: ENUM64 counts as ENUM."""
    return _ANY_ENUM if kind == Kind.ENUM64 else int(kind)


Steps = tuple[tuple[str, tuple[object, ...]] | int, ...]
"""A local access without its BTF: per accessor a field's name and shape, or an element's index."""


@dataclass(frozen=True, eq=False, slots=True)
class Way:
    """The steps of an access, kept once for all objects that share them: compared by identity, and so
    quickly.
    """

    steps: Steps


@dataclass(slots=True)
class Target:
    """A :class:`KernelBtf` that remembers candidates and matches, for checking many objects against one
    kernel.

    Not for use from several threads at once.
    """

    vmlinux: Btf
    modules: Mapping[str, Btf] = field(default_factory=dict)
    matches: dict[object, object] = field(default_factory=dict, repr=False)
    ways: dict[Steps, Way] = field(default_factory=dict, repr=False)
    ksyms: dict[object, object] = field(default_factory=dict, repr=False)
    settled: dict[object, Hashable] = field(default_factory=dict, repr=False)
    _candidates: dict[tuple[int, str], tuple[tuple[Side, int], ...]] = field(default_factory=dict, repr=False)
    _sides: dict[str, Side] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, kernel: KernelBtf) -> Target:
        """``kernel`` itself when it is a Target already, else a new one with nothing remembered."""
        return kernel if isinstance(kernel, Target) else cls(kernel.vmlinux, kernel.modules)

    def side(self, name: str) -> Side:
        """vmlinux or a module, as a :class:`Side`. Raises :exc:`KeyError` for a module that is not there."""
        side = self._sides.get(name)
        if side is None:
            btf = self.vmlinux if name == "vmlinux" else self.modules[name]
            side = self._sides[name] = Side(btf, name, pointer_size(btf))
        return side

    def sides(self) -> Iterator[Side]:
        """vmlinux, then each module."""
        yield self.side("vmlinux")
        for name in self.modules:
            yield self.side(name)

    def candidates(self, kind: int, essential: str) -> tuple[tuple[Side, int], ...]:
        """Types of this essential name and compatible kind: those of vmlinux or, when it has none, of all
        modules.

        In libbpf's order (``bpf_core_find_cands()``): by module, then by id.
        """
        wanted = kind_class(kind)
        key = (wanted, essential)
        found = self._candidates.get(key)
        if found is None:
            found = self._in(self.side("vmlinux"), wanted, essential)
            if not found:
                found = tuple(
                    candidate
                    for name in self.modules
                    for candidate in self._in(self.side(name), wanted, essential)
                )
            self._candidates[key] = found
        return found

    @staticmethod
    def _in(side: Side, wanted: int, essential: str) -> tuple[tuple[Side, int], ...]:
        btf = side.btf
        return tuple((side, i) for i in btf.candidates(essential) if kind_class(btf.kind_number(i)) == wanted)
