# SPDX-License-Identifier: Apache-2.0
"""The packets, and the programs that steer them: each variant of the bundle, QEMU's own, and an empty one."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from bench.rss_tables import FLOORS, TABLES, compile_table, floor, open_table
from holdfast import load
from holdfast import sys as kernel
from holdfast.bundle import Bundle
from holdfast.errors import HoldfastError, LoadError
from holdfast.load.failure import not_permitted
from holdfast.rss import ALL_TUNNELS, KernelSteering, RssConfig, TunnelType, frames, reference
from holdfast.rss.vectors import KEY
from holdfast.terms import ProgramType

__all__ = [
    "CONFIG", "PACKETS", "QEMU", "Flow", "Steerer",
    "count_wrong", "flows", "load_empty", "load_qemu", "load_tables", "load_variants",
]  # fmt: skip

PACKETS: Final = {
    "ipv4": "IPv4/TCP",
    "ipv6": "IPv6/TCP",
    "ipv6-ext": "IPv6/2 ext./TCP",
    "vxlan": "VXLAN(IPv4/TCP)",
}
FLOWS: Final = 8  # of each packet: one flow alone would teach the branch predictor its hash
QEMU: Final = "qemu"
CONFIG: Final = RssConfig(KEY, table=tuple(range(128)), unclassified=128)
"""A table of 128 entries, the most that QEMU's map holds, which shows 7 bits of the hash as the queue."""
SHIFTS: Final = (0, 7, 14, 21, 25)  # bits that the key is moved by to show all 32 bits of the hash
_EMPTY: Final = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit


@dataclass(frozen=True, slots=True)
class Flow:
    """A frame, and the queue that the reference gives it under :data:`CONFIG`."""

    frame: bytes
    queue: int


@dataclass(frozen=True, slots=True)
class Steerer:
    """A loaded program: ``run`` takes a frame and how often to run on it, ``configure`` fills the maps."""

    name: str
    title: str
    run: Callable[[bytes, int], kernel.TestRun]
    configure: Callable[[RssConfig], object]
    info: kernel.ProgInfo


def flows(seed: int = 1) -> dict[str, list[Flow]]:
    """The flows of each packet; the same seed gives the same frames."""
    chance = random.Random(seed)
    made: dict[str, list[Flow]] = {}
    for packet in PACKETS:
        ours = [_frame(packet, chance) for _ in range(FLOWS)]
        made[packet] = [Flow(frame, _queue(frame, CONFIG)) for frame in ours]
    return made


def _frame(packet: str, chance: random.Random) -> bytes:
    segment = frames.tcp(chance.randrange(1024, 65536), 443)
    if packet in ("ipv4", "vxlan"):
        ends = [str(IPv4Address(chance.getrandbits(32))) for _ in range(2)]
        frame = frames.ethernet(frames.ipv4(ends[0], ends[1], frames.TCP, segment))
        if packet == "ipv4":
            return frame
        # RFC 7348: flag I, then the network's number; the source port tells flows apart.
        carried = frames.udp(49152 + chance.randrange(16384), 4789, b"\x08" + bytes(7) + frame)
        return frames.ethernet(frames.ipv4("192.0.2.1", "192.0.2.2", frames.UDP, carried))
    six = [str(IPv6Address(0x20010DB8 << 96 | chance.getrandbits(96))) for _ in range(4)]
    # As Mobile IPv6 lays them out (RFC 6275, 6.3): the option's address at a multiple of 8.
    mobile = [
        (frames.DSTOPTS, frames.options(frames.pad(4), frames.home_address(six[2]))),
        (frames.ROUTING, frames.routing2(six[3])),
    ]
    chain = mobile if packet == "ipv6-ext" else []
    return frames.ethernet(frames.ipv6(six[0], six[1], frames.TCP, segment, extensions=chain))


def _queue(frame: bytes, config: RssConfig) -> int:
    kind, hashed = reference.select(reference.dissect(frame, ALL_TUNNELS), config.types)
    if not kind:
        return config.unclassified
    return config.table[reference.toeplitz(config.key, hashed) % len(config.table)]


def count_wrong(steerer: Steerer, ours: Mapping[str, list[Flow]]) -> dict[str, tuple[int, int]]:
    """By packet, for those with any: how many queues are wrong, of how many. :data:`CONFIG` is in force
    afterwards. A floor has no queues, so none that is wrong.
    """
    if steerer.name in FLOORS:
        return {}
    wrong = dict.fromkeys(ours, 0)
    whole = int.from_bytes(CONFIG.key, "big")
    for shift in reversed(SHIFTS):  # the last one leaves the key as it is
        config = replace(CONFIG, key=(whole >> shift).to_bytes(len(CONFIG.key), "big"))
        steerer.configure(config)
        for packet, each in ours.items():
            for flow in each:
                queue = steerer.run(flow.frame, 1).return_value
                wrong[packet] += queue != _queue(flow.frame, config)
    return {packet: (count, len(SHIFTS) * len(ours[packet])) for packet, count in wrong.items() if count}


