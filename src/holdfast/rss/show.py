# SPDX-License-Identifier: Apache-2.0
"""How the packets of a device are spread over its queues, counted by the kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass

from holdfast.errors import PrivilegeError
from holdfast.load.netlink import Route
from holdfast.rss import tc_messages as wire
from holdfast.rss.attach import find_device, form_of, pin_folder
from holdfast.rss.tc import counted

__all__ = ["Distribution", "distribution"]

_BY_CLASS = ("mq", "multiq")


@dataclass(frozen=True, slots=True)
class Distribution:
    """``packets`` has a number for each queue in service; ``counted_by`` is what counts.

    Where nothing does, that is None, and ``why_not`` says why. ``form`` is how Holdfast steers the device:
    ``"steering"``, ``"tc"``, ``"hidden"`` where only root may see that, or None.
    """

    device: str
    form: str | None
    packets: tuple[int, ...]
    counted_by: str | None
    why_not: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Returns it for JSON."""
        return {
            "device": self.device,
            "form": self.form,
            "queues": [{"queue": queue, "packets": count} for queue, count in enumerate(self.packets)],
            "counted_by": self.counted_by,
            "why_not": self.why_not,
        }


def distribution(name: str) -> Distribution:
    """Returns the packets that were sent to each queue of a device, since it or the program came.

    The rules of tc count by themselves. Otherwise the qdisc of each queue does, where the device
    has the root qdisc ``mq`` (a TAP has it unless somebody changed that) or ``multiq``.

    Raises :class:`~holdfast.errors.UsageError` without such a device,
    :class:`~holdfast.errors.PrivilegeError` when the counters are root's alone.
    """
    device = find_device(name)
    form = form_of(name)
    if form == "tc":
        return _of_tc(device)
    with Route() as route:
        there = wire.root_qdisc(route, device.index)
        if there is None or there[0] not in _BY_CLASS:
            kind = "no qdisc" if there is None else f"the qdisc {there[0]}"
            why = f"{name} has {kind}, which does not count by queue; mq does"
            return Distribution(name, form, (), None, why)
        counts = wire.class_packets(route, device.index, there[1])
    return Distribution(name, form, _row(counts, device), there[0])


def _of_tc(device: wire.Device) -> Distribution:
    from holdfast import sys as kernel
    from holdfast.load.map import Map

    try:
        fd = kernel.obj_get(pin_folder(device) / "rss_tc_packets")
    except PermissionError as error:
        problem = f"{device.name}: the counters of tc: {os.strerror(error.errno or 0)}"
        raise PrivilegeError(problem, hint="run as root") from None
    with fd:
        counts = counted(Map("rss_tc_packets", lambda: fd.fileno()))
    return Distribution(device.name, "tc", _row(counts, device), "rss_tc_packets")


def _row(counts: dict[int, int], device: wire.Device) -> tuple[int, ...]:
    # A TAP is made with 256 queues, whatever it has in service; queues beyond those show what was lost there.
    used = max((queue + 1 for queue, count in counts.items() if count), default=0)
    least = device.tun.attached if device.tun is not None else len(counts)
    return tuple(counts.get(queue, 0) for queue in range(max(used, least)))
