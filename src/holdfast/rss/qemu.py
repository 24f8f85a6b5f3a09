# SPDX-License-Identifier: Apache-2.0
"""QEMU with receive-side scaling by the bundle net/rss-qemu, and without a privilege of its own.

::

    words = ["qemu-system-x86_64", "-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0"]
    with prepare(words) as ready:
        subprocess.Popen(ready.words, pass_fds=ready.fds)

What opens TAPs and loads programs is done here, by whoever may; QEMU inherits descriptors. Nobody has to
stay: the program follows QEMU's changes by itself, and TAP, program and maps are gone with their last
descriptor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import UsageError
from holdfast.rss.qemu_ask import find, properties
from holdfast.rss.qemu_command import Grant, Interface, QemuCommand
from holdfast.rss.qemu_maps import descriptors
from holdfast.rss.qemu_tap import MOST_QUEUES, QemuTap, open_tap
from holdfast.rss.shipped import bundle_path

if TYPE_CHECKING:
    from holdfast.bundle.plan import Plan
    from holdfast.load.outcome import Outcome

__all__ = ["BUNDLE", "Prepared", "Request", "Steered", "draft", "prepare"]

BUNDLE: Final = "net/rss-qemu"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for besides the command line. None leaves it to the command line.

    ``tap``, ``queues`` and ``bridge`` are for the first interface; ``bundle`` is the folder of a bundle with
    the interface of net/rss-qemu 1; ``software`` leaves all hashing to QEMU.
    """

    tap: str | None = None
    queues: int | None = None
    bridge: str | None = None
    bundle: Path | None = None
    software: bool = False


@dataclass(frozen=True, slots=True)
class Steered:
    """One interface as QEMU gets it. ``tap`` is None where the command line brought the descriptors.

    ``variant`` is None where QEMU hashes by itself; ``explanation`` says which variant was taken and why not
    a better one. ``queues`` counts the pairs. ``reports`` tells that the guest is to get hashes.
    """

    netdev: str
    driver: str
    tap: str | None
    made: bool
    queues: int
    variant: str | None
    explanation: str = field(repr=False)
    outcome: Mapping[str, object] | None = field(default=None, repr=False)
    reports: bool = False

    @property
    def line(self) -> str:
        """Returns it in one line for people."""
        where = self.tap or f"the TAP of netdev {self.netdev}"
        how = f"steered by variant {self.variant!r}" if self.variant else "steered by QEMU itself"
        return f"{where}: {self.queues} queues, {how}"

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return {
            "netdev": self.netdev,
            "driver": self.driver,
            "tap": self.tap,
            "made": self.made,
            "queues": self.queues,
            "variant": self.variant,
            "outcome": None if self.outcome is None else dict(self.outcome),
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command line that is ready, ``words[0]`` being the program's path; ``fds`` are the descriptors that
    were made for it, :func:`prepare`'s to close.
    """

    words: tuple[str, ...]
    fds: tuple[int, ...]
    interfaces: tuple[Steered, ...]


def draft(words: Sequence[str], request: Request = Request()) -> tuple[list[str], Plan | None]:
    """Returns the command line with ``?`` for each descriptor, and the plan; nothing is opened or loaded.

    Raises as :func:`prepare` does, as far as that can be known before.
    """
    command, path, types = _read(words)
    plan = None if request.software else _plan(request)
    rss = () if plan is None or plan.best is None else ("?",) * 4
    grants = []
    for number, one in enumerate(command.interfaces):
        queues = _queues(command, one, request if number == 0 else Request())
        grants.append(Grant(("?",) * queues, rss))
    return [path, *command.granted(grants, types)[1:]], plan


@contextmanager
def prepare(words: Sequence[str], request: Request = Request()) -> Iterator[Prepared]:
    """Opens TAPs, loads a program for each, and yields the command line that uses them.

    The descriptors are not inheritable yet, and closed at the end: pass them on before. Where no variant
    loads, QEMU is left to hash by itself, and ``variant`` of the interface is None.

    Raises :class:`~holdfast.errors.UsageError` for a command line in which nothing can be steered, a QEMU
    that takes no descriptors, names that make no sense; :class:`~holdfast.errors.PrivilegeError` and
    :class:`~holdfast.errors.KernelAccessError` where no TAP can be had.
    """
    from holdfast.load.runner import carry_out

    command, path, types = _read(words)
    plan = None if request.software else _plan(request)
    with contextlib.ExitStack() as stack:
        grants, steered, fds = list[Grant](), list[Steered](), list[int]()
        for number, one in enumerate(command.interfaces):
            asked = request if number == 0 else Request()
            queues = _queues(command, one, asked)
            tap: QemuTap | None = None
            if not one.given:
                tap = open_tap(asked.tap or one.name, queues, bridge=asked.bridge or one.bridge)
                stack.callback(tap.close)
            # Each guest has maps of its own, so each gets programs of its own.
            outcome: Outcome | None = None if plan is None else stack.enter_context(carry_out(plan))
            rss = () if outcome is None or outcome.is_fallback else descriptors(outcome)
            taps = tap.fds if tap else ()
            fds += [*taps, *rss]
            grants.append(Grant(taps, rss))
            steered.append(_told(one, tap, queues, outcome))
        said = command.granted(grants, types)
        yield Prepared((path, *said[1:]), tuple(fds), tuple(steered))


def _read(words: Sequence[str]) -> tuple[QemuCommand, str, dict[str, dict[str, str]]]:
    command = QemuCommand.parse(words)
    path = find(command.words[0])
    return command, path, {one.driver: properties(path, one.driver) for one in command.interfaces}


def _plan(request: Request) -> Plan:
    from holdfast.bundle import Bundle
    from holdfast.load.runner import plan_here

    return plan_here(Bundle.open(request.bundle or bundle_path(BUNDLE)))


def _queues(command: QemuCommand, one: Interface, asked: Request) -> int:
    """Return how many queues: what is said, else one for each processor of the guest, two at least."""
    if one.given:
        return len(one.given)
    queues = asked.queues or one.queues or min(max(command.processors, 2), MOST_QUEUES)
    if queues < 2:
        raise UsageError(
            f"netdev {one.id}: nothing can be steered between {queues} queues",
            hint="give at least two queues",
        )
    return queues


def _told(one: Interface, tap: QemuTap | None, queues: int, outcome: Outcome | None) -> Steered:
    loaded = outcome is not None and not outcome.is_fallback
    return Steered(
        netdev=one.id,
        driver=one.driver,
        tap=tap.name if tap else None,
        made=tap is not None and tap.made,
        queues=queues,
        variant=outcome.variant if outcome is not None and loaded else None,
        explanation="" if outcome is None else outcome.explain(),
        outcome=None if outcome is None else outcome.to_dict(),
        reports=one.device.get("hash") in ("on", True),
    )
