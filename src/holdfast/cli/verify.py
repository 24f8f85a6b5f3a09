# SPDX-License-Identifier: Apache-2.0
"""``holdfast verify``: load for real in booted kernels, and hold the predictions against it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.exit_status import ExitStatus
from holdfast.cli.forms import CASE_FORMS, print_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.bundle.bundle import Bundle
    from holdfast.bundle.plan import Plan
    from holdfast.report.cases import Case
    from holdfast.truth.bundles_judge import BundleCase
    from holdfast.truth.bundles_run import BundleSaid
    from holdfast.truth.ground import Ground
    from holdfast.truth.judge import Predictions
    from holdfast.truth.probes import Probed, ProbeSaid
    from holdfast.truth.run import Event, Said, Task, Trouble
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
@click.option(
    "--timeout",
    type=click.FloatRange(1.0, 86400.0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="A program, or a trial of a bundle, that takes longer counts as hung; longer on a busy machine.",
)
@click.option("--afresh", is_flag=True, help="Load again what was loaded in runs before.")
@click.option(
    "--probe",
    is_flag=True,
    help="Ask kernels of the catalogue all that they can do, and keep it; those that were not asked yet.",
)
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
    help="Tell all about these programs, or variants of bundles; globs will do.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", *CASE_FORMS]),
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
    timeout: float,
    afresh: bool,
    probe: bool,
    score: bool,
    rows: Path | None,
    explain: tuple[str, ...],
    form: str,
    verbose: bool,
) -> int:
    """Boot kernels, load each program of OBJECT|BUNDLE|FOLDER... in them, and compare with the verdicts.

    Of a bundle the plan is carried out as `holdfast run` does it, then each variant is loaded by itself, and
    the bundle's proof is run with it.

    \b
    holdfast verify prog.bpf.o --kernel 'debian/6.12*'
    holdfast verify bundles/net/rss --kernel linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb
    holdfast verify --score build/corpus

    Exit status: 0 all load, 4 some program, or a bundle as a whole, fails in truth (with --score: a bar is
    missed), 8 something could not be tried or told, 12 both, 1 error, 2 usage.
    """
    from holdfast.errors import UsageError

    if score:
        from holdfast.cli import verify_score

        if form not in ("text", "json"):
            raise UsageError(f"--score has no form {form!r}", hint="there are text and json")
        return verify_score.run(paths, kernels, rows or _ROWS, form, verbose)
    if not paths:
        raise UsageError("nothing to verify", hint="name objects, bundles, or folders of objects")
    from holdfast.truth.bundles import bundles_of
    from holdfast.truth.subject import subjects

    found, bundles = subjects(paths), bundles_of(paths)
    if not any(subject.spec.programs for subject in found):
        raise UsageError("there are no programs in what is named", hint="`holdfast needs` shows what is")
    if rows is not None:
        _require_writable(rows)
    done = verify(
        found,
        kernels or ("all",),
        packages,
        jobs=jobs,
        accelerator=accelerator,
        afresh=afresh,
        bundles=bundles,
        probe=probe,
        timeout=timeout,
    )
    if rows is not None:
        _keep(rows, found, done)
    _print(done, form, explain)
    return _status(done)


@dataclass(frozen=True, slots=True)
class Verified:
    """A case for each program and kernel, and for each bundle and kernel; what guests said of programs, by
    kernel, sha256 and program. ``outer`` are the cases of programs that are of no variant of these bundles.
    """

    cases: list[Case]
    grounds: list[Ground]
    said: dict[tuple[str, str, str], Said]
    loader: str
    bundles: list[BundleCase] = field(default_factory=list)
    outer: list[Case] = field(default_factory=list)
    probed: list[Probed] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


def verify(
    found: list[Subject],
    kernels: Sequence[str],
    packages: Sequence[Path] = (),
    *,
    jobs: int | None = None,
    accelerator: str | None = None,
    afresh: bool = False,
    bundles: Sequence[Bundle] = (),
    probe: bool = False,
    timeout: float | None = None,
) -> Verified:
    """Predict, boot, load, compare; the options are those of the verb. ``found`` has the variants of
    ``bundles``, too.
    """
    from holdfast.truth.bundles import packages_of
    from holdfast.truth.probes import survey_of
    from holdfast.truth.run import Trouble
    from holdfast.vm.ahead import root_ahead

    version = _loader()
    loader = "libbpf-{}.{}.{}".format(*version)
    planned: dict[tuple[int, str], Plan] = {}
    with root_ahead(packages_of(bundles)):
        grounds = _grounds(kernels, packages)
        predicted = _predict(found, grounds, version[:2])
        tasks = _tasks(found, grounds, loader, accelerator, afresh)
        if timeout is not None:
            tasks = [replace(task, silence=timeout) for task in tasks]
        surveys = {ground.id: survey_of(ground, whole=probe) for ground in grounds}
        tasks = [replace(task, probe=surveys[task.kernel]) for task in tasks]
        if bundles:
            from holdfast.cli.verify_bundles import with_bundles
            from holdfast.truth.bundles import plans

            planned = plans(bundles, [ground.facts for ground in grounds], predicted)
            tasks = with_bundles(tasks, bundles, planned)
        heard = _carry_out(tasks, jobs, bundles)
    said, trial_said = heard.said, heard.trials
    troubles = [Trouble(one.id, one.problem) for one in grounds if one.problem] + heard.troubles
    probed = _probed(heard.probes, grounds, troubles)
    cases = _cases(found, grounds, predicted, said, troubles)
    if not planned:
        return Verified(cases, grounds, said, loader, outer=cases, probed=probed, troubles=troubles)
    from holdfast.truth.bundles_judge import bundle_cases

    inner = {str(variant.path) for bundle in bundles for variant in bundle.variants}
    outer = [case for case in cases if case.object not in inner]
    carried = bundle_cases(planned, trial_said, troubles)
    return Verified(cases, grounds, said, loader, carried, outer, probed, troubles)


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
        if ground.paths
    ]


@dataclass(slots=True)
class _Heard:
    """What came of tasks."""

    said: dict[tuple[str, str, str], Said] = field(default_factory=dict)
    trials: list[BundleSaid] = field(default_factory=list)
    probes: list[ProbeSaid] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def add(self, event: Event) -> bool:
        """Keep what came; whether it was about a program or a trial."""
        from holdfast.truth.probes import ProbeSaid
        from holdfast.truth.run import Said, Trouble

        if isinstance(event, Trouble):
            self.troubles.append(event)
        elif isinstance(event, ProbeSaid):
            self.probes.append(event)
        elif isinstance(event, Said):
            self.said[event.kernel, event.row["sha256"], event.row["program"]] = event
            return True
        else:
            self.trials.append(event)
            return True
        return False


def _carry_out(tasks: list[Task], jobs: int | None, bundles: Sequence[Bundle]) -> _Heard:
    from contextlib import closing

    from holdfast.cli.console import progress
    from holdfast.truth.workers import carry_out_all, default_jobs, shared_out

    heard = _Heard()
    left = _recalled(tasks, heard)
    if not left:
        return heard
    from holdfast.vm.qemu import find

    find()  # one line of what is missing, rather than one for each kernel
    if any(task.bundles for task in left):
        from holdfast.cli.verify_bundles import with_proofs_prepared

        left = with_proofs_prepared(left, bundles)
    programs = sum(len(load.programs) for task in left for load in task.loads)
    trials = sum(len(part.trials) for task in left for part in task.bundles)
    jobs = jobs or default_jobs(len(left))
    with (
        progress("loading", programs + trials or None) as step,
        closing(carry_out_all(shared_out(left, jobs), jobs)) as events,
    ):
        for event in events:
            if heard.add(event):
                step(f"on {event.kernel}")
    _tell_accelerator(left[0].accelerator, heard)
    return heard


def _recalled(tasks: list[Task], heard: _Heard) -> list[Task]:
    """What is left of the tasks; what is remembered of them goes to ``heard``."""
    from holdfast.cli.console import progress
    from holdfast.errors import KernelFileError
    from holdfast.truth.run import recall

    left = []
    with progress("remembering", len(tasks)) as step:
        for task in tasks:
            step(task.kernel)
            try:
                events, task = recall(task)
            except KernelFileError:
                events = []  # whoever boots it says so
            for event in events:
                heard.add(event)
            if not task.is_done:
                left.append(task)
    return left


def _tell_accelerator(asked: str | None, heard: _Heard) -> None:
    """Say it where guests were slow that need not be."""
    from holdfast.vm.accelerator import why_not_kvm

    if asked is None and not all(one.remembered for one in heard.said.values()) and (why := why_not_kvm()):
        click.echo(f"note: guests ran by software emulation: {why}", err=True)


def _probed(said: list[ProbeSaid], grounds: list[Ground], troubles: list[Trouble]) -> list[Probed]:
    """What kernels answered, kept; what cannot be kept is trouble."""
    from holdfast.errors import HoldfastError
    from holdfast.truth.probes import PROBE, keep
    from holdfast.truth.run import Trouble

    of = {ground.id: ground for ground in grounds}
    kept = []
    for one in said:
        try:
            kept.append(keep(one, of[one.kernel]))
        except HoldfastError as error:
            if not one.quick:  # which nobody asked for
                troubles.append(Trouble(one.kernel, error.message, program=PROBE))
    return kept


def _require_writable(path: Path) -> None:
    """Say before kernels are booted, and not after, that what they say cannot be kept."""
    from holdfast.errors import FileError
    from holdfast.truth import rows

    rows.read(path)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise FileError(str(path), "it cannot be written: its folder is not there, or not yours to write")


def _keep(path: Path, found: list[Subject], done: Verified) -> None:
    from holdfast.report.short_names import short_names
    from holdfast.truth import rows
    from holdfast.truth.judge import row_of

    new = [row_of(one, done.loader) for one in done.said.values()]
    shown_as = short_names(subject.name for subject in found)
    names = {subject.sha256: shown_as[subject.name] for subject in found}
    builds = {ground.id: build for ground in done.grounds if (build := ground.build)}
    rows.write(path, rows.read(path).with_rows(new, {row.sha256: names[row.sha256] for row in new}, builds))


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


def _print(done: Verified, form: str, explain: tuple[str, ...]) -> None:
    from holdfast.cli.console import print_json

    if form == "json":
        print_json(_document(done))
        return
    if form == "text":
        _print_text(done, explain, click.echo)
        return
    # a bundle is one case: that a variant fails where another one runs is no failure
    cases = list(done.outer)
    if done.bundles:
        from holdfast.truth.bundles_rows import case_of_bundle

        cases += [case_of_bundle(one) for one in done.bundles]
    print_cases(form, cases)


def _print_text(done: Verified, explain: tuple[str, ...], echo: Callable[[str], object]) -> None:
    from holdfast.cli.console import text_width
    from holdfast.report.case_text import cases_matrix, cases_summary, remark_lines

    if explain:
        _print_explained(done, explain, echo)
        return
    width = text_width()
    if done.outer or not done.bundles:
        table = cases_matrix(done.outer, width)
        for line in (*table, *remark_lines(done.outer, width), cases_summary(done.outer)):
            echo(line)
    if done.bundles:
        from holdfast.truth.bundles_text import bundles_summary, bundles_tables

        if done.outer:
            echo("")
        for line in (*bundles_tables(done.bundles, width), bundles_summary(done.bundles)):
            echo(line)
    for probed in done.probed:
        for line in probed.lines() if probed.disagreements or not probed.quick else ():
            echo(line)
    for trouble in _of_probes(done.troubles):
        echo(f"{trouble.kernel}: not asked: {trouble.message}")


def _of_probes(troubles: list[Trouble]) -> list[Trouble]:
    from holdfast.truth.probes import PROBE

    return [one for one in troubles if one.program == PROBE]


def _print_explained(done: Verified, explain: tuple[str, ...], echo: Callable[[str], object]) -> None:
    from holdfast.cli.verify_bundles import explained
    from holdfast.errors import UsageError
    from holdfast.report.case_text import case_lines
    from holdfast.truth.bundles_text import variant_lines

    for wanted in explain:
        lines = [line for case in _explained(done.cases, wanted) for line in case_lines(case)]
        lines += [line for one in explained(done.bundles, wanted) for line in variant_lines(*one)]
        if not lines:
            raise UsageError(f"--explain {wanted!r} names no program and kernel of this run")
        for line in lines:
            echo(line)


def _explained(cases: list[Case], wanted: str) -> list[Case]:
    from fnmatch import fnmatchcase

    program, _, kernel = wanted.partition("@")
    return [
        case
        for case in cases
        if fnmatchcase(case.program, program) and fnmatchcase(case.kernel, kernel or "*")
    ]


def _document(done: Verified) -> dict[str, Any]:
    from holdfast.truth.bundles_rows import bundle_case_row

    return {
        "schema_version": SCHEMA_VERSION,
        "loader": done.loader,
        "kernels": [{"id": ground.id, "release": ground.facts.release} for ground in done.grounds],
        "bundles": [bundle_case_row(one) for one in done.bundles],
        "probed": [one.to_dict() for one in done.probed],
        "results": [
            {
                "object": case.object,
                "program": case.program,
                "kernel": case.kernel,
                "predicted": case.predicted.value,
                "codes": [str(reason.code) for reason in case.reasons],
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
            for case in done.cases
        ],
    }


def _status(done: Verified) -> ExitStatus:
    from holdfast.cli.verify_bundles import status_of_bundles

    status = status_of_bundles(done.bundles)
    for case in done.outer:
        if case.loaded is None:
            status |= ExitStatus.UNKNOWN
        elif not case.loaded:
            status |= ExitStatus.FAILS
    return status | (ExitStatus.UNKNOWN if _of_probes(done.troubles) else ExitStatus.OK)
