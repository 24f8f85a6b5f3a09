# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss attach`` and ``detach``: steering that stays until it is taken off."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.exit_status import ExitStatus
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.rss.config import RssConfig
    from holdfast.rss.tc import TcRule

__all__ = ["attach", "detach", "read_key", "read_queues", "table_of"]

SCHEMA_VERSION = 1
_LENGTH = 128  # entries of a table that is made from queues, as virtio's smallest maximum


@click.command("attach")
@click.argument("device")
@click.option("--key", required=True, help="40 bytes or more in hex, a file with them, or 'random'.")
@click.option("--queues", help="How many queues, or which: 4, or 0,2,3 (default: all that are in service).")
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
@click.option(
    "--form",
    "via",
    type=click.Choice(["steering", "tc"]),
    default="steering",
    show_default=True,
    help="A TAP's own hook, or a root qdisc, which any device with several queues takes.",
)
@click.option("--bundle", type=click.Path(path_type=Path), help="The bundle (default: as shipped).")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def attach(
    device: str,
    key: str,
    queues: str | None,
    table: str | None,
    types: str,
    tunnel: str,
    unclassified: int,
    via: str,
    bundle: Path | None,
    form: str,
) -> int:
    """Steer DEVICE, a multiqueue TAP, from now on.

    The best variant that runs here is loaded and attached, and stays when this command ends: until
    `holdfast rss detach`, another attach, or the end of the TAP. A TAP that a virtual machine has open is
    steered without disturbing it; QEMU with rss=on attaches a program of its own in its place.
    """
    from holdfast.rss.attach import attach as start

    settings = _settings(device, key, queues, table, types, tunnel, unclassified, via)
    done = start(device, settings, bundle=bundle)
    if form == "json":
        from holdfast.cli.console import print_json

        print_json({"schema_version": SCHEMA_VERSION, **done.to_dict()})
        return ExitStatus.OK
    click.echo(done.explanation)
    count = len(set(done.queues))
    how = "its own hook" if done.qdisc is None else f"tc, root qdisc {done.qdisc}"
    click.echo(
        f"{device}: steered over {count} queue{'s' * (count != 1)} by {how}; rss detach {device} ends it"
    )
    for note in done.notes:
        click.echo(f"  note: {note}")
    return ExitStatus.OK


def _settings(
    device: str,
    key: str,
    queues: str | None,
    table: str | None,
    types: str,
    tunnel: str,
    unclassified: int,
    via: str,
) -> RssConfig | TcRule:
    from holdfast.rss.config import RssConfig
    from holdfast.rss.terms import HashType, TunnelType

    if queues is not None and table is not None:
        raise UsageError("--queues and --table say the same", hint="give one of them")
    secret, kinds, tunnels = read_key(key), HashType.parse(types), TunnelType.parse(tunnel)
    if table is not None:
        entries = _numbers(_text_of(table), "--table")
    else:
        entries = _in_service(device) if queues is None else read_queues(queues)
    if via == "tc":
        from holdfast.rss.tc import TcRule

        return TcRule(1, secret, tuple(entries), kinds, unclassified, tunnel_types=tunnels)
    if table is None:
        entries = _repeated(entries)
    return RssConfig(secret, kinds, tuple(entries), unclassified, tunnels)


def table_of(queues: str, table: str | None) -> list[int]:
    """Returns the indirection table that ``--queues`` or, if given, ``--table`` says. Raises
    :class:`UsageError`.
    """
    return _repeated(read_queues(queues)) if table is None else _numbers(_text_of(table), "--table")


def _repeated(queues: list[int]) -> list[int]:
    length = max(_LENGTH, 1 << (len(queues) - 1).bit_length())
    return list(itertools.islice(itertools.cycle(queues), length))


def _in_service(device: str) -> list[int]:
    from holdfast.rss.attach import find_device

    found = find_device(device)
    count = found.queues if found.tun is None else found.tun.attached
    if not count:
        raise UsageError(f"{device}: no process has a queue of it open", hint="give --queues")
    return list(range(count))


def read_key(given: str) -> bytes:
    """Returns a key's bytes: of ``random``, of hex digits (colons are fine), or of a file with these or with
    the bytes themselves. Raises :class:`UsageError`.
    """
    if given == "random":
        return os.urandom(40)
    content = given.encode()
    if len(given) < 256 and (path := Path(given)).is_file():
        content = path.read_bytes()
        if 40 <= len(content) <= 255 and not _is_hex(content):
            return content
    if not _is_hex(content):
        raise UsageError(
            f"--key {given[:40]!r} is neither hex digits nor a file", hint="give 40 bytes or more, or random"
        )
    digits = b"".join(content.split()).replace(b":", b"")
    return bytes.fromhex(digits.decode())


def _is_hex(content: bytes) -> bool:
    digits = b"".join(content.split()).replace(b":", b"")
    return bool(digits) and len(digits) % 2 == 0 and all(one in b"0123456789abcdefABCDEF" for one in digits)


def read_queues(given: str) -> list[int]:
    """Returns the queues that ``4`` (0 to 3) or ``0,2,3`` name. Raises :class:`UsageError`."""
    numbers = _numbers(given, "--queues")
    if "," in given:
        return numbers
    if not 1 <= numbers[0] <= 512:
        raise UsageError(f"--queues {given}", hint="give 1 to 512, or the queues themselves: 0,2,3")
    return list(range(numbers[0]))


def _numbers(given: str, option: str) -> list[int]:
    words = [word for word in given.replace(",", " ").split() if word]
    if not words or not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
        raise UsageError(f"{option} {given[:40]!r}", hint="give queue numbers, separated by commas")
    return [int(word) for word in words]


def _text_of(given: str) -> str:
    if given[:1].isdigit():
        return given
    try:
        return Path(given).read_text()
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is no text"
        hint = "give queue numbers, separated by commas, or a file of them"
        raise UsageError(f"--table {given}: {problem}", hint=hint) from None


@click.command("detach")
@click.argument("device")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def detach(device: str, form: str) -> int:
    """Take off what `holdfast rss attach` attached to DEVICE."""
    from holdfast.rss.attach import detach as stop

    forms = stop(device)
    if form == "json":
        from holdfast.cli.console import print_json

        print_json({"schema_version": SCHEMA_VERSION, "device": device, "detached": forms})
    elif forms:
        click.echo(f"{device}: detached ({', '.join(forms)}); the device chooses queues by itself again")
    else:
        click.echo(f"{device}: nothing of ours was attached")
    return ExitStatus.OK
