# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss qemu``: start QEMU with a TAP, a program and its maps, as descriptors that it inherits."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.exit_status import ExitStatus
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.rss.qemu import Prepared, Request

__all__ = ["command"]

SCHEMA_VERSION = 1


@click.command("qemu", context_settings={"allow_interspersed_args": False})
@click.option(
    "--tap", help="Name of the TAP (default: the command's ifname=, else one that the kernel gives)."
)
@click.option(
    "--queues", type=click.IntRange(2, 256), help="Queues (default: queues=, else one for each CPU of -smp)."
)
@click.option("--bridge", help="A bridge that the TAP becomes a port of (default: the command's br=).")
@click.option("--user", help="Run QEMU as USER[:GROUP], with no capabilities and no way to get any.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="The bundle (default: net/rss-qemu as shipped)."
)
@click.option("--software", is_flag=True, help="Load nothing: QEMU hashes by itself, to compare with.")
@click.option("--dry-run", is_flag=True, help="Print the command line, and open and load nothing.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- QEMU [OPTIONS]...")
def command(
    tap: str | None,
    queues: int | None,
    bridge: str | None,
    user: str | None,
    bundle: Path | None,
    software: bool,
    dry_run: bool,
    form: str,
    words: tuple[str, ...],
) -> int:
    """Start QEMU with receive-side scaling in the kernel.

    Write the usual command, with -netdev tap,id=n0 and -device virtio-net-pci,netdev=n0, or with neither:
    then both are added. The TAP is opened here, the best variant of the bundle loaded, and QEMU gets the
    descriptors: it needs no privilege, so --user can take them all away. Where nothing loads, QEMU hashes
    by itself, and that is said.

    This process becomes QEMU: signals, terminal and exit status are QEMU's. A TAP that was made here is gone
    when QEMU ends. What was done is told on stderr before. Without QEMU: exit status 1 error, 2 usage.
    """
    from holdfast.rss.qemu import Request, prepare
    from holdfast.rss.qemu_user import become, find_user

    who = None if user is None else find_user(user)
    request = Request(tap, queues, bridge, bundle, software)
    if dry_run:
        return _draft(words, request, form)
    with prepare(words, request) as ready:
        _tell(ready, form)
        for fd in ready.fds:
            os.set_inheritable(fd, True)
        # Python ignores these two, and what is ignored stays ignored in what is executed.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        sys.stdout.flush()
        sys.stderr.flush()
        if who is not None:
            become(who)
        try:
            os.execv(ready.words[0], ready.words)
        except OSError as error:
            raise UsageError(f"{ready.words[0]}: {error.strerror}") from None


def _draft(words: tuple[str, ...], request: Request, form: str) -> int:
    from holdfast.bundle.rows import bundle_row
    from holdfast.cli.console import print_json
    from holdfast.rss.qemu import draft

    said, plan = draft(words, request)
    if form == "json":
        row = None if plan is None else bundle_row(plan)
        print_json({"schema_version": SCHEMA_VERSION, "dry_run": True, "command": said, "bundle": row})
    else:
        click.echo(shlex.join(said))
    return ExitStatus.OK


def _tell(ready: Prepared, form: str) -> None:
    if form == "json":
        import json

        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "command": ready.words,
            "interfaces": [one.to_dict() for one in ready.interfaces],
        }
        click.echo(json.dumps(document, indent=2, sort_keys=True), err=True)
        return
    for one in ready.interfaces:
        if one.explanation:
            click.echo(one.explanation, err=True)
        click.echo(f"holdfast rss qemu: {one.line}", err=True)
        if one.variant and one.reports:
            click.echo(
                "holdfast rss qemu: with hash=on QEMU hashes by itself, to report hashes to the guest",
                err=True,
            )
