# SPDX-License-Identifier: Apache-2.0
"""Objects into one booted kernel, each program on its own, and bundles; what it said of each.

Many programs go into one job and many jobs into one boot. What breaks a guest or a job is tried once more by
itself; after that it is told as trouble, which is no verdict.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Union

from holdfast.errors import KernelFileError
from holdfast.truth.journal import Journal, journal_name
from holdfast.truth.subject import Load
from holdfast.truth.unpacked import boot_kernel
from holdfast.vm.boot import Guest
from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult
from holdfast.vm.kernel import BootKernel
from holdfast.vm.series import carry_out

if TYPE_CHECKING:
    from holdfast.truth.bundles import BundlePart
    from holdfast.truth.bundles_run import BundleSaid
    from holdfast.truth.probes import ProbeSaid

__all__ = ["SILENCE", "Event", "Survey", "Said", "Task", "Trouble", "carry_out_task", "recall"]

_CALL: Final = "holdfast.vm.guest.jobs:load_objects"
_PROGRAMS: Final = 32  # of a job; libbpf asks its kernel what it can do once for each job
_BYTES: Final = 8 << 20  # of objects in a job
SILENCE: Final = 300.0
"""Seconds for one program, or one trial of a bundle. The longest of Debian's take some 20 s under TCG."""
_BOOTS: Final = 8  # of one kernel


class Survey(StrEnum):
    """What a kernel is asked once its programs were loaded."""

    NOTHING = ""
    QUICK = "quick"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Task:
    """What one process does: these objects on this kernel.

    ``paths`` are the kernel's package or image and its other parts; ``kernel`` is its id; ``folder`` keeps
    the journals, None keeps none; ``accelerator`` as :meth:`holdfast.vm.Guest.boot` takes it; ``afresh`` does
    not look at what is remembered. ``packages`` are those of Python, by import name, that proofs of
    ``bundles`` need besides Holdfast. ``probe`` says what the kernel is asked at the end. ``build`` is a
    digest of what is booted, empty while nobody has read it. ``silence`` is how many seconds a program, or a
    trial, may take before its guest counts as hung.
    """

    kernel: str
    paths: tuple[Path, ...]
    loads: tuple[Load, ...] = field(repr=False)
    modules: tuple[str, ...] = ()
    loader: str = ""
    folder: Path | None = None
    accelerator: str | None = None
    afresh: bool = False
    bundles: tuple[BundlePart, ...] = field(default=(), repr=False)
    packages: tuple[str, ...] = ()
    probe: Survey = Survey.NOTHING
    build: bytes = field(default=b"", repr=False)
    silence: float = SILENCE

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left that a guest would be booted for."""
        whole = self.probe is Survey.WHOLE
        return not (any(load.programs for load in self.loads) or self.bundles or whole)


@dataclass(frozen=True, slots=True)
class Said:
    """What a kernel said to one program: ``row`` as :func:`holdfast.vm.guest.load_alone.load_alone` gives it,
    with ``sha256``. ``remembered`` when it is from a run before.
    """

    kernel: str
    row: dict[str, Any] = field(repr=False)
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer: about one program, or (``program`` None) about the kernel with all that was
    left. ``console`` is the end of the guest's.
    """

    kernel: str
    message: str
    sha256: str | None = None
    program: str | None = None
    console: tuple[str, ...] = ()


_Part = tuple[Load, tuple[str, ...]]
Event = Union[Said, Trouble, "BundleSaid", "ProbeSaid"]
"""What comes of a task, one by one."""


def recall(task: Task) -> tuple[list[Event], Task]:
    """What is remembered of a task, and the task with what is left of it. Boots nothing.

    Raises :exc:`~holdfast.errors.KernelFileError` for a kernel that cannot be read.
    """
    build = task.build or _digest(task)
    events: list[Event] = []
    if task.afresh:
        return events, replace(task, build=build)
    wanted = {(load.sha256, program) for load in task.loads for program in load.programs}
    for row in _journal(task, build).rows():
        key = row["sha256"], row["program"]
        if key in wanted:
            wanted.discard(key)
            events.append(Said(task.kernel, row, True))
    loads = [
        replace(load, programs=tuple(one for one in load.programs if (load.sha256, one) in wanted))
        for load in task.loads
    ]
    bundles = task.bundles
    if bundles:
        from holdfast.truth.bundles_run import remembered

        said, bundles = remembered(task.kernel, bundles, _bundles_journal(task, build))
        events += said
    left = tuple(load for load in loads if load.programs)
    return events, replace(task, loads=left, bundles=bundles, build=build)


def carry_out_task(task: Task, *, boots: int = _BOOTS) -> Iterator[Event]:
    """What the kernel said to each program and of each bundle, those first that are remembered.

    Raises :exc:`~holdfast.errors.KernelFileError` for a kernel that cannot be read or booted at all.
    """
    events, left = recall(task)
    yield from events
    if left.is_done:
        return
    parts = [(load, load.programs) for load in left.loads]
    works: list[_Work] = [_Loads(task.kernel, parts, _journal(left, left.build), task.silence)]
    if left.bundles:
        from holdfast.truth.bundles_run import BundleWork

        works.append(BundleWork(task.kernel, left.bundles, _bundles_journal(left, left.build), task.silence))
    if left.probe:
        from holdfast.truth.probes import ProbeWork

        works.append(ProbeWork(task.kernel, left.probe))
    kernel = _unpacked(left)

    def boot() -> Guest:
        return Guest.boot(kernel, modules=task.modules, packages=task.packages, accelerator=task.accelerator)

    yield from _carry_out(task.kernel, works, boot, boots)


