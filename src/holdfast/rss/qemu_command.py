# SPDX-License-Identifier: Apache-2.0
"""A QEMU command line: its TAPs and their devices found, and given descriptors.

Options are taken as QEMU takes them: ``key=value`` lists, where a comma in a value is doubled, a first word
without ``=`` is the type or the driver, a later one is a switch; or JSON. The property ``ebpf-rss-fds`` is an
array, which only JSON can say, and JSON wants each property in its type: the types are asked of QEMU
(:mod:`holdfast.rss.qemu_ask`), not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.errors import UsageError

__all__ = ["Grant", "Interface", "QemuCommand", "Value", "parse_options", "typed"]

Value = str | int | bool | list[Any] | dict[str, Any] | float | None

_ID: Final = "holdfast0"
_DRIVER: Final = "virtio-net-pci"
# QEMU refuses these beside descriptors: they say how it is to open the TAP itself.
_OPENING: Final = frozenset({"ifname", "script", "downscript", "queues", "br", "helper", "vnet_hdr"})
_BOOLS: Final = {"on": True, "yes": True, "true": True, "y": True} | dict.fromkeys(
    ("off", "no", "false", "n"), False
)
_PART: Final = re.compile(r"((?:[^,]|,,)+)(?:,|$)")  # a comma in a value is doubled
_SUFFIXES: Final = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}


@dataclass(frozen=True, slots=True)
class Grant:
    """Descriptors for one interface, or what stands for them: of the TAP's queues; then program,
    configuration, key and table in this order, none where QEMU is to hash by itself.
    """

    tap: tuple[int | str, ...]
    rss: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """A TAP in a command line, with the device that is its guest's side.

    ``netdev`` and ``device`` are the options that QEMU would get. ``given`` are descriptors of the TAP that
    the command line has already; then ``name``, ``queues`` and ``bridge`` say nothing. None is what it leaves
    open.
    """

    netdev: Mapping[str, Value] = field(repr=False)
    device: Mapping[str, Value] = field(repr=False)
    at: tuple[int, int] | None = None  # places of the two options' values in the command line

    @property
    def id(self) -> str:
        """Returns the netdev's id."""
        return str(self.netdev["id"])

    @property
    def driver(self) -> str:
        """Returns the device's driver."""
        return str(self.device["driver"])

    @property
    def name(self) -> str | None:
        """Returns the TAP's name."""
        name = self.netdev.get("ifname")
        return None if name is None else str(name)

    @property
    def queues(self) -> int | None:
        """Returns how many queues it is to have."""
        said = self.netdev.get("queues")
        if said is None:
            return len(self.given) or None
        if not str(said).isdigit():
            raise UsageError(f"-netdev {self.id}: queues={said} is no number")
        return int(str(said))

    @property
    def bridge(self) -> str | None:
        """Returns the bridge that it is to be a port of."""
        bridge = self.netdev.get("br", "br0" if "helper" in self.netdev else None)
        return None if bridge is None else str(bridge)

    @property
    def given(self) -> tuple[str, ...]:
        """Returns the descriptors, or monitor names of some, that the command line brings itself."""
        said = self.netdev.get("fds", self.netdev.get("fd"))
        return () if said is None else tuple(str(said).split(":"))

    def granted(self, grant: Grant, types: Mapping[str, str]) -> tuple[dict[str, Value], dict[str, Value]]:
        """Returns the options of netdev and device with the descriptors; ``types`` are the driver's
        properties by name.

        What a device of several queues needs is added where the command line does not say otherwise: ``mq``,
        ``rss``, and ``vectors`` for two queues of each pair, the control queue and the configuration.
        """
        netdev = dict(self.netdev)
        if not self.given:
            netdev = {key: value for key, value in netdev.items() if key not in _OPENING}
            netdev["fds"] = ":".join(map(str, grant.tap))
        count = len(self.given) or len(grant.tap)
        device: dict[str, Value] = {
            key: typed(types.get(key, "str"), value, f"-device {self.driver}: {key}")
            for key, value in self.device.items()
        }
        wanted: dict[str, Value] = {"mq": True, "vectors": 2 * count + 2, "rss": True}
        for key, value in wanted.items():
            if key in types:
                device.setdefault(key, value)
        if grant.rss:
            device["ebpf-rss-fds"] = [str(fd) for fd in grant.rss]
        return netdev, device


