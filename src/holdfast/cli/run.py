# SPDX-License-Identifier: Apache-2.0
"""``holdfast run``: load the best variant of a bundle here, say why, and hold it or run a command with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from holdfast.cli.exit_status import ExitStatus, status_of
from holdfast.terms import Verdict

if TYPE_CHECKING:
    from holdfast.bundle.plan import Plan
    from holdfast.bundle.proof import Proved
    from holdfast.load.outcome import NoVariantError, Outcome

__all__ = ["command", "environment"]

SCHEMA_VERSION = 1
# What shells answer for a command that is not there, or may not be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_OURS = re.compile(r"HOLDFAST_(PROG|MAP|LINK)_.*|HOLDFAST_(BUNDLE|VARIANT|FALLBACK)")


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--pin", type=click.Path(path_type=Path), help="Pin programs, maps and links there and leave.")
@click.option("--dry-run", is_flag=True, help="Say what would be tried, and load nothing.")
@click.option(
    "--prove", "proves", is_flag=True, help="Run the bundle's proof with what runs, say what came of it."
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def command(
    bundle: Path, pin: Path | None, dry_run: bool, proves: bool, form: str, arguments: tuple[str, ...]
) -> int:
    """Load the best variant of BUNDLE that this kernel takes, and explain it.

    With COMMAND, that runs with the descriptors: HOLDFAST_PROG_<NAME>, HOLDFAST_MAP_<NAME> and
    HOLDFAST_LINK_<NAME> hold their numbers, HOLDFAST_VARIANT the variant's name, HOLDFAST_FALLBACK 1 when
    none runs; the explanation goes to stderr, the exit status is COMMAND's. Without COMMAND the variant is
    held until Ctrl-C or SIGTERM, or pinned.

    Exit status without COMMAND, a sum: 1 error, 2 usage, 4 no variant runs (--prove: or it does not work), 8
    unknown (--dry-run, --prove).
    """
    from holdfast.bundle import Bundle
    from holdfast.load.outcome import NoVariantError
    from holdfast.load.runner import carry_out, plan_here

    if dry_run and (pin is not None or arguments):
        raise click.UsageError("--dry-run loads nothing: it goes with neither --pin nor a COMMAND")
    if proves and (dry_run or pin is not None or arguments):
        raise click.UsageError("--prove ends with the proof: it goes with no --dry-run, --pin or COMMAND")
    opened = Bundle.open(bundle)
    # A signal while loading must still close what is loaded, so it becomes an exception from here on.
    with _stop_on_signals():
        plan = plan_here(opened)
        if dry_run:
            _show_plan(plan, form)
            return status_of([plan.verdict])
        if proves:
            return _prove(plan, form)
        try:
            outcome = carry_out(plan, pin=pin)
        except NoVariantError as error:
            _show_failure(plan, error, form, to_stderr=bool(arguments))
            return ExitStatus.ERROR | ExitStatus.FAILS
        with outcome:
            _show(outcome.to_dict(), outcome.explain(), form, to_stderr=bool(arguments))
            if arguments:
                return _run_command(outcome, arguments)
            if outcome.is_fallback:
                return ExitStatus.FAILS
            if pin is not None:
                _tell(f"pinned below {pin}; remove it to unload")
            else:
                _hold(outcome)
            return ExitStatus.OK


def environment(outcome: Outcome, base: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment for a command: ``base`` with this outcome in it, and no other's."""
    kept = {name: value for name, value in base.items() if not _OURS.fullmatch(name)}
    kept["HOLDFAST_BUNDLE"] = outcome.bundle
    kept["HOLDFAST_VARIANT"] = outcome.variant or ""
    kept["HOLDFAST_FALLBACK"] = "1" if outcome.is_fallback else "0"
    for kind, things in (("PROG", outcome.programs), ("MAP", outcome.maps), ("LINK", outcome.links)):
        for name, thing in things.items():
            kept[f"HOLDFAST_{kind}_{re.sub('[^A-Z0-9]', '_', name.upper())}"] = str(thing.fd)
    return kept


def _prove(plan: Plan, form: str) -> ExitStatus:
    from holdfast.load.outcome import NoVariantError
    from holdfast.load.prove import ground, prove
    from holdfast.load.runner import carry_out

    with ground(plan.bundle.manifest) as prepare:
        try:
            outcome = carry_out(plan, prepare=prepare)
        except NoVariantError as error:
            _show_failure(plan, error, form, to_stderr=False)
            return ExitStatus.ERROR | ExitStatus.FAILS
        with outcome:
            return _show_proof(outcome, prove(outcome), form)


