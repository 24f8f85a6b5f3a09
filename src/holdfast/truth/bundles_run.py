# SPDX-License-Identifier: Apache-2.0
"""Bundles into one booted kernel: plans carried out, each variant alone, proofs.

A trial that breaks its guest or its job is tried once more by itself; after that it is told as trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from holdfast.truth.bundles import BundlePart
from holdfast.truth.journal import Journal, journal_name
from holdfast.truth.run import Trouble
from holdfast.vm.job import Job, JobResult
from holdfast.vm.python_root import packages

__all__ = ["BundleSaid", "BundleWork", "bundle_key", "bundles_journal", "remembered"]

_CALL: Final = "holdfast.vm.guest.carry_bundle:carry_bundle"

_Chunk = tuple[BundlePart, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class BundleSaid:
    """How one trial ended: ``row`` as :func:`holdfast.vm.guest.carry_bundle.carry_bundle` gives it, of the
    bundle with that ``number``. ``remembered`` when it is from a run before.
    """

    kernel: str
    number: int
    row: dict[str, Any] = field(repr=False)
    remembered: bool = False

    @property
    def trial(self) -> str:
        return str(self.row["trial"])


class BundleWork:
    """The jobs of some bundles on one kernel, with what is left over from those that broke.

    ``journal`` is where what is said is kept; ``parts`` are those of one kernel; ``silence`` is how many
    seconds a trial may take.
    """

    def __init__(self, kernel: str, parts: Iterable[BundlePart], journal: Journal, silence: float) -> None:
        self._kernel = kernel
        self._silence = silence
        self._journal = journal
        self._tried: set[tuple[str, str]] = set()
        self._current: _Chunk | None = None
        self._chunks = deque((part, part.trials) for part in {one.digest: one for one in parts}.values())

    @property
    def left(self) -> int:
        """How many trials there are still."""
        waiting = [*self._chunks, self._current] if self._current else self._chunks
        return sum(len(trials) for _, trials in waiting)

    def next(self) -> Job | None:
        """The next job, None when there is none. How it ended is told by :meth:`take`."""
        if not self._chunks:
            return None
        self._current = part, trials = self._chunks.popleft()
        arguments = {
            "files": part.files,
            "kernel": self._kernel,
            "verdicts": part.verdicts,
            "trials": trials,
            "prepared": part.prepared,
        }
        return Job(f"bundle {part.name}", _CALL, arguments, self._silence)

    def take(self, result: JobResult) -> Iterator[BundleSaid | Trouble]:
        """What the job that :meth:`next` gave has said, and trouble that does not go away by a second try."""
        yield from self.answers(result.parts)
        assert self._current is not None
        (part, trials), self._current = self._current, None
        rest = trials[len(result.parts) :]
        if not rest:
            return
        if (part.digest, rest[0]) in self._tried:
            said = tuple(result.said.splitlines()[-40:])
            problem = result.problem or "no answer"
            yield Trouble(self._kernel, problem, bundle_key(part.number), rest[0], said)
        else:
            self._tried.add((part.digest, rest[0]))
            self._chunks.append((part, rest[:1]))
        if rest[1:]:
            self._chunks.appendleft((part, rest[1:]))

    def answers(self, rows: Iterable[Any]) -> Iterator[BundleSaid]:
        """What the job that is under way has said."""
        assert self._current is not None
        part = self._current[0]
        for row in rows:
            if row["trouble"] is None:
                kept = {"sha256": part.digest, "program": row["trial"], "loaded": bool(row["runs"])}
                self._journal.add(kept | {"errno": None, "row": row})
            yield BundleSaid(self._kernel, part.number, row)


def remembered(
    kernel: str, parts: Iterable[BundlePart], journal: Journal
) -> tuple[list[BundleSaid], tuple[BundlePart, ...]]:
    """What ``journal`` has of these bundles, and the bundles with the trials that are left."""
    of = {part.digest: part for part in parts}
    said: dict[tuple[str, str], BundleSaid] = {}
    for row in journal.rows():
        part, key = of.get(row["sha256"]), (row["sha256"], row["program"])
        if part is not None and key[1] in part.trials and key not in said:
            said[key] = BundleSaid(kernel, part.number, row["row"], True)
    left = [
        replace(part, trials=tuple(one for one in part.trials if (part.digest, one) not in said))
        for part in of.values()
    ]
    return list(said.values()), tuple(part for part in left if part.trials)


def bundle_key(number: int) -> str:
    """What is the ``sha256`` of a :class:`~holdfast.truth.run.Trouble` with a trial of that bundle."""
    return f"bundle {number}"


def bundles_journal(
    folder: Path | None, kernel: str, build: bytes, loader: str, along: Iterable[str]
) -> Journal:
    """The journal for bundles on a kernel build; ``along`` are the packages that guests get besides.

    Proofs are Python, which may change from run to run: a journal is for just those files.
    """
    key = packages(("holdfast", *along)).key
    return Journal(folder / journal_name(kernel, build, f"{loader} bundles {key}") if folder else None)