def _journal(task: Task, build: bytes) -> Journal:
    return Journal(task.folder / journal_name(task.kernel, build, task.loader) if task.folder else None)


def _bundles_journal(task: Task, build: bytes) -> Journal:
    from holdfast.truth.bundles_run import bundles_journal

    return bundles_journal(task.folder, task.kernel, build, task.loader, task.packages)


def _unpacked(task: Task) -> BootKernel:
    # a folder is a kernel that is unpacked already
    folder = task.folder if task.paths[0].is_file() else None
    return boot_kernel(task.paths, task.modules, task.build, folder)


def _digest(task: Task) -> bytes:
    path = task.paths[0]
    file = path if path.is_file() else _unpacked(task).boot_file()
    if isinstance(file, bytes):
        return sha256(file).digest()
    try:
        with file.open("rb") as opened:
            return file_digest(opened, "sha256").digest()
    except OSError as error:
        raise KernelFileError(str(file), f"it cannot be read: {error.strerror}") from None


class _Work(Protocol):
    """Jobs of one kind on one kernel, with what is left over from those that broke."""

    @property
    def left(self) -> int:
        """How many answers are missing."""

    def next(self) -> Job | None:
        """The next job, None when there is none."""

    def take(self, result: JobResult, /) -> Iterator[Event]:
        """What that job has said; what it left is kept, or told as trouble."""

    def answers(self, parts: Iterable[Any], /) -> Iterator[Event]:
        """What that job has said before all ended."""


def _carry_out(kernel: str, works: Sequence[_Work], boot: Callable[[], Guest], boots: int) -> Iterator[Event]:
    current = works[0]

    def jobs() -> Iterator[Job]:
        nonlocal current
        for current in works:
            while (job := current.next()) is not None:
                yield job

    try:
        for result in carry_out(boot, jobs(), boots=boots):
            yield from current.take(result)
    except GuestError as error:
        count = sum(work.left for work in works) - len(error.parts)
        yield from current.answers(error.parts)
        message = f"{error.message} ({count} program{'' if count == 1 else 's'} left)"
        yield Trouble(kernel, message, console=error.console)


class _Loads:
    """Programs, each on its own (:class:`_Work`)."""

    def __init__(self, kernel: str, parts: Iterable[_Part], journal: Journal, silence: float) -> None:
        self._kernel = kernel
        self._silence = silence
        self._journal = journal
        self._chunks = deque(_chunks(parts))
        self._current: list[_Part] = []
        self._tried: set[tuple[str, str]] = set()

    @property
    def left(self) -> int:
        return sum(len(programs) for chunk in (self._current, *self._chunks) for _, programs in chunk)

    def next(self) -> Job | None:
        self._current = self._chunks.popleft() if self._chunks else []
        return _job(self._current, self._silence) if self._current else None

    def take(self, result: JobResult) -> Iterator[Said | Trouble]:
        yield from self.answers(result.parts)
        flat = [(load, program) for load, programs in self._current for program in programs]
        self._current = []
        rest = flat[len(result.parts) :]
        if not rest:
            return
        (load, program), *after = rest
        key = load.sha256, program
        if key in self._tried:
            said = tuple(result.said.splitlines()[-40:])
            problem = result.problem or "the job gave no answer"
            yield Trouble(self._kernel, problem, *key, console=said)
        else:
            self._tried.add(key)
            self._chunks.append([(load, (program,))])
        if after:
            self._chunks.appendleft([(one, (name,)) for one, name in after])

    def answers(self, parts: Iterable[Any]) -> Iterator[Said | Trouble]:
        for part in parts:
            load = self._current[part["object"]][0]
            row = {key: value for key, value in part.items() if key != "object"} | {"sha256": load.sha256}
            if row["loaded"] is None:
                yield Trouble(self._kernel, row["error"], load.sha256, row["program"])
                continue
            self._journal.add(row)
            yield Said(self._kernel, row)


def _job(chunk: list[_Part], silence: float) -> Job:
    objects = [
        {"name": Path(load.name).name, "content": load.content, "programs": list(programs)}
        for load, programs in chunk
    ]
    return Job(f"{len(objects)} objects from {objects[0]['name']}", _CALL, {"objects": objects}, silence)


def _chunks(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    chunk: list[_Part] = []
    programs = size = 0
    for load, names in parts:
        for start in range(0, len(names), _PROGRAMS):
            some = names[start : start + _PROGRAMS]
            if chunk and (programs + len(some) > _PROGRAMS or size + len(load.content) > _BYTES):
                yield chunk
                chunk, programs, size = [], 0, 0
            chunk.append((load, some))
            programs += len(some)
            size += len(load.content)
    if chunk:
        yield chunk