def load_empty(stack: ExitStack) -> Callable[[bytes, int], kernel.TestRun]:
    """Loads a program of two instructions, which shows what a test run itself costs.

    Raises :class:`~holdfast.errors.PrivilegeError`, also where the kernel would let anybody load that one.
    """
    what = "loading programs to measure"
    if kernel.missing(frozenset({"CAP_BPF"})):
        raise not_permitted(what, {"CAP_BPF"})
    loaded = kernel.prog_load(ProgramType.SOCKET_FILTER, _EMPTY, name="empty")
    if loaded.fd is None:
        if loaded.errno == errno.EPERM:  # a user namespace, lockdown or a security module
            raise not_permitted(what, {"CAP_BPF"})
        raise LoadError(f"{what} failed: errno {loaded.errno}", errno=loaded.errno, log="")
    owned = stack.enter_context(loaded.fd)
    return lambda frame, repeat: kernel.prog_test_run(owned.fileno(), frame, repeat=repeat, data_out_size=0)


def _steerer(
    name: str, title: str, program: load.Program, configure: Callable[[RssConfig], object]
) -> Steerer:
    def run(frame: bytes, repeat: int) -> kernel.TestRun:
        return program.test_run(frame, repeat=repeat, data_out_size=0)

    return Steerer(name, title, run, configure, program.info)


def load_variants(
    stack: ExitStack, bundle: Bundle, notes: list[str], tunnel_types: TunnelType = TunnelType.NONE
) -> list[Steerer]:
    """Loads every variant that this kernel takes; ``notes`` gets a line for each other.

    ``tunnel_types`` are enabled; net/rss has none.
    """
    found = []
    suffix = "+tunnel" if tunnel_types else ""
    for variant in bundle.variants:
        try:
            opened = load.open_object(variant.content, name=variant.name, programs=variant.programs)
            loaded = stack.enter_context(opened)
        except LoadError as error:
            notes.append(f"variant {variant.name} is left out: {error.message}")
            continue
        program = loaded.program("steer")
        steering = KernelSteering(loaded.map, program.fd, supported_tunnel_types=tunnel_types)

        def configure(config: RssConfig, steering: KernelSteering = steering) -> None:
            steering.configure(replace(config, tunnel_types=tunnel_types))

        name = variant.name + suffix
        found.append(_steerer(name, name, program, configure))
    return found


def load_tables(stack: ExitStack, notes: list[str]) -> list[Steerer]:
    """Loads the programs that show what tables would cost, then the floors; ``notes`` gets a line for each
    that this kernel refuses.
    """
    found = []
    for bits, title in TABLES.items():
        table = open_table(stack, compile_table([f"BITS={bits}"], bits), bits)
        found.append(_steerer(f"table-{bits}", title, table.program, table.configure))
    for name, title in FLOORS.items():
        try:
            found.append(_steerer(name, title, floor(stack, name), lambda config: None))
        except LoadError as error:
            notes.append(f"{title} is left out: {error.message}")
    return found


def load_qemu(stack: ExitStack, folder: Path, notes: list[str]) -> Steerer | None:
    """Loads the program out of a QEMU binary; None, and a line in ``notes``, where there is none."""
    file = next(iter(sorted(folder.glob("*qemu-system-*.o"))), None)
    if file is None:
        where = f"no qemu-system object in {folder}"
        notes.append(f"QEMU's program is left out: {where}; `make corpus` brings it")
        return None
    try:
        loaded = stack.enter_context(load.open_object(file, programs=["tun_rss_steering_prog"]))
        maps = {
            name: loaded.map(f"tap_rss_map_{name}")
            for name in ("configurations", "toeplitz_key", "indirection_table")
        }
        program = loaded.program("tun_rss_steering_prog")
        _fill_qemu(maps, CONFIG)  # tells now of maps of another layout
    except HoldfastError as error:
        notes.append(f"QEMU's program is left out: {error.message}")
        return None
    return _steerer(QEMU, "QEMU", program, lambda config: _fill_qemu(maps, config))


def _fill_qemu(maps: Mapping[str, load.Map], config: RssConfig) -> None:
    """Fills the maps as QEMU's ebpf/ebpf_rss.c does: redirect on, the key's first word in host order."""
    settings = struct.pack("=BBIHH", 1, 0, config.types, len(config.table), config.unclassified)
    maps["configurations"].update(0, settings)
    first = int.from_bytes(config.key[:4], "big")
    maps["toeplitz_key"].update(0, struct.pack("=I36s", first, config.key[4:40]))
    for index, queue in enumerate(config.table):
        maps["indirection_table"].update(index, struct.pack("=H", queue))
