# SPDX-License-Identifier: Apache-2.0
"""Output for people and for programs: text through rich, JSON on stdout alone, progress on stderr.

rich and msgspec are imported by the function that needs them: a verb that prints JSON never pays for tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from holdfast.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PLAIN_WIDTH", "make_console", "print_json", "progress", "say", "text_width"]

PLAIN_WIDTH = 100  # columns, where stdout is no terminal and so has no width of its own


def make_console() -> Console:
    """Return a console on stdout. It takes text as it is: markup, emoji names and number colours are off.

    Colour is on for a terminal only, and off with ``NO_COLOR`` (rich heeds it itself).
    """
    from rich.console import Console

    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else PLAIN_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def text_width() -> int:
    """Columns for lines of text: those of the terminal, if stdout is one, 50 to :data:`PLAIN_WIDTH`."""
    if not sys.stdout.isatty():
        return PLAIN_WIDTH
    import shutil

    return max(50, min(PLAIN_WIDTH, shutil.get_terminal_size().columns))


def say(line: str = "", *, err: bool = False) -> None:
    """Write one line for people to stdout, or stderr, as :func:`~holdfast.errors.one_line` makes it one."""
    import click

    click.echo(one_line(line), err=err)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Show a bar on stderr while the block runs, if stderr is a terminal; it is gone afterwards.

    Yields ``step``, to be called after each of the ``total`` parts with the name of the next (may be empty).
    """
    if not sys.stderr.isatty():
        yield lambda _name: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr, markup=False, emoji=False, highlight=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def step(name: str) -> None:
            bar.update(task, advance=1, description=f"{what} {one_line(name)}".rstrip())

        yield step


def print_json(value: object) -> None:
    """Write one JSON document to stdout: keys sorted, two spaces, a line feed at the end.

    Takes dicts, lists, scalars, dataclasses, msgspec structs and paths; anything else raises TypeError. Bytes
    of a path that are no UTF-8 come out as ``\\xff``, as those of names in objects do.
    """
    import msgspec

    try:
        data = msgspec.json.encode(value, enc_hook=_encode, order="sorted")
    except UnicodeEncodeError:  # a lone surrogate: os.fsdecode() makes one of each such byte
        plain = msgspec.to_builtins(value, enc_hook=_encode, order="sorted")
        data = msgspec.json.encode(_without_surrogates(plain), order="sorted")
    sys.stdout.write(msgspec.json.format(data, indent=2).decode() + "\n")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(one) for one in value]
    return value


def _encode(value: Any) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
