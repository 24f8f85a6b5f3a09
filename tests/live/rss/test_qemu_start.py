# SPDX-License-Identifier: Apache-2.0
"""``holdfast rss qemu`` with a real QEMU that never boots anything: what it gets, and what stays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import lacks
from tests.docs.test_json import told
from tests.live.rss.qemuguests import NOBODY

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

TAP = "hfqemu1"
HOLDFAST = [sys.executable, "-m", "holdfast.cli.main", "rss", "qemu"]
IDLE = ["-machine", "none", "-nodefaults", "-display", "none", "-S"]
PATIENCE = 60.0  # seconds; one suffices on an idle machine


@pytest.fixture
def qemu() -> str:
    path = shutil.which("qemu-system-x86_64")
    if path is None:
        lacks("qemu-system-x86_64 is not installed")
    return path


def in_a_network(*words: str, first: str = "") -> list[str]:
    """The command in a network namespace of its own, after ``first`` as a shell takes it."""
    return ["unshare", "-n", "sh", "-c", f'{first or ":"} && exec "$@"', "sh", *words]


@contextmanager
def started(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def until_it_is_qemu(running: subprocess.Popen[str], maps: int) -> str:
    """Wait until the process has become QEMU and mapped so many BPF maps; return its /proc/PID/maps."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert running.poll() is None, running.stderr and running.stderr.read()
        mapped = Path(f"/proc/{running.pid}/maps").read_text()
        if "qemu-system" in Path(f"/proc/{running.pid}/comm").read_text() and mapped.count("bpf-map") == maps:
            return mapped
        time.sleep(0.05)
    raise AssertionError("it did not become QEMU")


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def test_qemu_has_four_descriptors_and_no_privilege(qemu: str) -> None:
    machine = ["-machine", "q35", "-m", "32", "-nodefaults", "-display", "none", "-S"]
    own = ["-netdev", f"tap,id=n0,ifname={TAP},script=no,queues=3", "-device", "virtio-net-pci,netdev=n0"]
    with started(in_a_network(*HOLDFAST, "--user", str(NOBODY), "--", qemu, *machine, *own)) as running:
        mapped = until_it_is_qemu(running, maps=3)
        assert len(re.findall(r" rw-s .*bpf-map", mapped)) == 3
        words = words_of(running.pid)
        assert re.fullmatch(r"tap,id=n0,fds=\d+:\d+:\d+", words[words.index("-netdev") + 1])
        status = Path(f"/proc/{running.pid}/status").read_text()
        assert re.search(rf"^Uid:(\t{NOBODY}){{4}}$", status, re.MULTILINE)
        assert re.findall(r"^Cap\w+:\t(\w+)$", status, re.MULTILINE) == ["0" * 16] * 5
        assert "NoNewPrivs:\t1" in status
        kinds = [str(one.readlink()) for one in Path(f"/proc/{running.pid}/fd").iterdir()]
        assert kinds.count("/dev/net/tun") == 3
        assert kinds.count("anon_inode:bpf-prog") == 1 and kinds.count("anon_inode:bpf-map") == 3
        assert TAP in Path(f"/proc/{running.pid}/net/dev").read_text()
        running.send_signal(signal.SIGTERM)
        # The second before QEMU has come to the point where it handles the signal.
        assert running.wait(PATIENCE) in (0, -signal.SIGTERM)
        assert running.stderr is not None
        assert f"{TAP}: 3 queues, steered by variant" in running.stderr.read()


def test_the_exit_status_is_qemus(qemu: str) -> None:
    with started(in_a_network(*HOLDFAST, "--", qemu, *IDLE, "-no-such-option", "x")) as running:
        assert running.stderr is not None
        said = running.stderr.read()
        assert running.wait(PATIENCE) == 1
        assert "steered by variant" in said and "no-such-option" in said


def test_without_bpf_qemu_is_left_to_hash_by_itself(qemu: str) -> None:
    # Root with no capability, who owns a TAP: what an ordinary user has, whom an administrator gave one.
    ip = shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    setpriv = shutil.which("setpriv")
    if ip is None or setpriv is None:
        lacks("ip or setpriv is not installed")
    first = f"{ip} tuntap add {TAP} mode tap multi_queue vnet_hdr user root && {ip} link set {TAP} up"
    bare = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    machine = ["-machine", "q35", "-m", "32", "-nodefaults", "-display", "none", "-S"]
    line = in_a_network(*bare, *HOLDFAST, "--tap", TAP, "--", qemu, *machine, first=first)
    with started(line) as running:
        until_it_is_qemu(running, maps=0)
        while "-device" not in words_of(running.pid):
            time.sleep(0.05)
        words = words_of(running.pid)
        assert "ebpf-rss-fds" not in words[-1] and '"rss":true' in words[-1]
        running.send_signal(signal.SIGTERM)
        running.wait(PATIENCE)
        assert running.stderr is not None
        said = running.stderr.read()
        assert f"{TAP}: 2 queues, steered by QEMU itself" in said and "CAP_BPF" in said


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--tap", "lo"], "it exists and is of another kind"),
        (["--bridge", "hfnone"], "there is no bridge 'hfnone'"),
        (["--user", "no-such-user"], "there is no user 'no-such-user'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(qemu: str, options: list[str], problem: str) -> None:
    ran = subprocess.run(
        in_a_network(*HOLDFAST, *options, "--", qemu, *IDLE), capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("holdfast: ") and problem in ran.stderr
    assert "Traceback" not in ran.stderr


def test_json_is_what_the_tables_say(qemu: str) -> None:
    machine = ["-machine", "q35", "-m", "32", "-nodefaults", "-display", "none", "-S"]
    own = ["-netdev", f"tap,id=n0,ifname={TAP},queues=3", "-device", "virtio-net-pci,netdev=n0"]
    line = [*HOLDFAST, "--format", "json", "--", qemu, *machine, *own]
    with started(in_a_network(*line)) as running:
        until_it_is_qemu(running, maps=3)
        running.send_signal(signal.SIGTERM)
        running.wait(PATIENCE)
        assert running.stderr is not None
        # QEMU may say something behind it.
        document, _ = json.JSONDecoder().raw_decode(running.stderr.read())
    assert set(document) == told("holdfast rss qemu")
    (interface,) = document["interfaces"]
    assert set(interface) == told("rss qemu: interfaces")
    assert (interface["tap"], interface["queues"], interface["made"]) == (TAP, 3, True)
    assert interface["variant"] == interface["outcome"]["variant"]
    ran = subprocess.run([*HOLDFAST, "--dry-run", *line[len(HOLDFAST) :]], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    draft = json.loads(ran.stdout)
    assert set(draft) == told("holdfast rss qemu") - {"interfaces"} | {"dry_run", "bundle"}
    assert draft["dry_run"] is True and "fds=?:?:?" in " ".join(draft["command"])
    assert set(draft["bundle"]) == told("check: bundles")
