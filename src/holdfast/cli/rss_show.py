# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss show``: packets per queue as bars, refreshed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.rss.show import Distribution

__all__ = ["bars", "command"]

SCHEMA_VERSION = 1


@click.command("show")
@click.argument("device")
@click.option("--once", is_flag=True, help="Show it once and end, also on a terminal.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 60),
    help="Seconds between looks.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(device: str, once: bool, interval: float, form: str) -> int:
    """Show how the packets of DEVICE are spread over its queues.

    On a terminal the bars are those of the last interval, refreshed until Ctrl-C. Elsewhere the numbers are
    all since the device or the program came, and the command ends.
    """
    from holdfast.rss.show import distribution

    first = distribution(device)
    if form == "json":
        from holdfast.cli.console import print_json

        print_json({"schema_version": SCHEMA_VERSION, **first.to_dict()})
        return ExitStatus.OK
    if once or first.counted_by is None or not sys.stdout.isatty():
        click.echo("\n".join(describe(first)))
        return ExitStatus.OK
    from rich.live import Live
    from rich.text import Text

    from holdfast.cli.console import make_console

    before, at = first, time.monotonic()
    with Live(Text("\n".join(describe(first))), console=make_console(), auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            now, then = distribution(device), time.monotonic()
            live.update(Text("\n".join(describe(now, before, then - at))), refresh=True)
            before, at = now, then


def describe(now: Distribution, before: Distribution | None = None, seconds: float = 0.0) -> list[str]:
    """Returns the lines that tell a distribution, or the change from one to the next, per second."""
    how = {
        "steering": "steered by its own hook",
        "tc": "steered by tc",
        "hidden": "what steers it, only root may see",
    }.get(now.form or "", "steered by nothing of ours")
    lines = [f"{now.device}: {how}; packets counted by {now.counted_by or 'nothing'}", ""]
    if now.counted_by is None:
        return [*lines[:1], f"  {now.why_not}"]
    if before is None:
        numbers, unit = list(now.packets), ""
    else:
        old = before.packets + (0,) * len(now.packets)
        # Less than before: the counters began anew, with another program or device.
        numbers = [round(max(new - one, 0) / seconds) for new, one in zip(now.packets, old, strict=False)]
        unit = "/s"
    lines += bars(numbers, unit)
    lines += ["", f"  {sum(numbers)}{unit} in all"]
    return lines


def bars(numbers: list[int], unit: str = "") -> list[str]:
    """Returns a line for each queue, with a bar of at most 50 columns and its share."""
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    most, total = max([*numbers, 1]), max(sum(numbers), 1)
    width = max(len(str(one)) for one in (*numbers, 0))
    lines = []
    for queue, number in enumerate(numbers):
        bar = block * round(50 * number / most)
        lines.append(f"  queue {queue:<3} {number:>{width}}{unit} {number / total:>4.0%} {bar}".rstrip())
    return lines