@dataclass(frozen=True, slots=True)
class QemuCommand:
    """A command line taken apart: ``words`` as they came, and the interfaces that can be steered.

    Those are each TAP (``-netdev tap``) whose device is a virtio-net one; where there is no TAP at all, one
    of our own is added, ``added`` then being True.
    """

    words: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    added: bool
    processors: int

    @classmethod
    def parse(cls, words: Sequence[str]) -> QemuCommand:
        """Returns the command line ``words``, the program first.

        Raises :class:`~holdfast.errors.UsageError` for one in which nothing can be steered, and says why.
        """
        if not words:
            raise UsageError("there is no command", hint="holdfast rss qemu -- qemu-system-x86_64 OPTIONS...")
        netdevs: dict[str, tuple[int, dict[str, Value]]] = {}
        devices: dict[str, tuple[int, dict[str, Value]]] = {}
        processors, other_taps = 1, False
        for at in range(2, len(words)):
            option, value = words[at - 1], words[at]
            if not option.startswith("-"):
                continue
            name = option.removeprefix("-").removeprefix("-")
            if name == "netdev":
                netdev = parse_options(value, "type")
                if netdev.get("type") == "tap" and "id" in netdev:
                    netdevs[str(netdev["id"])] = at, netdev
            elif name == "device":
                device = parse_options(value, "driver")
                if str(device.get("driver", "")).startswith("virtio-net") and "netdev" in device:
                    devices[str(device["netdev"])] = at, device
            elif name in ("nic", "net"):
                other_taps = other_taps or value.split(",")[0] == "tap"
            elif name == "smp":
                smp = parse_options(value, "cpus")
                processors = int(str(smp.get("cpus"))) if str(smp.get("cpus")).isdigit() else 1
        found = tuple(
            Interface(netdev, devices[key][1], (at, devices[key][0]))
            for key, (at, netdev) in netdevs.items()
            if key in devices and devices[key][1].get("rss") not in ("off", False)
        )
        if found:
            return cls(tuple(words), found, False, processors)
        if netdevs:
            name = next(iter(netdevs))
            raise UsageError(
                f"no TAP can be steered: no virtio-net device has netdev={name}, or it has rss=off",
                hint=f"add -device {_DRIVER},netdev={name}",
            )
        if other_taps:
            raise UsageError(
                "descriptors cannot be given to a TAP of -nic or -net",
                hint=f"write it as -netdev tap,id=n0 and -device {_DRIVER},netdev=n0",
            )
        own = Interface({"type": "tap", "id": _ID}, {"driver": _DRIVER, "netdev": _ID})
        return cls(tuple(words), (own,), True, processors)

    def granted(self, grants: Sequence[Grant], types: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Returns the command line with a grant for each interface; ``types`` are properties by driver."""
        words = list(self.words)
        for one, grant in zip(self.interfaces, grants, strict=True):
            netdev, device = one.granted(grant, types[one.driver])
            # JSON only where the user wrote it: QEMU takes key=value for a netdev in every release.
            said = (
                _in_json(netdev)
                if one.at and words[one.at[0]].startswith("{")
                else _as_options(netdev, "type")
            )
            if one.at is None:
                words += ["-netdev", said, "-device", _in_json(device)]
            else:
                words[one.at[0]], words[one.at[1]] = said, _in_json(device)
        return words


def parse_options(text: str, first: str) -> dict[str, Value]:
    """Returns the options of one argument; ``first`` is what a first word without ``=`` names.

    Raises :class:`~holdfast.errors.UsageError` for JSON that is none.
    """
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{text[:60]}: is no JSON ({error})") from None
        return dict(found)
    options: dict[str, Value] = {}
    for number, part in enumerate(_PART.findall(text)):
        key, equals, value = part.replace(",,", ",").partition("=")
        if equals:
            options[key] = value
        elif number == 0:
            options[first] = key
        elif key.startswith("no") and len(key) > 2:
            options[key[2:]] = "off"
        elif key:
            options[key] = "on"
    return options


def typed(kind: str, value: Value, what: str) -> Value:
    """Returns a property's value in the type that JSON must have for it; ``what`` is named in errors.

    ``kind`` is QEMU's word for the type. A word that is not known here is a string to JSON, as enumerations
    and what has a parser of its own are. Raises :class:`~holdfast.errors.UsageError`.
    """
    if not isinstance(value, str):
        return value
    if kind == "bool":
        if value not in _BOOLS:
            raise UsageError(f"{what}={value} is neither on nor off")
        return _BOOLS[value]
    if re.fullmatch(r"u?int(8|16|32|64)?", kind) or kind == "size":
        shift = 0
        if kind == "size" and value[-1:].lower() in _SUFFIXES:
            shift, value = _SUFFIXES[value[-1:].lower()], value[:-1]
        try:
            return int(value, 0) << shift
        except ValueError:
            raise UsageError(f"{what}={value} is no number") from None
    return value


def _in_json(options: Mapping[str, Value]) -> str:
    return json.dumps(options, separators=(",", ":"))


def _as_options(options: Mapping[str, Value], first: str) -> str:
    said = [str(options[first])]
    said += [f"{key}={str(value).replace(',', ',,')}" for key, value in options.items() if key != first]
    return ",".join(said)
