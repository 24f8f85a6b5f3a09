# SPDX-License-Identifier: Apache-2.0
"""Evidence ``load``: verdicts taken from what a kernel said when it was given this very program before.

Two places are looked at: the rows that come with Holdfast (``rows.tsv``), and what guests of this user's own
``holdfast verify`` said. A row counts for the same object (sha256 of the file), the same program, the same
kernel build (sha256 of its package) and the same minor release of libbpf, and for nothing else. The running
kernel has a policy and modules of its own, so no row counts for it.

Predicting knows nothing of this, and neither does the score: it would be held against itself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from holdfast.errors import FileError
from holdfast.kernels.cache import folder
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.model import PastLoad, ProgramVerdict, Reason, Stage
from holdfast.terms import Evidence, Verdict
from holdfast.truth.journal import Journal, journal_name
from holdfast.truth.rows import TruthFileError, TruthRow, parse_row
from holdfast.truth.words import WordsClass, classify

__all__ = ["SHIPPED", "PastLoads"]

SHIPPED: Final = Path(__file__).with_name("rows.tsv")
"""The rows that come with Holdfast."""
_SHORT: Final = 16  # digits of a sha256 in an R line
# What a guest said for want of room or time is nothing that another machine would say.
_PASSING: Final = frozenset(
    {errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EBUSY}
)
# Asked of the machine itself, so no load on another one knows better.
_OF_THE_MACHINE: Final = frozenset({Evidence.PROBE, Evidence.SYSTEM})


class PastLoads:
    """Loads that are on record, for a loader.

    ``libbpf`` is the release that verdicts are for. ``shipped`` is a file of rows; ``journals`` a folder as
    ``verify`` keeps it, by default this user's.
    """

    def __init__(
        self,
        libbpf: tuple[int, int],
        *,
        shipped: Path = SHIPPED,
        journals: Path | None = None,
    ) -> None:
        self._libbpf = libbpf
        self._shipped = _Shipped(shipped)
        self._of_journal: dict[Path, dict[str, list[TruthRow]]] = {}
        cache = folder()
        self._journals = journals or (cache / "verify" if cache is not None else None)

    def apply(self, verdicts: Sequence[ProgramVerdict], facts: KernelFacts) -> list[ProgramVerdict]:
        """One object's verdicts on the kernel of ``facts``, those replaced that a load told."""
        if not verdicts or not facts.build or facts.host is not None:
            return list(verdicts)
        found = self._of(verdicts[0].sha256, facts)
        if not found:
            return list(verdicts)
        result = []
        for verdict in verdicts:
            # of two programs with one name the loader finds the first alone
            row = found.pop(verdict.program, None)
            result.append(verdict if row is None else _told(verdict, row))
        return result

    def _of(self, sha256: str, facts: KernelFacts) -> dict[str, TruthRow]:
        rows = [*self._shipped.rows(sha256, facts.build), *self._own(sha256, facts)]
        return {row.program: row for row in rows if _release(row.loader) == self._libbpf and _counts(row)}

    def _own(self, sha256: str, facts: KernelFacts) -> list[TruthRow]:
        if self._journals is None:
            return []
        loader = "libbpf-{}.{}.0".format(*self._libbpf)  # as verify names it: libbpf_version_string() has two
        path = self._journals / journal_name(facts.id, bytes.fromhex(facts.build), loader)
        known = self._of_journal.get(path)
        if known is None:
            known = self._of_journal[path] = {}
            for row in Journal(path).rows() if _is_own(path) else ():
                if not isinstance(row["loaded"], bool):
                    continue
                words = classify(row["loaded"], row["errno"], row.get("libbpf", []), row.get("verifier", []))
                one = row["sha256"], facts.id, loader, row["program"], row["loaded"], row["errno"], words
                known.setdefault(row["sha256"], []).append(TruthRow(*one))
        return known.get(sha256, [])


def _is_own(path: Path) -> bool:
    """Whether only this user, or root, can have written it; else it is not believed."""
    try:
        found = [path.stat(), path.parent.stat()]
    except OSError:
        return False
    return all(one.st_uid in (0, os.geteuid()) and not one.st_mode & 0o022 for one in found)


class _Shipped:
    """A file of rows, read when first asked; only the lines of the object in question are looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: bytes | None = None
        self._builds: dict[str, str] = {}
        self._of: dict[str, list[TruthRow]] = {}

    def rows(self, sha256: str, build: str) -> Iterator[TruthRow]:
        if self._content is None:
            self._content = self._read()
            self._builds = {fields[1]: fields[2] for fields in self._lines(b"K\t")}
        if sha256 not in self._of:
            self._of[sha256] = self._rows(sha256)
        return (row for row in self._of[sha256] if self._builds.get(row.kernel) == build)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:  # a build of Holdfast without them
            return b""
        except OSError as error:
            raise FileError(str(self._path), f"it cannot be read: {error.strerror}") from None

    def _rows(self, sha256: str) -> list[TruthRow]:
        short = sha256[:_SHORT]
        if [fields[1] for fields in self._lines(f"O\t{short}".encode())] != [sha256]:
            return []  # not there, or two objects that begin alike would be taken for each other
        try:
            return [parse_row(fields, {short: sha256}) for fields in self._lines(f"R\t{short}\t".encode())]
        except (ValueError, KeyError) as error:
            raise TruthFileError(
                str(self._path), f"it is damaged: {error}", hint="install Holdfast anew"
            ) from None

    def _lines(self, start: bytes) -> Iterator[list[str]]:
        content = self._content or b""
        at = content.find(b"\n" + start)
        while at >= 0:
            end = content.find(b"\n", at + 1)
            yield content[at + 1 : end if end >= 0 else None].decode().split("\t")
            at = content.find(b"\n" + start, at + 1)


def _release(loader: str) -> tuple[int, int] | None:
    pieces = loader.removeprefix("libbpf-").split(".")
    numbers = [int(one) for one in pieces[:2] if one.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _counts(row: TruthRow) -> bool:
    return row.loaded or (row.errno not in _PASSING and row.words is not WordsClass.PRIVILEGE)


def _told(verdict: ProgramVerdict, row: TruthRow) -> ProgramVerdict:
    if row.loaded and _machine_refuses(verdict.reasons):
        return verdict
    load = PastLoad(row.loader, row.loaded, row.errno, row.words.value, verdict.verdict)
    if row.loaded:
        return replace(verdict, verdict=Verdict.LOADS, reasons=(), load=load)
    if verdict.verdict is Verdict.FAILS:
        return replace(verdict, load=load)
    return replace(
        verdict, verdict=Verdict.FAILS, reasons=(_refused(verdict, row), *verdict.reasons), load=load
    )


def _machine_refuses(reasons: Iterable[Reason]) -> bool:
    return any(reason.certain and reason.evidence in _OF_THE_MACHINE for reason in reasons)


def _refused(verdict: ProgramVerdict, row: TruthRow) -> Reason:
    number = "" if row.errno is None else f" with errno {row.errno} ({errno.errorcode.get(row.errno, '?')})"
    words = {WordsClass.VERIFIER: "the verifier's own judgement", WordsClass.UNKNOWN: "no words that tell"}
    said = words.get(row.words, f"words about: {row.words.value}")
    return Reason(
        ReasonCode.LOAD_REFUSED,
        f"program {verdict.program}",
        f"{row.loader} loaded this very program into this very kernel build and was refused{number}, {said}",
        Stage.VERIFIER_WALK,
        Evidence.LOAD,
        hint=f"`holdfast verify OBJECT --kernel {verdict.kernel} --explain {verdict.program}` tells more",
    )
