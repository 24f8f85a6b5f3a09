# SPDX-License-Identifier: Apache-2.0
"""Verdicts and their reasons, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from holdfast.predict.codes import ReasonCode
from holdfast.terms import Evidence, ProgramType, Verdict

__all__ = ["Hazard", "PastLoad", "ProgramVerdict", "Reason", "Stage", "walk_reason"]


class Stage(IntEnum):
    """When libbpf or the kernel would meet a reason: ``bpf_object__open()``, then ``bpf_object_prepare()``
    in the order of libbpf 1.7, then BPF_PROG_LOAD.
    """

    OPEN = 0
    PROBE_LOADING = 1
    KERNEL_BTF = 2
    EXTERNS = 3
    STRUCT_OPS = 4
    RELOCATE = 5
    MAPS = 6
    PREPARE_LOAD = 7
    LOAD = 8
    VERIFIER = 9
    VERIFIER_WALK = 10


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a program does not load (``certain``) or why that cannot be told.

    ``need`` is the need in short, ``message`` a sentence, ``source`` ``file.c:12`` where the object has line
    info, ``evidence`` what the kernel's side of it rests on, ``hint`` what would help. ``order`` sorts
    within a stage.
    """

    code: ReasonCode
    need: str
    message: str
    stage: Stage
    evidence: Evidence
    certain: bool = True
    source: str | None = None
    hint: str | None = None
    order: int = 0


def walk_reason(
    code: ReasonCode,
    need: str,
    message: str,
    evidence: Evidence,
    *,
    certain: bool = True,
    hint: str | None = None,
) -> Reason:
    """A reason that the verifier gives when it gets to an instruction."""
    return Reason(code, need, message, Stage.VERIFIER_WALK, evidence, certain, None, hint)


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something that does not keep the program from loading but may make it do the wrong thing.

    ``code`` is a :class:`~holdfast.predict.codes.HazardCode`, or one of the findings that
    :mod:`holdfast.history.hazards` adds.
    """

    code: StrEnum
    need: str
    message: str
    evidence: Evidence
    source: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class PastLoad:
    """That this very program was loaded into this very kernel build before, and how that ended.

    ``loader`` as ``libbpf-1.7.0``, ``errno`` positive or None, ``words`` the class of the last words
    (:class:`holdfast.truth.words.WordsClass`), ``predicted`` the verdict that needs and facts alone give.
    """

    loader: str
    loaded: bool
    errno: int | None
    words: str
    predicted: Verdict


@dataclass(frozen=True, slots=True)
class ProgramVerdict:
    """What is predicted of one program on one kernel; ``reasons`` come in the order in which they would be
    met.

    ``kernel`` is the id of the facts, ``libbpf`` the loader's release that was assumed. ``load`` is what the
    verdict was taken from instead where a load has told already; predicting alone never sets it.
    """

    object_path: str
    sha256: str
    program: str
    section: str
    type: ProgramType
    kernel: str
    libbpf: tuple[int, int]
    verdict: Verdict
    reasons: tuple[Reason, ...]
    hazards: tuple[Hazard, ...]
    load: PastLoad | None = None
