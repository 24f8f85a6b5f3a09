# SPDX-License-Identifier: Apache-2.0
"""A booted kernel asked by tiny loads (``holdfast kernels probe``), and its answers kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import KernelFileError
from holdfast.truth.run import Survey, Trouble
from holdfast.vm.job import Job, JobResult

if TYPE_CHECKING:
    from holdfast.kernels.compare import Disagreement
    from holdfast.truth.ground import Ground

__all__ = ["PROBE", "Probed", "ProbeSaid", "ProbeWork", "keep", "survey_of"]

PROBE: Final = "(probe)"
"""What troubles call the survey where others have a program."""
_SILENCE: Final = 120.0  # seconds for one step; a step takes some seconds under TCG


@dataclass(frozen=True, slots=True)
class ProbeSaid:
    """What a kernel answered: ``plain`` as :func:`holdfast.vm.guest.jobs.probe` gives it; ``quick`` when it
    was not asked for everything.
    """

    kernel: str
    plain: dict[str, Any] = field(repr=False)
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Probed:
    """A kernel that has been asked; ``disagreements`` are where its image says otherwise; ``quick`` when it
    was not asked for everything.
    """

    kernel: str
    answers: int
    disagreements: tuple[Disagreement, ...] = ()
    quick: bool = False

    def lines(self) -> Iterator[str]:
        """The result in words."""
        count = len(self.disagreements)
        yield f"{self.kernel}: asked, {self.answers} answers kept; " + (
            f"{count} are not what its image says" if count else "its image says the same"
        )
        for one in self.disagreements:
            kind = f" for {one.program_type.name}" if one.program_type else ""
            did = "admits" if one.kernel else "refuses"
            yield f"  {one.what} {one.name}{kind}: the kernel {did} it; {one.evidence}: {one.note}"

    def to_dict(self) -> dict[str, Any]:
        """One element of ``probed`` of ``verify --format json``."""
        return {
            "kernel": self.kernel,
            "answers": self.answers,
            "quick": self.quick,
            "disagreements": [
                {
                    "what": one.what,
                    "name": one.name,
                    "program_type": one.program_type.name if one.program_type else None,
                    "image": one.image,
                    "kernel": one.kernel,
                    "evidence": str(one.evidence),
                    "note": one.note,
                }
                for one in self.disagreements
            ],
        }


class ProbeWork:
    """The survey as one job of a kernel of :mod:`holdfast.truth.run`. One that breaks is tried once more; the
    quick one is nobody's wish, and what becomes of it is no trouble.
    """

    def __init__(self, kernel: str, survey: Survey = Survey.WHOLE) -> None:
        self._kernel = kernel
        self._quick = survey is Survey.QUICK
        self._tries = 1 if self._quick else 2
        self._done = False

    @property
    def left(self) -> int:
        return 0 if self._done or self._quick else 1

    def next(self) -> Job | None:
        if self._done:
            return None
        self._tries -= 1
        name = "probe_quickly" if self._quick else "probe"
        return Job("probe", f"holdfast.vm.guest.jobs:{name}", {}, _SILENCE)

    def take(self, result: JobResult) -> Iterator[ProbeSaid | Trouble]:
        self._done = result.ok or not self._tries
        if result.ok:
            yield ProbeSaid(self._kernel, result.value, self._quick)
        elif self._done and not self._quick:
            said = tuple(result.said.splitlines()[-40:])
            yield Trouble(self._kernel, result.problem or "no answer", program=PROBE, console=said)

    def answers(self, parts: Iterable[Any]) -> Iterator[ProbeSaid | Trouble]:
        """Nothing: what is said on the way is how far it is."""
        yield from ()


def survey_of(ground: Ground, *, whole: bool) -> Survey:
    """What a kernel is to be asked: with ``whole`` everything, else what takes a second; nothing that it was
    asked before, and nothing where the catalogue does not have it.
    """
    if ground.row is None:
        return Survey.NOTHING
    kept = ground.facts.probes
    if whole:
        return Survey.NOTHING if kept is not None and kept.helpers else Survey.WHOLE
    return Survey.QUICK if kept is None else Survey.NOTHING


def keep(said: ProbeSaid, ground: Ground) -> Probed:
    """Keep the answers of a kernel of the catalogue among the user's, and hold them against its image.

    Raises :exc:`~holdfast.errors.KernelFileError` where they cannot be kept, or make no sense.
    """
    from holdfast.kernels.catalogue.asked import Asked
    from holdfast.kernels.compare import compare
    from holdfast.kernels.probe_plain import from_plain

    try:
        probes = from_plain(said.plain)
        loaded = frozenset(str(name) for name in said.plain.get("modules", ()))
    except (ValueError, TypeError) as error:
        raise KernelFileError(said.kernel, f"its answers make no sense: {error}") from None
    if probes.obstacle:
        raise KernelFileError(said.kernel, f"it could not be asked: {probes.obstacle}")
    assert ground.row is not None
    Asked.open().put(ground.row, probes)
    tables: tuple[Sized, ...] = (
        probes.program_types, probes.map_types, probes.attach_types, probes.link_types, probes.attachments,
        probes.insn_features, probes.kinds, probes.helpers, probes.kfuncs,
    )  # fmt: skip
    facts = ground.facts if said.quick else replace(ground.facts, module_names=loaded)
    return Probed(said.kernel, sum(map(len, tables)), tuple(compare(facts, probes)), said.quick)
