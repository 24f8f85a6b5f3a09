# SPDX-License-Identifier: Apache-2.0
"""Resolve CO-RE relocations as libbpf 1.7 does (``bpf_core_calc_relo_insn()``,
``bpf_core_resolve_relo()``).
"""

from __future__ import annotations

import errno
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from holdfast.btf import Btf, essential_name
from holdfast.btf.ext import CoreRelo, CoreReloKind
from holdfast.btf.types import Int
from holdfast.insn.instruction import LD_IMM64, Instruction, Opclass
from holdfast.relo.failure import Refused, ReloError
from holdfast.relo.match import Match, Mismatch, match_candidate, steps_of
from holdfast.relo.missing import missing
from holdfast.relo.patch import POISON, patch
from holdfast.relo.spec import FIELD_BASED, TYPE_BASED, ZERO_WHEN_MISSING, Spec, kind_word, parse_spec
from holdfast.relo.target import KernelBtf, Side, Steps, Target, Way, kind_class
from holdfast.relo.value import Value, memory_size_differs, value_of

__all__ = ["Accesses", "Relocator", "Resolution", "resolve"]

_NOTHING: Final = Value(0)
_MEMORY: Final = frozenset((Opclass.LDX, Opclass.ST, Opclass.STX))


@dataclass(frozen=True, slots=True)
class Resolution:
    """What becomes of one relocation on one kernel.

    ``value`` is the new number for the instruction (unsigned 64 bit; what it counts is the relocation kind's
    matter: bytes for offsets and sizes) and ``orig_value`` the one the compiler put there; both are 0 when
    ``poison`` or ``error`` is set before they were known. ``poison``: the instruction becomes an invalid call
    (:data:`~holdfast.relo.BAD_RELO`) that the verifier refuses if it is reached. ``validate``: libbpf checks
    that the instruction holds ``orig_value`` first. ``patched`` are the slots afterwards: one, or two for
    LDIMM64; empty with ``error``.

    ``local`` is the object's access (None when its accessor is malformed), ``candidates`` the accesses in the
    kernel's types that matched: ``str()`` of each is libbpf's text, ``.side.name`` says vmlinux or which
    module, and ``.root_type_id`` is the type there. ``missing`` says in plain words what the kernel does not
    have, set also for the kinds that are 0 then. ``error`` is set when libbpf stops the whole object here.
    ``warning``: libbpf poisons a load or store because it would access the field with the wrong width.
    """

    relo: CoreRelo
    local: Spec | None
    candidates: tuple[Spec, ...]
    value: int
    orig_value: int
    poison: bool
    validate: bool
    patched: tuple[Instruction, ...]
    missing: str | None
    error: ReloError | None
    warning: str | None

    @property
    def spec(self) -> str:
        """The local spec in libbpf's form, ``<byte_off> [36] struct task_struct.pid (0:2 @ offset 4)``; else
        "".
        """
        return str(self.local) if self.local else ""


@dataclass(eq=False)
class _Answer:
    """The part of a resolution that does not depend on the instruction."""

    local: Spec | None
    matched: tuple[Spec, ...] = ()
    orig: Value = _NOTHING
    new: Value = _NOTHING
    poison: bool = False
    wrong_width: bool = False
    missing: str | None = None
    error: ReloError | None = None

    @cached_property
    def content(self) -> Hashable:
        """What the kernel has to do with it; type ids are none of it."""
        new = self.new
        return (new.number, new.size, self.poison, self.wrong_width, self.missing, self.error)


_Candidates = tuple[tuple[Side, int], ...]
_Key = tuple[int, str, int]


@dataclass(slots=True)
class _Parsed:
    """The object's side of an access, the same for every kernel; ``value`` is there once it is wanted."""

    local: Spec | ReloError
    way: Way | None = None
    value: Value | None = None
    sort: Hashable | None = None


@dataclass(slots=True)
class Accesses:
    """What there is to know of one object's accesses whatever the kernel, for a :class:`Relocator` for each
    kernel. ``ways`` are those of all objects that share what is matched.
    """

    ways: dict[Steps, Way] = field(default_factory=dict)
    _parsed: dict[_Key, _Parsed] = field(default_factory=dict)

    def parse(self, relo: CoreRelo, side: Side) -> _Parsed:
        """The local spec, or libbpf's error. ``side`` is the object."""
        key = (relo.type_id, relo.access, int(relo.kind))
        known = self._parsed.get(key)
        if known is None:
            known = self._parsed[key] = self._parse(relo, side)
        return known

    def sort(self, relo: CoreRelo, side: Side) -> Hashable | None:
        """What a match of this access on some kernel depends on: equal for accesses of all objects that come
        out alike. None where it depends on more than that.
        """
        if relo.type_id >= len(side.btf):
            return None
        parsed = self.parse(relo, side)
        if parsed.sort is None and parsed.way is not None and isinstance(parsed.local, Spec):
            parsed.sort = _sort(parsed.local, parsed.way)
        return parsed.sort

    def _parse(self, relo: CoreRelo, side: Side) -> _Parsed:
        try:
            spec = parse_spec(relo, side)
            if relo.kind in TYPE_BASED:
                return _Parsed(spec)
            steps = steps_of(spec)
        except Refused as refused:
            root = side.btf.type(relo.type_id)
            what = f"[{relo.type_id}] {kind_word(root)} {root.name or '<anon>'} + {relo.access}"
            return _Parsed(ReloError(errno.EINVAL, f"parsing {what} failed: {refused.message}"))
        way = self.ways.get(steps)
        if way is None:
            way = self.ways[steps] = Way(steps)
        return _Parsed(spec, way)


