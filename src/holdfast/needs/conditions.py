# SPDX-License-Identifier: Apache-2.0
"""Under which conditions an instruction is live.

A weak need that a kernel lacks makes code dead: libbpf puts 0 where ``bpf_ksym_exists()``, ``field_exists``
or a weak kconfig value is asked for, and the verifier does not look at branches that a constant closes. So
for each guard of a program the live code is worked out twice, with the need and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from holdfast.btf.ext import CoreRelo, CoreReloKind
from holdfast.btf.types import Int
from holdfast.elf.spec import ExternKind, ExternSpec, ObjectSpec, ProgramSpec, ReferenceKind
from holdfast.insn.flow import Graph
from holdfast.insn.live import live_slots
from holdfast.insn.values import MapAddress, Token
from holdfast.needs.stream import known_references, prepared, read_frozen, static_starts
from holdfast.relo.failure import Refused
from holdfast.relo.spec import parse_spec
from holdfast.relo.target import Side

__all__ = ["Conditions"]

_GUARDING = {
    CoreReloKind.FIELD_EXISTS,
    CoreReloKind.TYPE_EXISTS,
    CoreReloKind.TYPE_SIZE,
    CoreReloKind.TYPE_MATCHES,
    CoreReloKind.ENUMVAL_EXISTS,
}
BUDGET = 400_000
"""Guards x instructions that are looked at in one program, some seconds: the cost is their product. Guards
beyond it are left out, and what hangs on them counts as unconditional. Real programs stay far below."""
_BOOL = 4  # BTF_INT_BOOL


class Conditions:
    """The guards of one program."""

    def __init__(self, spec: ObjectSpec, program: ProgramSpec) -> None:
        self.spec = spec
        self.program = program
        self.insns = prepared(program)
        self._relo_names: dict[tuple[int, str, int], str] = {}

    def of(self, slots: Iterable[int], besides: str = "") -> tuple[str, ...]:
        """Conditions without which none of ``slots`` is live, the one named ``besides`` left out."""
        wanted = set(slots)
        if not wanted:
            return ()
        return tuple(text for name, text, dead in self._guards if name != besides and wanted <= dead)

    def guarded(self, extern: str, calls: Iterable[int]) -> bool:
        """Whether no call is live when the weak extern is missing."""
        wanted = set(calls)
        for name, text, dead in self._guards:
            if name == extern and not text.startswith("not "):
                return wanted <= dead
        return not wanted

    def relo_name(self, relo: CoreRelo) -> str:
        """``task_struct.pid``: a relocation's target in the words of C."""
        key = (relo.type_id, relo.access, int(relo.kind))
        if key not in self._relo_names:
            self._relo_names[key] = self._name(relo)
        return self._relo_names[key]

    def _name(self, relo: CoreRelo) -> str:
        assert self.spec.btf is not None
        try:
            spec = parse_spec(relo, Side(self.spec.btf, "object", 8))
        except Refused:
            return f"type [{relo.type_id}] {relo.access}"
        text = str(spec).partition("] ")[2].partition(" (")[0].partition(" = ")[0]
        return text.replace("::", ".")

    @cached_property
    def _guards(self) -> list[tuple[str, str, frozenset[int]]]:
        """(name, text, slots that are dead without it) for each guard that closes any code."""
        known = known_references(self.spec, self.program)
        graph = Graph(self.insns)
        everything = self._live(graph, known)
        found = []
        affordable = max(1, BUDGET // max(1, len(self.insns)))
        switches = self._switches()[:affordable]
        for name, slots, here in switches:
            without = everything - self._live(graph, {**known, **dict.fromkeys(slots, 0)})
            inside = everything - self._live(graph, {**known, **dict.fromkeys(slots, here)})
            if without:
                found.append((name, f"{name} exists", frozenset(without)))
            if inside:
                found.append((name, f"not {name} exists", frozenset(inside)))
        for extern in self._weak_kconfig()[: affordable - len(switches)]:
            without = everything - self._live(graph, known, _only(extern, 0))
            # of a number or a tristate nothing is known but that it is not 0
            inside = everything - self._live(
                graph, known, _only(extern, 1 if self._is_bool(extern) else None)
            )
            if without:
                found.append((extern.name, f"{extern.name} is set", frozenset(without)))
            if inside:
                found.append((extern.name, f"not {extern.name} is set", frozenset(inside)))
        return found

    def _weak_kconfig(self) -> list[ExternSpec]:
        """Those that the program reads and that libbpf makes 0 where the config has none
        (``bpf_object__resolve_externs()``); the ``LINUX_`` ones are libbpf's own and always there.
        """
        used = {r.name for r in self.program.references if r.kind is ReferenceKind.EXTERN}
        return [
            e
            for e in self.spec.externs
            if e.kind is ExternKind.KCONFIG and e.weak and e.name in used and not e.name.startswith("LINUX_")
        ]

    def _is_bool(self, extern: ExternSpec) -> bool:
        assert self.spec.btf is not None
        shape = self.spec.btf.type(extern.type_id)
        return isinstance(shape, Int) and bool(shape.encoding & _BOOL)

    def _live(
        self,
        graph: Graph,
        known: Mapping[int, int | Token | MapAddress],
        kconfig: Callable[[int, int], int | None] | None = None,
    ) -> frozenset[int]:
        return live_slots(
            self.insns,
            known,
            read=read_frozen(self.spec, kconfig),
            static_subprogs=static_starts(self.program),
            graph=graph,
        )

    def _switches(self) -> list[tuple[str, list[int], int | Token]]:
        """(name, slots, what stands there if it exists) for each need that may be missing."""
        switches: dict[str, tuple[list[int], int | Token]] = {}
        weak = {e.name: e for e in self.spec.externs if e.weak and e.kind is not ExternKind.KCONFIG}
        for reference in self.program.references:
            if reference.kind is ReferenceKind.EXTERN and reference.name in weak:
                switches.setdefault(reference.name, ([], Token.NON_ZERO))[0].append(reference.slot)
        for slot, relo in self.program.core_relos:
            if relo.kind in _GUARDING:
                switches.setdefault(self.relo_name(relo), ([], 1))[0].append(slot)
        return [(name, slots, here) for name, (slots, here) in switches.items()]


def _only(extern: ExternSpec, value: int | None) -> Callable[[int, int], int | None]:
    """A reader of ``.kconfig`` that knows this one value."""
    place = (extern.offset, extern.size)
    return lambda offset, size: value if (offset, size) == place else None
