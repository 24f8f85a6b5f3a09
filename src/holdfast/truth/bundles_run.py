# SPDX-License-Identifier: Apache-2.0
"""Bundles into one booted kernel: plans carried out, each variant alone, proofs.

A trial that breaks its guest or its job is tried once more by itself; after that it is told as trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final

from holdfast.errors import KernelFileError
from holdfast.truth.bundles import BundlePart
from holdfast.truth.journal import Journal, journal_name
from holdfast.truth.run import Trouble
from holdfast.truth.unpacked import boot_kernel
from holdfast.vm.boot import Guest
from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult
from holdfast.vm.kernel import BootKernel
from holdfast.vm.python_root import packages
from holdfast.vm.series import carry_out

__all__ = ["BundleSaid", "BundleTask", "carry_out_bundles"]

_CALL: Final = "holdfast.vm.guest.carry_bundle:carry_bundle"
_SILENCE: Final = 300.0  # seconds for one trial; net/rss takes three under TCG
_BOOTS: Final = 8  # of one kernel


@dataclass(frozen=True, slots=True)
class BundleTask:
    """What one process does: these bundles on this kernel. Members as those of
    :class:`~holdfast.truth.run.Task`; ``packages`` are Python's, by import name.
    """

    kernel: str
    paths: tuple[Path, ...]
    parts: tuple[BundlePart, ...] = field(repr=False)
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    loader: str = ""
    folder: Path | None = None
    accelerator: str | None = None
    afresh: bool = False


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


def carry_out_bundles(task: BundleTask, *, boots: int = _BOOTS) -> Iterator[BundleSaid | Trouble]:
    """How each trial ended on this kernel, those first that are remembered; of trouble, ``sha256`` is the
    part's digest and ``program`` the trial.

    Raises :exc:`~holdfast.errors.KernelFileError` for a kernel that cannot be read or booted at all.
    """
    build, kernel = _build(task)
    # proofs are Python, which may change from run to run
    along = packages(("holdfast", *task.packages)).key
    name = journal_name(task.kernel, build, f"{task.loader} bundles {along}")
    journal = Journal(task.folder / name if task.folder else None)
    by_digest = {part.digest: part for part in task.parts}
    done: set[tuple[str, str]] = set()
    for row in () if task.afresh else journal.rows():
        key = row["sha256"], row["program"]
        if key[0] in by_digest and key[1] in by_digest[key[0]].trials and key not in done:
            done.add(key)
            yield BundleSaid(task.kernel, by_digest[key[0]].number, row["row"], True)
    chunks = deque(
        (part, trials)
        for part in task.parts
        if (trials := tuple(one for one in part.trials if (part.digest, one) not in done))
    )
    if not chunks:
        return

    found = kernel()

    def boot() -> Guest:
        return Guest.boot(found, modules=task.modules, packages=task.packages, accelerator=task.accelerator)

    yield from _Series(task.kernel, chunks, journal).run(boot, boots)


def _build(task: BundleTask) -> tuple[bytes, Callable[[], BootKernel]]:
    """What tells this build apart, and the way to its files, which takes time."""
    first = task.paths[0]
    if not first.is_file():
        unpacked = boot_kernel(task.paths, task.modules, b"", None)
        file = unpacked.boot_file()
        return sha256(file if isinstance(file, bytes) else file.read_bytes()).digest(), lambda: unpacked
    try:
        with first.open("rb") as opened:
            build = file_digest(opened, "sha256").digest()
    except OSError as error:
        raise KernelFileError(str(first), f"it cannot be read: {error.strerror}") from None
    return build, lambda: boot_kernel(task.paths, task.modules, build, task.folder)


_Chunk = tuple[BundlePart, tuple[str, ...]]


class _Series:
    """The jobs of one kernel, with what is left over from those that broke."""

    def __init__(self, kernel: str, chunks: deque[_Chunk], journal: Journal) -> None:
        self._kernel = kernel
        self._chunks = chunks
        self._journal = journal
        self._tried: set[tuple[int, str]] = set()

    def run(self, boot: Callable[[], Guest], boots: int) -> Iterator[BundleSaid | Trouble]:
        current: _Chunk | None = None

        def jobs() -> Iterator[Job]:
            nonlocal current
            while self._chunks:
                current = self._chunks.popleft()
                yield self._job(current)

        try:
            for result in carry_out(boot, jobs(), boots=boots):
                assert current is not None
                yield from self._take(current, result)
        except GuestError as error:
            if current is not None:
                yield from self._answers(current[0], error.parts)
            yield Trouble(self._kernel, error.message, console=error.console)

    def _job(self, chunk: _Chunk) -> Job:
        part, trials = chunk
        arguments = {
            "files": part.files,
            "kernel": self._kernel,
            "verdicts": part.verdicts,
            "trials": trials,
            "prepared": part.prepared,
        }
        return Job(f"bundle {part.name}", _CALL, arguments, _SILENCE)

    def _take(self, chunk: _Chunk, result: JobResult) -> Iterator[BundleSaid | Trouble]:
        part, trials = chunk
        yield from self._answers(part, result.parts)
        rest = trials[len(result.parts) :]
        if not rest:
            return
        if (part.number, rest[0]) in self._tried:
            said = tuple(result.said.splitlines()[-40:])
            yield Trouble(self._kernel, result.problem or "no answer", part.digest, rest[0], said)
        else:
            self._tried.add((part.number, rest[0]))
            self._chunks.append((part, rest[:1]))
        if rest[1:]:
            self._chunks.appendleft((part, rest[1:]))

    def _answers(self, part: BundlePart, rows: Iterable[Any]) -> Iterator[BundleSaid]:
        for row in rows:
            if row["trouble"] is None:
                kept = {
                    "sha256": part.digest,
                    "program": row["trial"],
                    "loaded": bool(row["runs"]),
                    "errno": None,
                }
                self._journal.add(kept | {"row": row})
            yield BundleSaid(self._kernel, part.number, row)
