# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss hash``: type, hash and queue of each frame of a capture file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click

from holdfast.cli.exit_status import ExitStatus

__all__ = ["command"]

SCHEMA_VERSION = 1


@click.command("hash")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--key", help="40 bytes or more in hex, or a file (default: that of the published vectors).")
@click.option("--queues", default="4", show_default=True, help="How many queues, or which: 4, or 0,2,3.")
@click.option("--table", help="The indirection table itself: queues, separated by commas, or a file of them.")
@click.option("--types", default="all", show_default=True, help="Hash types, as in TCPv4,UDPv4,TCPv6.")
@click.option("--tunnel", default="none", show_default=True, help="Tunnels to look into, as in VXLAN,GENEVE.")
@click.option(
    "--unclassified",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Queue for what is not hashed.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    capture: Path,
    key: str | None,
    queues: str,
    table: str | None,
    types: str,
    tunnel: str,
    unclassified: int,
    form: str,
) -> int:
    """Tell how each frame of CAPTURE, pcap or pcapng, is hashed and where it goes. Needs no privilege.

    A frame that was captured in part is hashed by what is there, and marked: the whole may hash otherwise.
    """
    from holdfast.cli.rss_attach import read_key, table_of
    from holdfast.rss.config import RssConfig
    from holdfast.rss.fallback import Steering
    from holdfast.rss.pcap import read_frames
    from holdfast.rss.terms import HashType, TunnelType
    from holdfast.rss.vectors import KEY

    secret = KEY if key is None else read_key(key)
    entries = table_of(queues, table)
    kinds, tunnels = HashType.parse(types), TunnelType.parse(tunnel)
    steering = Steering(RssConfig(secret, kinds, tuple(entries), unclassified, tunnels))
    rows: list[dict[str, object]] = []
    frames = read_frames(capture)
    first = next(frames, None)  # a file that is no capture is told before anything is printed
    if form == "text":
        click.echo(f"{'frame':>7}  {'bytes':>6}  {'type':<7}  {'hash':<10}  queue")
    for frame in chain([] if first is None else [first], frames):
        found = steering.classify(frame.data)
        kind = found.type.name or "NONE"
        if form == "json":
            rows.append(
                {
                    "frame": frame.number,
                    "captured": len(frame.data),
                    "length": frame.length,
                    "truncated": frame.truncated,
                    "type": kind,
                    "report": int(found.type.report) if found.type else 0,
                    "hash": found.hash,
                    "queue": found.queue,
                }
            )
            continue
        value = "-" if found.hash is None else f"0x{found.hash:08x}"
        mark = f"  {len(frame.data)} bytes captured" if frame.truncated else ""
        line = f"{frame.number:>7}  {frame.length:>6}  {kind:<7}  {value:<10}  {found.queue:>5}{mark}"
        click.echo(line)
    if form == "json":
        from holdfast.cli.console import print_json

        print_json({"schema_version": SCHEMA_VERSION, "capture": str(capture), "frames": rows})
    return ExitStatus.OK
