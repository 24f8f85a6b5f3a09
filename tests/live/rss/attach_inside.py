# SPDX-License-Identifier: Apache-2.0
"""A network namespace with a TAP that this process has open, and `holdfast rss` at work on it from outside.

Run by test_attach.py as a process of its own, because a namespace is hard to leave. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from holdfast.cli.rss import command
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering
from holdfast.rss.qemu_tap import open_tap
from holdfast.rss.tap import _unshare_network
from holdfast.rss.terms import ALL_TUNNELS
from holdfast.rss.vectors import KEY, VECTORS

NAME = "tap.held"  # with a dot, which a pin must not have
VNET_HEADER = 10
FRAMES = [frame for vector in VECTORS for frame, _, _ in vector.frames()]


def holdfast(*words: str, as_nobody: bool = False) -> dict[str, object]:
    """What a command answers; the process that runs it has no queue of the TAP."""
    if as_nobody:
        return _as_nobody(list(words))
    called = [sys.executable, "-m", "holdfast.cli.main", "rss", *words, "--format", "json"]
    done = subprocess.run(called, capture_output=True, text=True)
    document = json.loads(done.stdout) if done.stdout else {}
    return {**document, "status": done.returncode, "error": done.stderr.strip()}


def _as_nobody(words: list[str]) -> dict[str, object]:
    # A fork, because another user may not be able to read this Python; what it imports is imported before.
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        try:
            for verb in ("show", "detach"):
                CliRunner().invoke(command, [verb, "lo", "--format", "json"])
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            ran = CliRunner().invoke(command, [*words, "--format", "json"])
            answer = (
                json.loads(ran.stdout) if ran.stdout else {"error": getattr(ran.exception, "message", "")}
            )
            os.write(sending, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as told:
        answered: dict[str, object] = json.load(told)
    os.waitpid(child, 0)
    return answered


def arrivals(fds: tuple[int, ...], sender: socket.socket) -> list[int | None]:
    poll, queues = select.poll(), []
    for fd in fds:
        poll.register(fd, select.POLLIN)
    for frame in FRAMES:
        sender.send(frame)
        found: int | None = None
        while found is None and (ready := poll.poll(1000)):
            for fd, _ in ready:
                if os.read(fd, 65536)[VNET_HEADER:] == frame:
                    found = fds.index(fd)
        queues.append(found)
    return queues


def expected(table: tuple[int, ...]) -> list[int]:
    # A list of any length is divided by its length, as a table is masked by its power of two.
    steering = Steering(RssConfig(KEY, tunnel_types=ALL_TUNNELS))
    return [table[(steering.classify(frame).hash or 0) % len(table)] for frame in FRAMES]


def main() -> None:
    _unshare_network()
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    held, told = open_tap(NAME, 4), {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((NAME, 0))
        told["before"] = holdfast("show", NAME)
        told["beyond"] = holdfast("attach", NAME, "--key", KEY.hex(), "--queues", "0,256")
        told["more_than_open"] = holdfast("attach", NAME, "--key", KEY.hex(), "--queues", "8")
        told["by_another"] = holdfast("show", NAME, as_nobody=True)
        told["by_another_detached"] = holdfast("detach", NAME, as_nobody=True)
        told["no_types"] = holdfast("attach", NAME, "--key", KEY.hex(), "--types", "none")
        told["steering"] = holdfast("attach", NAME, "--key", KEY.hex(), "--table", "3,1,0,2")
        told["steered"] = arrivals(held.fds, sender) == expected((3, 1, 0, 2))
        told["shown"] = holdfast("show", NAME)
        told["again"] = holdfast("attach", NAME, "--key", KEY.hex(), "--queues", "1,2", "--tunnel", "all")
        told["steered_again"] = arrivals(held.fds, sender) == expected((1, 2))
        told["tc"] = holdfast("attach", NAME, "--key", KEY.hex(), "--queues", "2,0,3", "--form", "tc")
        told["steered_by_tc"] = arrivals(held.fds, sender) == expected((2, 0, 3))
        told["tc_again"] = holdfast(
            "attach", NAME, "--key", KEY.hex(), "--queues", "3,0,1", "--form", "tc", "--tunnel", "vxlan"
        )
        told["steered_by_tc_again"] = arrivals(held.fds, sender) == expected((3, 0, 1))
        told["tc"] = holdfast("attach", NAME, "--key", KEY.hex(), "--queues", "2,0,3", "--form", "tc")
        told["steered_by_tc"] &= arrivals(held.fds, sender) == expected((2, 0, 3))
        told["shown_tc"] = holdfast("show", NAME)
        told["counts"] = [expected((2, 0, 3)).count(queue) for queue in range(4)]
        told["detached"] = holdfast("detach", NAME)
        told["detached_again"] = holdfast("detach", NAME)
        told["nothing_else"] = holdfast("attach", "lo", "--key", KEY.hex(), "--queues", "2")
        told["one_queue"] = holdfast("attach", "lo", "--key", KEY.hex(), "--queues", "2", "--form", "tc")
        told["too_many"] = holdfast("attach", NAME, "--key", KEY.hex(), "--queues", "0,999", "--form", "tc")
        told["left"] = holdfast("show", NAME)
        told["pinned"] = holdfast("attach", NAME, "--key", "random")
    held.close()
    # The device is gone, and its pins go with the next look at any device.
    told["pins_before"] = len(list(Path(str(told["pinned"]["pins"])).parent.glob(_mine())))
    second = open_tap("tapother", 2)
    holdfast("attach", "tapother", "--key", "random")
    told["pins"] = len(list(Path(str(told["pinned"]["pins"])).parent.glob(_mine())))
    holdfast("detach", "tapother")
    told["pins_after"] = len(list(Path(str(told["pinned"]["pins"])).parent.glob(_mine())))
    second.close()
    print(json.dumps(told))


def _mine() -> str:
    return f"{Path('/proc/thread-self/ns/net').stat().st_ino}_*"


if __name__ == "__main__":
    main()
