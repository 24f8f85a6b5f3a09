# SPDX-License-Identifier: Apache-2.0
"""The parts of a guest's root, put together and kept."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from tests.cpioreader import entries

from holdfast.vm import ahead, initramfs
from holdfast.vm.modules import Insertion

INSERTION = Insertion((("virtio", b"\x7fELF v"), ("dummy", b"\x7fELF d")), ())


class Counted:
    """In place of an interpreter: how often it was built."""

    built = 0

    def __init__(self, key: str) -> None:
        self.key = key

    def build(self) -> bytes:
        Counted.built += 1
        return b"archive " + self.key.encode()


@pytest.fixture(autouse=True)
def _parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(initramfs, "interpreter", lambda lean: Counted("python"))
    monkeypatch.setattr(initramfs, "packages", lambda *_: Counted("one"))
    monkeypatch.setattr(Counted, "built", 0)


def made() -> bytes:
    fd = initramfs.build("6.12", INSERTION, config="CONFIG_BPF=y\n", files={"/data/x": b"1"})
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def test_what_this_boot_alone_needs() -> None:
    start = b"archive pythonarchive one"
    content = made()
    assert content.startswith(start)
    files = {name: data for name, _, data in entries(content[len(start) :])}
    assert files["init"].startswith(b"#!/python -ISB\n")
    assert json.loads(files["holdfast/plan.json"])["modules"] == ["virtio", "dummy"]
    assert files["holdfast/modules/dummy.ko"] == b"\x7fELF d"
    assert files["boot/config-6.12"] == b"CONFIG_BPF=y\n"
    assert files["data/x"] == b"1"


def test_the_parts_are_kept_and_those_in_use_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert made() == made()
    assert Counted.built == 2
    for number in range(10):
        monkeypatch.setattr(initramfs, "packages", lambda *_, key=str(number): Counted(key))
        made()
    assert Counted.built == 12
    assert len(list((tmp_path / "holdfast/vm").glob("*.cpio"))) == initramfs._KEEP
    damaged = max((tmp_path / "holdfast/vm").glob("*.cpio"), key=lambda one: one.stat().st_mtime_ns)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    made()
    assert Counted.built == 13


def test_two_processes_build_one_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one builds, another one waits, and then finds it."""
    order: list[str] = []
    begun = threading.Event()

    class Slow(Counted):
        def build(self) -> bytes:
            begun.set()
            order.append("builds")
            second.join(0.2)  # it cannot end while this one builds
            order.append("built")
            return super().build()

    def wait_for_it() -> None:
        begun.wait()
        initramfs._archive(Counted("slow"))
        order.append("found")

    second = threading.Thread(target=wait_for_it)
    second.start()
    initramfs._archive(Slow("slow"))
    second.join()
    assert order == ["builds", "built", "found"] and Counted.built == 1


def test_what_is_there_is_not_built_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Builder:
        def __init__(self, line: list[str], **_: object) -> None:
            started.append(line)

        def __enter__(self) -> Builder:
            return self

        def __exit__(self, *_: object) -> None:
            started.append(["waited"])

        def kill(self) -> None:
            started.append(["killed"])

    monkeypatch.setattr(ahead.subprocess, "Popen", Builder)
    with ahead.root_ahead(["numpy"]):
        assert started[0][-1] == "numpy"
    assert started[1:] == [["waited"]]
    with pytest.raises(KeyboardInterrupt), ahead.root_ahead():
        raise KeyboardInterrupt
    assert started[-2:] == [["killed"], ["waited"]]
    started.clear()
    made()
    with ahead.root_ahead():
        assert not started
