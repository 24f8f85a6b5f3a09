# SPDX-License-Identifier: Apache-2.0
"""A network namespace with a veth pair and a macvtap, and rules of tc on them.

Run by test_tc_devices.py as a process of its own, because a namespace is hard to leave. Prints one JSON
document.

    veth_inside.py IP
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

import holdfast
from holdfast.errors import HoldfastError
from holdfast.rss.attach import attach
from holdfast.rss.config import RssConfig
from holdfast.rss.shipped import bundle_path
from holdfast.rss.tap import _unshare_network
from holdfast.rss.tc import TcRule, TcSteering
from holdfast.rss.vectors import KEY, VECTORS

QUEUES = 4
RULE = TcRule(1, KEY, (2, 0, 3), unclassified=1)
SOL_PACKET, PACKET_FANOUT, PACKET_FANOUT_QM = 263, 18, 5
ETH_P_ALL = 3


def receivers(device: str) -> list[socket.socket]:
    """A packet socket for each receive queue, by what the kernel recorded in the frame."""
    made = []
    for _ in range(QUEUES):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        one.bind((device, ETH_P_ALL))
        one.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("=HH", 7, PACKET_FANOUT_QM))
        one.settimeout(0.05)
        made.append(one)
    return made


def where(got: list[socket.socket], frame: bytes) -> int | None:
    """The queue that the frame came out of."""
    found = None
    for number, one in enumerate(got):
        try:
            while True:
                if one.recv(2048) == frame:
                    found = number
        except TimeoutError:
            pass
    return found


def main() -> None:
    ip = sys.argv[1]
    _unshare_network()
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    told: dict[str, object] = {}
    queues = f"numtxqueues {QUEUES} numrxqueues {QUEUES}"
    for words in (
        f"link add left {queues} type veth peer name right {queues}",
        "link set left up",
        "link set right up",
    ):
        subprocess.run([ip, *words.split()], check=True)
    outcome = holdfast.run(bundle_path("net/rss-tc"))
    with outcome, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind(("left", 0))
        got = receivers("right")
        with TcSteering("left", outcome) as tc:
            tc.add(RULE)
            told["qdisc"] = tc.qdisc
            wrong = []
            for vector in VECTORS:
                for frame, _, value in vector.frames():
                    sender.send(frame)
                    queue = where(got, frame)
                    if queue != RULE.queue_of(value):
                        wrong.append([frame.hex(), queue, RULE.queue_of(value)])
            told["wrong"] = wrong
            tc.detach()
        for one in got:
            one.close()
        words = f"link add link left name mactap {queues} type macvtap mode bridge"
        told["macvtap"] = subprocess.run([ip, *words.split()], check=False).returncode == 0
        try:
            with TcSteering("mactap", outcome) as tc:
                tc.add(RULE)
                tc.detach()
            told["refused"] = None
        except HoldfastError as error:
            told["refused"] = [error.message, error.hint]
        try:
            attach("mactap", RssConfig(KEY))
            told["refused_steering"] = None
        except HoldfastError as error:
            told["refused_steering"] = [error.message, error.hint]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