def _show_proof(outcome: Outcome, proved: Proved, form: str) -> ExitStatus:
    import textwrap

    from holdfast.load.outcome import WIDTH

    who = "the fallback" if outcome.is_fallback else f"variant {outcome.variant!r}"
    verb = {True: "works", False: "does NOT work", None: "is not proven"}[proved.works]
    told = proved.line if proved.works is not None else proved.cannot or "nothing was tried"
    line = textwrap.wrap(f"{who} {verb}: {told}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    lines = [outcome.explain(), *line, *(f"  {wrong}" for wrong in proved.wrong[1:])]
    _show({**outcome.to_dict(), "proof": proved.to_dict()}, "\n".join(lines), form, to_stderr=False)
    status = ExitStatus.FAILS if outcome.is_fallback or proved.works is False else ExitStatus.OK
    return status | ExitStatus.UNKNOWN if proved.works is None else status


def _run_command(outcome: Outcome, arguments: Sequence[str]) -> int:
    groups = (outcome.programs, outcome.maps, outcome.links)
    descriptors = [thing.fd for things in groups for thing in things.values()]
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if not children:
            early.append(number)
        for child in children:
            child.send_signal(number)

    # We live as long as the command, whatever it does with its descriptors: links stay attached until it
    # ends. Ctrl-C reaches it from the terminal, as it reaches us.
    passed: dict[int, signal._HANDLER] = {
        signal.SIGTERM: pass_on,
        signal.SIGHUP: pass_on,
        signal.SIGINT: lambda number, frame: None,
    }
    with _handlers(passed):
        try:
            child = subprocess.Popen(arguments, pass_fds=descriptors, env=environment(outcome, os.environ))
        except OSError as error:
            _tell(f"{arguments[0]}: {error.strerror}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        children.append(child)
        for number in early:  # came while the command was being started
            child.send_signal(number)
        status = child.wait()
    return 128 - status if status < 0 else status


def _hold(outcome: Outcome) -> None:
    attached = f", attached: {', '.join(outcome.links)}" if outcome.links else ""
    ends = {signal.SIGINT, signal.SIGTERM}
    try:
        # Blocked and waited for: a handler could run just before signal.pause(), which then never returns.
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        _tell(f"holding variant {outcome.variant!r}{attached}; Ctrl-C or SIGTERM ends it")
        signal.sigwait(ends)
    except _StoppedError:
        pass  # it came before it was blocked
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
    outcome.close()
    _tell("detached and unloaded")


class _StoppedError(BaseException):
    """SIGINT or SIGTERM came. No Exception, so that nothing on the way takes it for an error."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError(number)


@contextmanager
def _handlers(handlers: Mapping[int, signal._HANDLER]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into an exception that unwinds what was loaded; it ends as an interrupt."""
    with _handlers({signal.SIGINT: _stop, signal.SIGTERM: _stop}):
        try:
            yield
        except _StoppedError:
            raise KeyboardInterrupt from None


def _show_plan(plan: Plan, form: str) -> None:
    from holdfast.bundle.rows import bundle_row

    if plan.best is not None:
        head = f"variant {plan.best!r} {'loads' if plan.verdict is Verdict.LOADS else 'may load'}"
    elif plan.fallback is not None:
        head = f"no variant can load; the fallback {plan.fallback.name!r} does the job"
    else:
        head = "no variant can load, and there is no fallback"
    lines = [f"{plan.bundle.name}: {head} [{plan.kernel}]"]
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"  {number}. {step.variant.name}  {step.action.lower()} ({step.verdict})")
        lines += [f"     {one.program}: {one.line}" for one in step.reasons]
    _show({**bundle_row(plan), "dry_run": True}, "\n".join(lines), form, to_stderr=False)


def _show_failure(plan: Plan, error: NoVariantError, form: str, *, to_stderr: bool) -> None:
    row: dict[str, object] = {
        "bundle": plan.bundle.name,
        "path": str(plan.bundle.path),
        "kernel": plan.kernel,
        "verdict": str(plan.verdict),
        "variant": None,
        "fallback": False,
        "fallback_name": None,
        "variants": [one.to_dict() for one in error.steps],
    }
    if form == "json":
        _show(row, "", form, to_stderr=to_stderr)
    _tell(error.message)
    if form == "text":
        click.echo(error.log, err=True)


def _show(row: Mapping[str, object], text: str, form: str, *, to_stderr: bool) -> None:
    document = {"schema_version": SCHEMA_VERSION, **row}
    if form == "text":
        click.echo(text, err=to_stderr)
    elif to_stderr:
        import json

        click.echo(json.dumps(document, indent=2, sort_keys=True), err=True)
    else:
        from holdfast.cli.console import print_json

        print_json(document)
        sys.stdout.flush()


def _tell(words: str) -> None:
    click.echo(f"holdfast run: {words}", err=True)
