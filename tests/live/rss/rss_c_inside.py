# SPDX-License-Identifier: Apache-2.0
"""A network namespace with a TAP of an ordinary user's, and the C program of docs/rss-c.md on it.

Run by test_rss_c.py: the folder with the compiled program and hand.py, the bundle, and ``inherit`` or
``socket``. Prints for each frame of the published vectors the queue where the program said that it arrived.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import queue
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from holdfast.rss.qemu_tap import open_tap
from holdfast.rss.tap import _unshare_network
from holdfast.rss.vectors import VECTORS

TUNSETPERSIST, TUNSETOWNER = 0x400454CB, 0x400454CC
NOBODY = 65534
PATIENCE = 30.0
PROBE = bytes(12) + b"\x88\xb5" + bytes(987)  # of an EtherType for experiments, and a length of its own
FRAMES = [frame for vector in VECTORS for frame, _, _ in vector.frames()]


def let_all_open_tun(folder: Path) -> None:
    """Give this process and its children a /dev/net/tun as distributions have it, for everybody."""
    libc = ctypes.CDLL(None, use_errno=True)
    node = folder / "tun"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 200))
    node.chmod(0o666)
    private, bind = 1 << 18 | 1 << 14, 1 << 12  # MS_PRIVATE | MS_REC, MS_BIND
    if (
        libc.unshare(0x20000)  # CLONE_NEWNS
        or libc.mount(None, b"/", None, private, None)
        or libc.mount(bytes(node), b"/dev/net/tun", None, bind, None)
    ):
        raise OSError(ctypes.get_errno(), "mount")


def main() -> None:
    folder, bundle, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    _unshare_network()
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    if not Path("/dev/net/tun").stat().st_mode & 0o002:
        let_all_open_tun(folder)
    made = open_tap("tapc", 4)
    fcntl.ioctl(made.fds[0], TUNSETPERSIST, 1)
    fcntl.ioctl(made.fds[0], TUNSETOWNER, NOBODY)
    made.close()
    hold = [sys.executable, "-m", "holdfast.cli.main", "run", bundle, "--"]
    monitor, helper = [str(folder / "monitor"), "tapc", "4"], None
    if how == "inherit":
        running = subprocess.Popen([*hold, *monitor], stdout=subprocess.PIPE, text=True)
    else:
        path = folder / "rss.sock"
        helper = subprocess.Popen([*hold, sys.executable, str(folder / "hand.py"), str(path)])
        while not path.exists() and helper.poll() is None:
            time.sleep(0.05)
        running = subprocess.Popen(
            [*monitor, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
    try:
        lines = said_by(running)
        assert lines.get(timeout=PATIENCE) == "ready\n"
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind(("tapc", 0))
            until_up(sender, lines)
            told = []
            for frame in FRAMES:
                sender.send(frame)
                while (words := lines.get(timeout=PATIENCE).split())[2] == str(len(PROBE)):
                    pass
                told.append(words)
    finally:
        for one in filter(None, (running, helper)):
            one.terminate()
            one.wait()
    assert [int(words[2]) for words in told] == [len(frame) for frame in FRAMES]
    print(json.dumps([int(words[1].rstrip(":")) for words in told]))


def said_by(running: subprocess.Popen[str]) -> queue.Queue[str]:
    lines: queue.Queue[str] = queue.Queue()

    def work() -> None:
        for line in running.stdout or ():
            lines.put(line)

    threading.Thread(target=work, daemon=True).start()
    return lines


def until_up(sender: socket.socket, lines: queue.Queue[str]) -> None:
    """A TAP gets its carrier some time after somebody opened it; until then frames are lost."""
    for _ in range(100):
        sender.send(PROBE)
        try:
            lines.get(timeout=PATIENCE / 100)
        except queue.Empty:
            continue
        return
    raise AssertionError("the TAP never came up")


if __name__ == "__main__":
    main()
