# SPDX-License-Identifier: Apache-2.0
"""What was asked of a running kernel by trial, and what it said.

The asking is :mod:`holdfast.kernels.probe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from holdfast.kernels.answer_table import AnswerTable
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = ["HelperUse", "KfuncUse", "KindUse", "ProbeFacts", "Wanted"]


class HelperUse(NamedTuple):
    """A helper called from a program type.

    ``attach_type`` None stands for any attach type of it, ``sleepable`` None for both.
    """

    number: int
    program_type: ProgramType
    attach_type: AttachType | None = None
    sleepable: bool | None = None


class KfuncUse(NamedTuple):
    """A kfunc called from a program type.

    ``attach_type`` None stands for any attach type of it, ``sleepable`` None for both.
    """

    name: str
    program_type: ProgramType
    attach_type: AttachType | None = None
    sleepable: bool | None = None


class KindUse(NamedTuple):
    """A kind of program, as BPF_PROG_LOAD tells them apart before the verifier looks."""

    program_type: ProgramType
    attach_type: AttachType | None = None
    sleepable: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask: the needs of some objects, or whole tables. ``insn_features`` are InsnFeature values."""

    program_types: frozenset[ProgramType] = frozenset()
    map_types: frozenset[MapType] = frozenset()
    helpers: frozenset[HelperUse] = frozenset()
    kfuncs: frozenset[KfuncUse] = frozenset()
    insn_features: frozenset[str] = frozenset()
    kinds: frozenset[KindUse] = frozenset()

    def __or__(self, other: Wanted) -> Wanted:
        """Both together."""
        return Wanted(
            self.program_types | other.program_types,
            self.map_types | other.map_types,
            self.helpers | other.helpers,
            self.kfuncs | other.kfuncs,
            self.insn_features | other.insn_features,
            self.kinds | other.kinds,
        )


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """Answers of the running kernel. A missing key was not asked; None was asked and stayed undecided.

    ``obstacle`` says why nothing could be asked at all (no CAP_BPF), else it is "". ``kinds`` says which
    kinds of programs this machine lets this process load: no where lockdown or a security module denies them.
    ``link_types`` are named as in ``enum bpf_link_type`` without its prefix; ``attachments`` are what
    libbpf's sections ask for besides a program type: ``kprobe.multi``, ``fentry.s``.
    """

    program_types: Mapping[ProgramType, bool | None] = field(default_factory=dict)
    map_types: Mapping[MapType, bool | None] = field(default_factory=dict)
    helpers: Mapping[HelperUse, bool | None] = field(default_factory=dict)
    kfuncs: Mapping[KfuncUse, bool | None] = field(default_factory=dict)
    insn_features: Mapping[str, bool | None] = field(default_factory=dict)
    obstacle: str = ""
    kinds: Mapping[KindUse, bool | None] = field(default_factory=dict)
    attach_types: Mapping[AttachType, bool | None] = field(default_factory=dict)
    link_types: Mapping[str, bool | None] = field(default_factory=dict)
    attachments: Mapping[str, bool | None] = field(default_factory=dict)

    def helper(self, use: HelperUse) -> bool | None:
        """The answer for this use, or the "no" of a wider one (any attach type, sleepable or not)."""
        return _answer(self.helpers, use)

    def kfunc(self, use: KfuncUse) -> bool | None:
        """The answer for this use, or the "no" of a wider one (any attach type, sleepable or not)."""
        return _answer(self.kfuncs, use)

    def kfunc_by_type(self, name: str) -> dict[ProgramType, set[bool | None]]:
        """The answers for a kfunc by program type, over the attach types that were asked.

        Those for sleepable programs and others alone are left out: they tell of KF_SLEEPABLE.
        """
        found: dict[ProgramType, set[bool | None]] = {}
        if isinstance(self.kfuncs, AnswerTable):
            for way, value in self.kfuncs.of_row(name):
                if way.sleepable is None:
                    found.setdefault(way.program_type, set()).add(value)
            return found
        for use, value in self.kfuncs.items():
            if use.name == name and use.sleepable is None:
                found.setdefault(use.program_type, set()).add(value)
        return found

    @property
    def decided(self) -> bool:
        """Whether there is any answer that is not None."""
        tables = (
            self.program_types,
            self.map_types,
            self.helpers,
            self.kfuncs,
            self.insn_features,
            self.kinds,
            self.attach_types,
            self.link_types,
            self.attachments,
        )
        return any(value is not None for table in tables for value in table.values())

    def missing(self, wanted: Wanted) -> Wanted:
        """The part of ``wanted`` that has no answer here; undecided ones count as answered."""
        return Wanted(
            wanted.program_types - self.program_types.keys(),
            wanted.map_types - self.map_types.keys(),
            wanted.helpers - self.helpers.keys(),
            wanted.kfuncs - self.kfuncs.keys(),
            wanted.insn_features - self.insn_features.keys(),
            wanted.kinds - self.kinds.keys(),
        )

    def __or__(self, other: ProbeFacts) -> ProbeFacts:
        """Both together; where both answered, ``other`` is the newer one and counts."""
        return ProbeFacts(
            {**self.program_types, **other.program_types},
            {**self.map_types, **other.map_types},
            _both(self.helpers, other.helpers),
            _both(self.kfuncs, other.kfuncs),
            {**self.insn_features, **other.insn_features},
            other.obstacle or self.obstacle,
            {**self.kinds, **other.kinds},
            {**self.attach_types, **other.attach_types},
            {**self.link_types, **other.link_types},
            {**self.attachments, **other.attachments},
        )


_Use = TypeVar("_Use", HelperUse, KfuncUse)


def _both(
    first: Mapping[_Use, bool | None], second: Mapping[_Use, bool | None]
) -> Mapping[_Use, bool | None]:
    # Tables of all answers stay what they are where there is nothing to join.
    return {**first, **second} if first and second else first or second


def _answer(answers: Mapping[_Use, bool | None], use: _Use) -> bool | None:
    if (
        isinstance(answers, AnswerTable)
        and use.program_type is not ProgramType.STRUCT_OPS  # its functions take their stead
        and not answers.tells_attach_types(use.program_type)
    ):
        use = use._replace(attach_type=None)
    exact = answers.get(use)
    if exact is not None:
        return exact
    for attach_type in (use.attach_type, None):
        for sleepable in (use.sleepable, None):
            if answers.get(use._replace(attach_type=attach_type, sleepable=sleepable)) is False:
                return False
    return None
