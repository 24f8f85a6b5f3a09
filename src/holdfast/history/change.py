# SPDX-License-Identifier: Apache-2.0
"""One change between two kernels, and what it does to programs that were written before it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.terms import ProgramType

__all__ = ["Aspect", "Change", "Effect", "worst"]


class Effect(StrEnum):
    """What a change does to existing programs, the worst first."""

    BREAKS = "breaks"
    """No program that relies on it loads: libbpf or the kernel refuses whatever the program does."""
    TIGHTENS = "tightens"
    """Fewer programs are admitted: it depends on the program, or on the privileges of who loads it."""
    SILENT = "silent"
    """Everything loads as before, and may mean something else."""
    WIDENS = "widens"
    """More programs are admitted than before."""
    NEUTRAL = "neutral"
    """No program can tell."""

    @property
    def is_hard(self) -> bool:
        """Whether a program that loaded may no longer load; grades count these alone."""
        return self in (Effect.BREAKS, Effect.TIGHTENS)


_ORDER = list(Effect)


def worst(effects: list[Effect]) -> Effect:
    """The worst of these; NEUTRAL when there are none."""
    return min(effects, key=_ORDER.index, default=Effect.NEUTRAL)


class Aspect(StrEnum):
    """What about a kfunc, or another part of the surface, changed."""

    PRESENCE = "presence"
    PROTOTYPE = "prototype"
    FLAGS = "flags"
    PROGRAM_TYPES = "program types"
    MODULE = "module"
    VALUE = "value"
    MEMBERS = "members"
    CAPABILITIES = "capabilities"


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``what`` is a short sentence without a full stop, ``before`` and ``after`` the two states
    as text ("" where there is none). ``program_types`` are those that it concerns, None for all.
    """

    aspect: Aspect
    effect: Effect
    what: str
    before: str = ""
    after: str = ""
    program_types: frozenset[ProgramType] | None = None
