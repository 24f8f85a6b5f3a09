# SPDX-License-Identifier: Apache-2.0
"""The group of verbs, and the one place where an error becomes a line on stderr and an exit status."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Sequence

import click

from holdfast._version import __version__
from holdfast.cli.console import say
from holdfast.cli.exit_status import ExitStatus
from holdfast.cli.verbs import VERBS
from holdfast.errors import HoldfastError

__all__ = ["VerbGroup", "group", "run"]

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


class VerbGroup(click.Group):
    """A group that knows its verbs by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"holdfast.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"no verb {args[0]!r}; there are {', '.join(VERBS)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=VerbGroup,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status, a sum: 1 error, 2 usage, 4 a program FAILS, 8 one is UNKNOWN.",
)
@click.version_option(__version__, message="holdfast %(version)s")
def group() -> None:
    """Say where BPF objects load, and run the best variant of a bundle here."""


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit status. Only BrokenPipeError is raised.

    A verb returns its status, or None for success, or raises; ``HOLDFAST_DEBUG=1`` shows tracebacks.
    """
    try:
        result = group.main(list(arguments), prog_name="holdfast", standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitStatus.OK
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitStatus.USAGE
    except click.ClickException as error:
        _complain(error.format_message(), _usage_hint(error))
        return ExitStatus.USAGE if isinstance(error, click.UsageError) else ExitStatus.ERROR
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        raise  # main's to tell, together with what shows only when stdout is flushed
    except Exception as error:  # noqa: BLE001 - the last frame: what comes here is told in one line, whatever it is
        if os.environ.get("HOLDFAST_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        return _tell(error)


def _tell(error: Exception) -> int:
    if isinstance(error, HoldfastError):
        _complain(error.message, error.hint)
        return error.exit_status
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        hint = (
            "name a place that is yours; caches go where XDG_CACHE_HOME says, data where XDG_DATA_HOME says"
        )
        _complain(f"{os.fsdecode(error.filename)}: {error.strerror}", hint if denied else None)
        return ExitStatus.ERROR
    if (
        isinstance(error, OSError)
        and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        and error.strerror
    ):
        _complain(f"a write failed: {error.strerror}", "make room where the output goes, or in the caches")
        return ExitStatus.ERROR
    text = " ".join(str(error).split())
    _complain(
        f"internal error: {type(error).__name__}: {text}"
        if text
        else f"internal error: {type(error).__name__}",
        "this is a bug; HOLDFAST_DEBUG=1 shows where",
    )
    return ExitStatus.ERROR


def _complain(message: str, hint: str | None) -> None:
    say(f"holdfast: {message}", err=True)
    if hint:
        say(f"hint: {hint}", err=True)


def _usage_hint(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    return f"see {context.command_path} --help" if isinstance(context, click.Context) else None