def _sort(local: Spec, way: Way) -> Hashable | None:
    root = local.btf.type(local.root_type_id)
    if not root.name:
        return None
    width: Hashable = None
    if local.kind in FIELD_BASED:
        try:
            value = value_of(local)
        except Refused:
            return None
        # all that memory_size_differs() looks at
        held = local.btf.type(value.type_id)
        width = (value.size, type(held), held.encoding if isinstance(held, Int) else None)
    return (kind_class(root.kind), essential_name(root.name), int(local.kind), way, width)


class Relocator:
    """Resolves the relocations of one object against one kernel.

    Relocations must be given in libbpf's order: by section of .BTF.ext, then as they stand there, leaving out
    those of programs that are not loaded (subprograms always are). The order matters: a relocation that some
    candidates of a type match leaves only those for later relocations of that type. :meth:`restart` forgets
    that, and only that.
    """

    def __init__(self, local: Btf, target: KernelBtf, accesses: Accesses | None = None) -> None:
        self.local = Side(local, "object", 8)  # libbpf: btf__set_pointer_size(obj->btf, 8)
        self.target = Target.of(target)
        self._answers: dict[_Key | tuple[_Key, _Candidates], _Answer] = {}
        self._accesses = accesses if accesses is not None else Accesses(self.target.ways)
        self._narrowed: dict[int, _Candidates] = {}

    def restart(self) -> Relocator:
        """One for another run over the same object (say, with another program alone): shares all that is
        known.
        """
        other = Relocator(self.local.btf, self.target, self._accesses)
        other._answers = self._answers
        return other

    def settled(self, relo: CoreRelo) -> Hashable | None:
        """What this relocation is worth, as a value that is equal where :meth:`resolve` makes the same of one
        instruction, on whatever kernel.

        None where that may depend on relocations before it: its type has several candidates.
        """
        key = (relo.type_id, relo.access, int(relo.kind))
        known = self._answers.get(key)
        if known is not None:
            return known.content
        sort = self._accesses.sort(relo, self.local)
        found = self.target.settled.get(sort) if sort is not None else None
        if found is None:
            answer = self._answer(relo)
            if key not in self._answers:
                return None
            found = answer.content
            if sort is not None and answer.matched and answer.error is None:
                self.target.settled[sort] = found
        return found

    def resolve(self, relo: CoreRelo, insn: Instruction, following: Instruction | None = None) -> Resolution:
        """Resolve one relocation of ``insn``; ``following`` is the next slot, needed to check an LDIMM64
        wholly.

        Raises :exc:`~holdfast.errors.BtfError` only for BTF that libbpf would have refused to read.
        """
        answer = self._answer(relo)
        patched: tuple[Instruction, ...] = ()
        error, poison, warning = answer.error, answer.poison, None
        if not error:
            new, orig = answer.new, answer.orig
            try:
                if not poison:
                    expected = orig.number if orig.validate else None
                    if answer.wrong_width and insn.opcode & 0x07 in _MEMORY:
                        patch(insn, following, new.number, expected, 0, 0)  # its checks come first
                        poison = True
                        warning = (
                            "accesses field incorrectly. Make sure you are accessing pointers, unsigned "
                            "integers, or fields of matching type and size "
                            f"({orig.size} bytes here, {new.size} there)"
                        )
                    else:
                        patched = patch(insn, following, new.number, expected, orig.size, new.size)
            except Refused as refused:
                error = ReloError(refused.errno, refused.message)
            if poison:
                patched = (POISON, POISON) if insn.opcode == LD_IMM64 else (POISON,)
        return Resolution(
            relo,
            answer.local,
            answer.matched,
            answer.new.number,
            answer.orig.number,
            poison,
            answer.orig.validate,
            patched,
            answer.missing,
            error,
            warning,
        )

    def _answer(self, relo: CoreRelo) -> _Answer:
        type_id = relo.type_id
        key = (type_id, relo.access, int(relo.kind))
        known = self._answers.get(key)
        if known is not None:
            return known
        if not type_id < len(self.local.btf):
            return _Answer(
                None, error=ReloError(errno.EINVAL, f"type [{type_id}] does not exist in the object")
            )
        root = self.local.btf.type(type_id)
        if relo.kind == CoreReloKind.TYPE_ID_LOCAL:
            candidates: _Candidates = ()
        elif not root.name:
            text = f"target candidate search failed for [{type_id}] {kind_word(root)} "
            return _Answer(None, error=ReloError(errno.EINVAL, text))
        else:
            narrowed = self._narrowed.get(type_id)
            if narrowed is None:
                candidates = self.target.candidates(root.kind, essential_name(root.name))
            else:
                candidates = narrowed
        if len(candidates) > 1 or type_id in self._narrowed:
            # With several candidates to begin with, an answer is good for this very list only.
            long_key = (key, candidates)
            known = self._answers.get(long_key)
            if known is None:
                known = self._answers[long_key] = self._work_out(relo, candidates)
            if known.matched and not known.error and len(known.matched) < len(candidates):
                self._narrowed[type_id] = tuple((spec.side, spec.root_type_id) for spec in known.matched)
            return known
        known = self._answers[key] = self._work_out(relo, candidates)
        return known

    def _work_out(self, relo: CoreRelo, candidates: _Candidates) -> _Answer:
        parsed = self._accesses.parse(relo, self.local)
        local = parsed.local
        if isinstance(local, ReloError):
            return _Answer(None, error=local)
        if local.kind == CoreReloKind.TYPE_ID_LOCAL:
            # Linking objects changes the id in the instruction, so libbpf sets it and does not check it.
            number = Value(local.root_type_id, validate=False)
            return _Answer(local, orig=number, new=number)
        try:
            return self._choose(parsed, local, candidates)
        except Refused as refused:
            return _Answer(local, error=ReloError(refused.errno, refused.message))

    def _choose(self, parsed: _Parsed, local: Spec, candidates: _Candidates) -> _Answer:
        """One value that all matching candidates agree on (``bpf_core_calc_relo_insn()``)."""
        chosen: list[Spec] = []
        mismatches: list[Mismatch] = []
        new = _NOTHING
        wrong_width = False
        for at, (side, type_id) in enumerate(candidates):
            found, value = self._match(parsed, local, side, type_id)
            if isinstance(found, Mismatch):
                mismatches.append(found)
                continue
            if isinstance(found, ReloError):
                raise Refused(found.errno, f"error matching candidate #{at}: {found.message}")
            orig = self._orig(parsed, local)
            if isinstance(value, ReloError):
                raise Refused(value.errno, value.message)
            if not chosen:
                new = value
                wrong_width = local.kind in FIELD_BASED and memory_size_differs(local, orig, found, new)
            elif found.bit_offset != chosen[0].bit_offset:
                raise Refused(
                    errno.EINVAL, f"field offset ambiguity: {found.bit_offset} != {chosen[0].bit_offset}"
                )
            elif value.number != new.number:
                text = f"relocation decision ambiguity: success {value.number} != success {new.number}"
                raise Refused(errno.EINVAL, text)
            chosen.append(found)
        if chosen:
            return _Answer(local, tuple(chosen), orig, new, wrong_width=wrong_width)
        words = missing(local, mismatches, self.target)
        orig = self._orig(parsed, local)
        return _Answer(local, orig=orig, poison=int(local.kind) not in ZERO_WHEN_MISSING, missing=words)

    @staticmethod
    def _orig(parsed: _Parsed, local: Spec) -> Value:
        if parsed.value is None:
            parsed.value = value_of(local)
        return parsed.value

    def _match(
        self, parsed: _Parsed, local: Spec, side: Side, type_id: int
    ) -> tuple[Match, Value | ReloError]:
        """Match a candidate, remembered over objects where only names and shapes count."""
        way = parsed.way
        if way is None:
            return _matched(local, (), side, type_id)
        key = (side.name, type_id, local.kind, way)
        known = self.target.matches.get(key)
        if known is None:
            known = self.target.matches[key] = _matched(local, way.steps, side, type_id)
        return known  # type: ignore[return-value]


def _matched(local: Spec, steps: Steps, side: Side, type_id: int) -> tuple[Match, Value | ReloError]:
    """What a candidate says and, where it matches, what it is worth."""
    found = match_candidate(local, steps, side, type_id)
    if not isinstance(found, Spec):
        return found, _NOTHING
    try:
        return found, value_of(found)
    except Refused as refused:
        return found, ReloError(refused.errno, refused.message)


def resolve(
    relo: CoreRelo, insn: Instruction, local: Btf, target: KernelBtf, following: Instruction | None = None
) -> Resolution:
    """Resolve a single relocation as if it were the object's only one; see :meth:`Relocator.resolve`.

    For more than a few use a :class:`Relocator`, which knows libbpf's narrowing of candidates and remembers.
    """
    return Relocator(local, target).resolve(relo, insn, following)
