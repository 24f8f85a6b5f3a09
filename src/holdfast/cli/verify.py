# SPDX-License-Identifier: Apache-2.0
"""``holdfast verify``: load for real in booted kernels, and hold the predictions against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.report.cases import Case
    from holdfast.truth.ground import Ground
    from holdfast.truth.judge import Predictions
    from holdfast.truth.run import Said, Task, Trouble
    from holdfast.truth.subject import Subject

__all__ = ["Verified", "command", "verify"]

SCHEMA_VERSION = 1
_ROWS = Path("tests/truth/rows.tsv")


@click.command("verify")
@click.argument("paths", metavar="OBJECT|BUNDLE|FOLDER...", nargs=-1)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="SEL",
    help="Id or glob of the catalogue, 'all', or a path to a package; repeatable.  [default: all]",
)
@click.option(
    "--packages",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Look here for kernel packages before fetching them; repeatable.",
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Guests at once.  [default: cores and memory]"
)
@click.option("--accelerator", type=click.Choice(["kvm", "tcg"]), help="Use just this one.")
@click.option("--afresh", is_flag=True, help="Load again what was loaded in runs before.")
@click.option("--score", is_flag=True, help="Boot nothing: score predictions against the rows of a file.")
@click.option(
    "--rows",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Keep what kernels said in FILE; with --score, read it.  [default with --score: {_ROWS}]",
)
@click.option(
    "--explain",
    metavar="PROGRAM@KERNEL",
    multiple=True,
    help="Tell all about these programs; globs will do.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit", "markdown", "sarif"]),
    default="text",
    show_default=True,
)
@click.option("-v", "--verbose", is_flag=True, help="With --score, name also wrong first reasons.")
def command(
    paths: tuple[str, ...],
    kernels: tuple[str, ...],
    packages: tuple[Path, ...],
    jobs: int | None,
    accelerator: str | None,
    afresh: bool,
    score: bool,
    rows: Path | None,
    explain: tuple[str, ...],
    form: str,
    verbose: bool,
) -> int:
    """Boot kernels, load each program of OBJECT|BUNDLE|FOLDER... in them, and compare with the verdicts.

    \b
    holdfast verify prog.bpf.o --kernel 'debian/6.12*'
    holdfast verify bundles/net/rss --kernel linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb
    holdfast verify --score build/corpus

    Exit status: 0 all load, 4 some program fails in truth (with --score: a bar is missed), 8 something could
    not be tried or told, 12 both, 1 error, 2 usage.
    """
    from holdfast.errors import UsageError

    if score:
        from holdfast.cli import verify_score

        if form not in ("text", "json"):
            raise UsageError(f"--score has no form {form!r}", hint="there are text and json")
        return verify_score.run(paths, kernels, rows or _ROWS, form, verbose)
    if not paths:
        raise UsageError("nothing to verify", hint="name objects, bundles, or folders of objects")
    from holdfast.truth.subject import subjects

    found = subjects(paths)
    if not any(subject.spec.programs for subject in found):
        raise UsageError("there are no programs in what is named", hint="`holdfast needs` shows what is")
    done = verify(found, kernels or ("all",), packages, jobs=jobs, accelerator=accelerator, afresh=afresh)
    if rows is not None:
        _keep(rows, found, done.said, done.loader)
    _print(done.cases, done.grounds, done.loader, form, explain)
    return _status(done.cases)


@dataclass(frozen=True, slots=True)
class Verified:
    """A case for each program and kernel, and what guests said, by kernel, sha256 and program."""

    cases: list[Case]
    grounds: list[Ground]
    said: dict[tuple[str, str, str], Said]
    loader: str


def verify(
    found: list[Subject],
    kernels: Sequence[str],
    packages: Sequence[Path] = (),
    *,
    jobs: int | None = None,
    accelerator: str | None = None,
    afresh: bool = False,
) -> Verified:
    """Predict, boot, load, compare; the options are those of the verb."""
    version = _loader()
    grounds = _grounds(kernels, packages)
    predicted = _predict(found, grounds, version[:2])
    loader = "libbpf-{}.{}.{}".format(*version)
    tasks = _tasks(found, grounds, loader, accelerator, afresh)
    said, troubles = _carry_out(tasks, jobs, len(predicted))
    return Verified(_cases(found, grounds, predicted, said, troubles), grounds, said, loader)


def _loader() -> tuple[int, int, int]:
    """The release of the libbpf that guests load with: the one that would load here."""
    from holdfast.libbpf import library

    major, minor, patch = (*library().version, 0)[:3]
    return major, minor, patch


def _grounds(selectors: Sequence[str], packages: Sequence[Path]) -> list[Ground]:
    from holdfast.cli.console import progress
    from holdfast.truth.ground import grounds

    with progress("looking for kernels") as step:
        return grounds(selectors, packages, step=step)


def _predict(found: list[Subject], grounds: list[Ground], libbpf: tuple[int, int]) -> Predictions:
    from holdfast.cli.console import progress
    from holdfast.truth.judge import predictions

    with progress("predicting", len(found)) as step:
        return predictions(found, [ground.facts for ground in grounds], libbpf, step)


def _tasks(
    found: list[Subject], grounds: list[Ground], loader: str, accelerator: str | None, afresh: bool
) -> list[Task]:
    from holdfast.kernels.cache import folder
    from holdfast.truth.modules import needed_modules
    from holdfast.truth.run import Task

    cache = folder()
    loads = tuple(subject.load for subject in found if subject.spec.programs)
    return [
        Task(
            ground.id,
            ground.paths,
            loads,
            needed_modules(ground.facts, [subject.spec for subject in found]),
            loader,
            None if cache is None else cache / "verify",
            accelerator,
            afresh,
        )
        for ground in grounds
    ]


def _carry_out(
    tasks: list[Task], jobs: int | None, total: int
) -> tuple[dict[tuple[str, str, str], Said], list[Trouble]]:
    from contextlib import closing

    from holdfast.cli.console import progress
    from holdfast.truth.run import Said
    from holdfast.truth.workers import carry_out_all, default_jobs, shared_out

    jobs = jobs or default_jobs(len(tasks))
    said: dict[tuple[str, str, str], Said] = {}
    troubles: list[Trouble] = []
    with (
        progress("loading", total or None) as step,
        closing(carry_out_all(shared_out(tasks, jobs), jobs)) as events,
    ):
        for event in events:
            if isinstance(event, Said):
                said[event.kernel, event.row["sha256"], event.row["program"]] = event
                step(f"on {event.kernel}")
            else:
                troubles.append(event)
    return said, troubles


def _keep(path: Path, found: list[Subject], said: dict[tuple[str, str, str], Said], loader: str) -> None:
    from holdfast.truth import rows
    from holdfast.truth.judge import row_of

    new = [row_of(one, loader) for one in said.values()]
    names = {subject.sha256: Path(subject.name).name for subject in found}
    rows.write(path, rows.read(path).with_rows(new, {row.sha256: names[row.sha256] for row in new}))


def _cases(
    found: list[Subject],
    grounds: list[Ground],
    predicted: Predictions,
    said: dict[tuple[str, str, str], Said],
    troubles: list[Trouble],
) -> list[Case]:
    from holdfast.truth.judge import case_of

    # the program's own trouble, else the last of its kernel
    why = {(one.kernel, one.sha256, one.program): one for one in troubles}
    cases = []
    for ground in grounds:
        for subject in found:
            for program in subject.load.programs:
                key = ground.id, subject.sha256, program
                trouble = why.get(key) or why.get((ground.id, None, None))
                cases.append(case_of(predicted[key], said.get(key), trouble))
    return cases


def _print(
    cases: list[Case], grounds: list[Ground], loader: str, form: str, explain: tuple[str, ...]
) -> None:
    from holdfast.cli.console import print_json

    if form == "json":
        print_json(_document(cases, grounds, loader))
    elif form == "sarif":
        from holdfast.report.sarif import sarif

        print_json(sarif(cases))
    elif form == "junit":
        from holdfast.report.junit import junit

        click.echo(junit(cases), nl=False)
    elif form == "markdown":
        from holdfast.report.markdown import markdown

        click.echo(markdown(cases), nl=False)
    else:
        _print_text(cases, explain, click.echo)


def _print_text(cases: list[Case], explain: tuple[str, ...], echo: Callable[[str], object]) -> None:
    from holdfast.report.case_text import case_lines, cases_matrix, cases_summary, remark_lines

    if explain:
        for case in _explained(cases, explain):
            for line in case_lines(case):
                echo(line)
        return
    for line in (*cases_matrix(cases), *remark_lines(cases), cases_summary(cases)):
        echo(line)


def _explained(cases: list[Case], wanted: tuple[str, ...]) -> list[Case]:
    from fnmatch import fnmatchcase

    from holdfast.errors import UsageError

    found = []
    for one in wanted:
        program, _, kernel = one.partition("@")
        matches = [
            case
            for case in cases
            if fnmatchcase(case.program, program) and fnmatchcase(case.kernel, kernel or "*")
        ]
        if not matches:
            raise UsageError(f"--explain {one!r} names no program and kernel of this run")
        found += matches
    return found


def _document(cases: list[Case], grounds: list[Ground], loader: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "loader": loader,
        "kernels": [{"id": ground.id, "release": ground.facts.release} for ground in grounds],
        "results": [
            {
                "object": case.object,
                "program": case.program,
                "kernel": case.kernel,
                "predicted": case.predicted.value,
                "codes": [reason.code.value for reason in case.reasons],
                "loaded": case.loaded,
                "right": None if case.loaded is None else not case.is_false,
                "trouble": case.trouble or None,
                "errno": case.errno,
                "last_words": case.last or None,
                "said": list(case.said),
                "source": case.stopped_at,
                "processed_insns": case.processed,
                "seconds": case.seconds,
            }
            for case in cases
        ],
    }


def _status(cases: list[Case]) -> ExitStatus:
    status = ExitStatus.OK
    for case in cases:
        if case.loaded is None:
            status |= ExitStatus.UNKNOWN
        elif not case.loaded:
            status |= ExitStatus.FAILS
    return status
