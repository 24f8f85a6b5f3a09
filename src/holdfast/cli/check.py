# SPDX-License-Identifier: Apache-2.0
"""``holdfast check``: where objects and bundles load, and if not, why not."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from holdfast.cli.console import say, text_width
from holdfast.cli.exit_status import status_of
from holdfast.cli.forms import CASE_FORMS, print_cases

if TYPE_CHECKING:
    from holdfast.bundle.plan import Plan
    from holdfast.kernels import KernelFacts
    from holdfast.predict import ProgramVerdict

__all__ = ["command"]


@click.command("check")
@click.argument("paths", metavar="OBJECT|BUNDLE...", nargs=-1, required=True)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    default=("live",),
    metavar="SEL",
    help="'live' (default), an id of the catalogue or a glob, 'all', or a path; repeatable.",
)
@click.option(
    "--modules",
    default="all",
    metavar="all|none|a,b",
    show_default=True,
    help="Which of the kernel's modules count as loaded.",
)
@click.option("--libbpf", metavar="X.Y", help="Judge for this release of libbpf, not for the one used here.")
@click.option("--no-probe", is_flag=True, help="Load nothing, not even the tiny programs that ask a kernel.")
@click.option(
    "--predict-only", is_flag=True, help="Predict also where a load of this very object is on record."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", *CASE_FORMS]),
    default="text",
    show_default=True,
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Print all reasons and the hazards, not the first reason."
)
def command(
    paths: tuple[str, ...],
    kernels: tuple[str, ...],
    modules: str,
    libbpf: str | None,
    no_probe: bool,
    predict_only: bool,
    form: str,
    verbose: bool,
) -> int:
    """Say of each program in OBJECT|BUNDLE... whether it loads, and if not, why not.

    Exit status: 0 all load, 4 something fails, 8 something cannot be told, 12 both, 1 error, 2 usage.
    """
    from holdfast.cli.checked import check

    done = check(
        paths, kernels, modules=modules, libbpf=libbpf, probe=not no_probe, predict_only=predict_only
    )
    if form == "text":
        _print(done.kernels, done.verdicts, done.plans, verbose)
        for spec in done.objects:
            if not spec.programs:
                say(f"{spec.path}: no programs")
    else:
        _print_form(form, done.kernels, done.verdicts, done.plans)
    return status_of([v.verdict for v in done.verdicts] + [plan.verdict for plan in done.plans])


def _print_form(
    form: str, facts: list[KernelFacts], verdicts: list[ProgramVerdict], plans: list[Plan]
) -> None:
    """Print a form for other tools. A bundle is a case of its own, its variants' programs are not."""
    if form == "json":
        from holdfast.cli.console import print_json

        print_json(_document(facts, verdicts, plans))
        return
    from holdfast.report.cases import cases_of, cases_of_plans

    print_cases(form, [*cases_of(verdicts), *cases_of_plans(plans)])


def _document(
    facts: list[KernelFacts], verdicts: list[ProgramVerdict], plans: list[Plan]
) -> dict[str, object]:
    from holdfast.report.rows import SCHEMA_VERSION, verdict_row

    return {
        "schema_version": SCHEMA_VERSION,
        "kernels": [{"id": kernel.id, "release": kernel.release} for kernel in facts],
        "results": [verdict_row(verdict) for verdict in verdicts],
        "bundles": _bundle_rows(plans),
    }


def _bundle_rows(plans: list[Plan]) -> list[dict[str, object]]:
    if not plans:
        return []
    from holdfast.bundle.rows import bundle_row

    return [bundle_row(plan) for plan in plans]


def _print(
    facts: list[KernelFacts], verdicts: list[ProgramVerdict], plans: list[Plan], verbose: bool
) -> None:
    from holdfast.report.text import matrix_lines, summary_line, verdict_lines

    width = text_width()
    place: tuple[str, str] | None = None
    if len(facts) == 1 or verbose:
        for verdict in verdicts:
            here = (verdict.object_path, verdict.kernel)
            if here != place:
                major, minor = verdict.libbpf
                say(f"{verdict.object_path} on {verdict.kernel}, libbpf {major}.{minor}")
                place = here
            for line in verdict_lines(verdict, verbose=verbose, width=width):
                say(line)
    if len(facts) > 1 and verdicts:
        for line in matrix_lines(verdicts, width=width):
            say(line)
    for plan in plans:
        _print_plan(plan, width)
    if verdicts:
        say(summary_line(verdicts, bar=max(8, min(40, width - 42))))
        on_record = sum(verdict.load is not None for verdict in verdicts)
        if on_record:
            say(f"{on_record} of them as a load on record ended (evidence: load)")


def _print_plan(plan: Plan, width: int) -> None:
    say(f"bundle {plan.bundle.name} on {plan.kernel}: {_sentence(plan)}")
    for rank, row in enumerate(plan.steps, 1):
        say(f"  {rank}. {row.verdict.value:<7} {row.variant.name}")
        for reason in row.reasons[:2]:
            for line in textwrap.wrap(reason.line, width, initial_indent=" " * 7, subsequent_indent=" " * 9):
                say(line)


def _sentence(plan: Plan) -> str:
    if plan.best is not None:
        return f"variant {plan.best} is the first to try"
    return "no variant loads, the fallback carries it" if plan.fallback else "nothing works"
