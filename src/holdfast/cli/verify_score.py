# SPDX-License-Identifier: Apache-2.0
"""``holdfast verify --score``: predictions against what kernels once said, without booting anything."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.kernels import KernelFacts
    from holdfast.truth.rows import Truth
    from holdfast.truth.subject import Subject

__all__ = ["run"]

SCHEMA_VERSION = 1
_USUAL = (Path("build/corpus"), Path("bundles"))  # where `make corpus` and `make setup` put objects


def run(paths: tuple[str, ...], kernels: tuple[str, ...], file: Path, form: str, verbose: bool) -> ExitStatus:
    """Score the rows of ``file`` whose objects are in ``paths`` and whose kernels are in the catalogue."""
    from holdfast.cli.console import print_json, progress
    from holdfast.errors import UsageError
    from holdfast.truth import rows
    from holdfast.truth.judge import predictions
    from holdfast.truth.score import compare, score
    from holdfast.truth.score_report import score_lines, score_row

    if not file.exists():
        raise UsageError(f"there is no file {file} of rows", hint="name one with --rows FILE")
    truth = rows.read(file)
    facts, absent = _facts(truth, kernels)
    found = _subjects(paths, truth)
    if not found:
        hint = "name the folder that they are in; `make corpus` fetches Debian's"
        raise UsageError(f"none of the objects of {file} is here", hint=hint)
    comparisons = []
    loaders = sorted({row.loader for row in truth.rows.values()})
    for loader in loaders:
        libbpf = _release(loader)
        with progress("scoring", len(found)) as step:
            predicted = predictions(found, facts, libbpf, step)
        for row in truth.rows.values():
            verdict = predicted.get((row.kernel, row.sha256, row.program))
            if row.loader == loader and verdict is not None:
                comparisons.append(compare(verdict, row))
    scores = score(comparisons)
    there = {subject.sha256 for subject in found}
    missing = sorted(name for sha256, name in truth.names.items() if sha256 not in there)
    if form == "json":
        rest = {"kernels_missing": absent, "objects_missing": missing}
        print_json({"schema_version": SCHEMA_VERSION} | score_row(scores, comparisons) | rest)
    else:
        for line in score_lines(scores, comparisons, verbose=verbose):
            click.echo(line)
        for what, names in (("kernels are not in the catalogue", absent), ("objects are not here", missing)):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                click.echo(f"not scored, since these {what}: {', '.join(names[:3])}{more}")
    status = ExitStatus.FAILS if any(_missed(scores[""])) else ExitStatus.OK
    return status | (ExitStatus.UNKNOWN if absent or missing else ExitStatus.OK)


def _missed(total: object) -> list[str]:
    from holdfast.truth.bars import missed
    from holdfast.truth.score import Score

    assert isinstance(total, Score)
    return list(missed(total))


def _release(loader: str) -> tuple[int, int]:
    """``libbpf-1.7.0`` as (1, 7)."""
    major, minor = loader.removeprefix("libbpf-").split(".")[:2]
    return int(major), int(minor)


def _facts(truth: Truth, selectors: tuple[str, ...]) -> tuple[list[KernelFacts], list[str]]:
    """Facts of the rows' kernels that are wanted, and the ids of those that the catalogue lacks."""
    from holdfast.errors import UsageError
    from holdfast.kernels.catalogue import Shelf

    ids = sorted({row.kernel for row in truth.rows.values()})
    if selectors and selectors != ("all",):
        ids = [one for one in ids if any(fnmatchcase(one, selector) for selector in selectors)]
    entries = {entry.id: entry for entry in Shelf.open().entries()}
    found = [entries[one].facts() for one in ids if one in entries]
    if not found:
        raise UsageError(
            "the catalogue has none of the rows' kernels that are wanted",
            hint=f"there are rows for {', '.join(ids[:5]) or 'no such kernel'}",
        )
    return found, [one for one in ids if one not in entries]


def _subjects(paths: tuple[str, ...], truth: Truth) -> list[Subject]:
    from holdfast.truth.subject import subjects

    usual = [path for path in _USUAL if path.is_dir() and any(path.rglob("*.o"))]
    wanted = set(truth.names)
    return [subject for subject in subjects(paths or usual) if subject.sha256 in wanted]
