# SPDX-License-Identifier: Apache-2.0
"""Receive-side scaling that stays: attached to a device, with pins by which it is found again.

A TAP keeps its steering program, and a filter of tc its own, so nothing has to run on. The pins, below
``/sys/fs/bpf/holdfast/rss``, are for whoever looks at it or changes it later; a folder there is named by the
network namespace and the number of the device, which are not used twice before a reboot.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, KernelAccessError, PrivilegeError, UsageError
from holdfast.load.netlink import Route
from holdfast.rss import tc_messages as wire
from holdfast.rss.attach_queue import queue_of, set_steering
from holdfast.rss.config import RssConfig
from holdfast.rss.tc import HANDLE, TcRule, TcSteering, refuse_by_kind
from holdfast.rss.tc import detach as detach_tc
from holdfast.rss.terms import ALL_TUNNELS

if TYPE_CHECKING:
    from holdfast.load.outcome import Outcome

__all__ = ["HIDDEN", "PINS", "Attached", "attach", "detach", "find_device", "form_of", "pin_folder"]

PINS: Final = Path("/sys/fs/bpf/holdfast/rss")
HIDDEN: Final = "hidden"
"""The form of what only root may look at."""


@dataclass(frozen=True, slots=True)
class Attached:
    """What was attached. ``pins`` is the folder of its pins, ``qdisc`` the kind of the root qdisc of tc;
    ``notes`` tell what its settings do that may surprise.
    """

    device: str
    form: str
    bundle: str
    variant: str
    pins: Path
    queues: tuple[int, ...]
    explanation: str
    qdisc: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Returns it for JSON."""
        return {
            "device": self.device,
            "form": self.form,
            "bundle": self.bundle,
            "variant": self.variant,
            "pins": str(self.pins),
            "queues": list(self.queues),
            "qdisc": self.qdisc,
            "notes": list(self.notes),
        }


def find_device(name: str) -> wire.Device:
    """Returns a device of this network namespace. Raises :class:`~holdfast.errors.UsageError`."""
    if not 1 <= len(name.encode()) <= 15:
        raise UsageError(f"no network device is named {name!r}", hint="give a name of 1 to 15 bytes")
    with Route() as route:
        found = wire.device(route, name)
    if found is None:
        raise UsageError(f"there is no network device {name}", hint="ip link shows those of this namespace")
    return found


def pin_folder(device: wire.Device) -> Path:
    """Returns where the pins of a device of this network namespace are, if there are any."""
    namespace = Path("/proc/thread-self/ns/net").stat().st_ino
    return PINS / f"{namespace}_{device.index}"


def attach(
    name: str, settings: RssConfig | TcRule, *, bundle: str | os.PathLike[str] | None = None
) -> Attached:
    """Attaches the best variant that runs here to the device ``name``, with these settings, to stay.

    Of an :class:`~holdfast.rss.config.RssConfig` it becomes the steering program of a TAP, of a
    :class:`~holdfast.rss.tc.TcRule` a rule of tc, for any device with several queues. What was attached
    here before is replaced; packets notice nothing of that in a TAP's own hook, and go where the device
    chooses for a moment with tc. ``bundle`` is a folder, by default the shipped one for these settings.

    Raises :class:`~holdfast.errors.UsageError` for a device that cannot be,
    :class:`~holdfast.errors.PrivilegeError`, :class:`~holdfast.errors.KernelAccessError`, also where no
    variant of the bundle runs here, and :class:`~holdfast.errors.LibbpfError` without a bpf
    file system.
    """
    from holdfast.load.pins import Pins, pin_all
    from holdfast.load.runner import run
    from holdfast.rss.shipped import bundle_path

    if isinstance(settings, TcRule):
        form, shipped, queues = "tc", "net/rss-tc", settings.queues
    else:
        form, shipped, queues = "steering", "net/rss", settings.table
    if settings.tunnel_types:
        shipped += "-tunnel"
    device = find_device(name)
    notes = _judged(device, settings)
    folder = pin_folder(device)
    _forget_the_gone()
    with run(bundle_path(shipped) if bundle is None else bundle) as outcome:
        if outcome.variant is None:
            raise _nothing_runs(name, outcome, tunnels=bool(settings.tunnel_types))
        made = folder.with_name(f"{folder.name}_new")
        _remove(made)
        fds = {one: each.fd for one, each in outcome.programs.items()}
        fds |= {one: each.fd for one, each in outcome.maps.items()}
        pins: Pins = pin_all(made, fds)
        try:
            qdisc: str | None = None
            if isinstance(settings, TcRule):
                qdisc = _start_tc(device, outcome, settings, folder)
            else:
                _start_steering(device, outcome, settings)
        except BaseException:
            pins.remove()
            raise
        _remove(folder)
        made.rename(folder)
        told = outcome.explain()
        return Attached(name, form, outcome.bundle, outcome.variant, folder, queues, told, qdisc, notes)


def _judged(device: wire.Device, settings: RssConfig | TcRule) -> tuple[str, ...]:
    """Returns notes; raises :class:`~holdfast.errors.UsageError` for queues that the device cannot have."""
    named = settings.queues if isinstance(settings, TcRule) else settings.table
    queues = {*named, settings.unclassified or 0}
    if (most := max(queues)) >= device.queues > 1:
        raise UsageError(
            f"{device.name}: queue {most} is named", hint=f"it can have {device.queues} queues, from 0 on"
        )
    notes = []
    if not settings.types:
        notes.append(f"no hash types: every frame goes to queue {settings.unclassified or 0}")
    attached = 0 if device.tun is None else device.tun.attached
    if attached and most >= attached:
        lost = isinstance(settings, TcRule)
        fate = "are lost" if lost else f"go to the queue's number modulo {attached}"
        notes.append(f"queues that are open now: {attached}; frames for queue {attached} and above {fate}")
    return tuple(notes)


def _nothing_runs(name: str, outcome: Outcome, *, tunnels: bool) -> HoldfastError:
    # The last variant is the one that most kernels take, so its reason is the one that can be helped.
    step = outcome.steps[-1]
    reason = next(iter(step.reasons), None)
    why = step.words or ("holdfast check tells why" if reason is None else reason.line)
    problem = f"{name}: no variant of {outcome.bundle} runs here: {why}"
    if step.error == PrivilegeError.__name__:
        return PrivilegeError(problem, hint=step.hint)
    if step.words is None and reason is not None and reason.code == "CAPABILITY_MISSING":
        return PrivilegeError(problem, hint="run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
    hint = "nothing has changed; without --tunnel, steering is by outer headers and asks less of a kernel"
    return KernelAccessError(problem, hint=hint if tunnels else step.hint)


def _start_steering(device: wire.Device, outcome: Outcome, config: RssConfig) -> None:
    from holdfast.rss.kernel import KernelSteering

    refuse_by_kind(device)
    with queue_of(device) as queue:
        program = outcome.program("steer").fd
        steering = KernelSteering(outcome.map, program, supported_tunnel_types=ALL_TUNNELS)
        steering.configure(config)
        set_steering(queue, program)
    detach_tc(device.name)


def _start_tc(device: wire.Device, outcome: Outcome, rule: TcRule, folder: Path) -> str:
    # The rules that are there have another program, whose map nobody shares.
    detach_tc(device.name)
    with TcSteering(device.name, outcome, supported_tunnel_types=ALL_TUNNELS) as tc:
        try:
            tc.add(rule)
        except BaseException:
            tc.detach()
            raise
        if (folder / "steer").exists():
            _take_off(device)
        return tc.qdisc


def detach(name: str) -> list[str]:
    """Takes off what :func:`attach` attached, and returns the forms, none where nothing was.

    A steering program that somebody else attached stays. Raises as :func:`attach`.
    """
    device = find_device(name)
    folder = pin_folder(device)
    found = []
    try:
        steered = (folder / "steer").exists()
    except PermissionError:
        raise PrivilegeError(f"{name}: its pins are root's alone", hint="run as root") from None
    if steered:
        _take_off(device)
        found.append("steering")
    if detach_tc(name):
        found.append("tc")
    _remove(folder)
    return found


def _take_off(device: wire.Device) -> None:
    with queue_of(device) as queue:
        set_steering(queue, None)


def _remove(folder: Path) -> None:
    if folder.is_dir():
        for one in folder.iterdir():
            one.unlink()
        folder.rmdir()
    for above in (PINS, PINS.parent):
        try:
            above.rmdir()
        except OSError:  # there are others', or nothing was pinned
            return


def _forget_the_gone() -> None:
    """Remove pins of devices of this network namespace that are gone: they alone keep those programs."""
    if not PINS.is_dir():
        return
    namespace = f"{Path('/proc/thread-self/ns/net').stat().st_ino}_"
    with Route() as route:
        there = {str(one) for one in wire.indices(route)}
    for folder in list(PINS.iterdir()):
        if folder.name.startswith(namespace) and folder.name.removeprefix(namespace) not in there:
            _remove(folder)


def form_of(name: str) -> str | None:
    """Returns the form that :func:`attach` attached to the device, None where it did not, :data:`HIDDEN`
    where this process may not see it.

    Raises :class:`~holdfast.errors.UsageError` without such a device.
    """
    device = find_device(name)
    folder = pin_folder(device)
    try:
        if (folder / "rss_tc_rules").exists():
            with Route() as route:
                there = wire.root_qdisc(route, device.index)
            return "tc" if there is not None and there[1] == HANDLE else None
        return "steering" if (folder / "steer").exists() else None
    except PermissionError:  # whoever pinned it alone may look
        with Route() as route:
            there = wire.root_qdisc(route, device.index)
        return "tc" if there is not None and there[1] == HANDLE else HIDDEN
    except OSError:
        return None
