# SPDX-License-Identifier: Apache-2.0
"""What surrounds QEMU's start: its answers, the maps' bytes, users, and the command's own words."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests import leftovers
from tests.conftest import lacks

from holdfast.bundle.manifest import read_manifest
from holdfast.cli.rss import command
from holdfast.elf import open_object
from holdfast.errors import InterfaceMismatchError, UsageError
from holdfast.history.contract import shipped_contracts
from holdfast.history.promises import layout_contradictions
from holdfast.rss.config import RssConfig
from holdfast.rss.qemu import BUNDLE
from holdfast.rss.qemu_ask import find, properties
from holdfast.rss.qemu_maps import MAPS, QemuSteering, descriptors, pack_config, pack_key, unpack_key
from holdfast.rss.qemu_tap import open_tap
from holdfast.rss.qemu_user import User, find_user
from holdfast.rss.shipped import bundle_path
from holdfast.rss.terms import HashType
from holdfast.rss.vectors import KEY
from holdfast.terms import MapFlag, MapType

# What the options of a device look like in QEMU 10, and in one that takes no descriptors.
HELP = """\
virtio-net-pci options:
  acpi-index=<uint32>    -  (default: 0)
  disable-legacy=<OnOffAuto> - on/off/auto (default: auto)
{fds}  mq=<bool>              - on/off (default: off)
  netdev=<str>           - ID of a netdev to use as a backend
  rss=<bool>             - on/off (default: off)
  vectors=<uint32>       -  (default: 4294967295)
"""


def fake(folder: Path, fds: str = "  ebpf-rss-fds=<list>    -  (default: [])\n") -> str:
    """A command that answers ``-device virtio-net-pci,help`` as QEMU does."""
    path = folder / "qemu-system-fake"
    known = HELP.format(fds=fds)
    path.write_text(
        f"#!/bin/sh\ncase $2 in virtio-net-pci,help) cat <<'E'\n{known}E\n;;\n"
        "*) echo \"'no-such' is not a valid device model name\" >&2; exit 1;; esac\n"
    )
    path.chmod(0o755)
    return str(path)


def test_properties_are_qemus_own_words(tmp_path: Path) -> None:
    found = properties(fake(tmp_path), "virtio-net-pci")
    assert found["mq"] == "bool" and found["vectors"] == "uint32" and found["ebpf-rss-fds"] == "list"


def test_a_qemu_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no descriptors for RSS") as caught:
        properties(fake(tmp_path, fds=""), "virtio-net-pci")
    assert "9.0 or newer" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="has no device no-such: 'no-such' is not a valid"):
        properties(fake(tmp_path), "no-such")
    with pytest.raises(UsageError, match="no such command"):
        find(str(tmp_path / "qemu"))


def test_the_maps_bytes() -> None:
    config = RssConfig(KEY, HashType.TCPv4 | HashType.IPv6, (0, 1, 2, 3), unclassified=0x0102)
    assert pack_config(config) == struct.pack("=BB", 1, 0) + struct.pack("=IHH", 0xA, 4, 0x0102)
    assert pack_config(config, redirect=False)[0] == 0
    assert pack_key(KEY)[4:] == KEY[4:]
    assert struct.unpack_from("=I", pack_key(KEY)) == (0x6D5A56DA,)
    assert unpack_key(pack_key(KEY)) == KEY


@dataclass
class Map:
    """As much of a loaded map as is looked at."""

    fd: int
    value_size: int
    max_entries: int
    type: MapType = MapType.ARRAY
    key_size: int = 4
    flags: MapFlag = MapFlag.MMAPABLE


class Loaded:
    def __init__(self, **changed: object) -> None:
        self.maps = {one.name: Map(20 + n, one.value_size, one.max_entries) for n, one in enumerate(MAPS)}
        for name, value in changed.items():
            setattr(self.maps["qemu_key"], name, value)

    def map(self, name: str, /) -> Map:
        return self.maps[name]

    def program(self, name: str, /) -> Map:
        assert name == "steer"
        return Map(10, 0, 0)


def test_descriptors_stand_in_qemus_order_and_are_checked() -> None:
    assert descriptors(Loaded()) == (10, 20, 21, 22)
    for changed in ({"value_size": 10}, {"max_entries": 2}, {"flags": MapFlag(0)}, {"type": MapType.HASH}):
        with pytest.raises(InterfaceMismatchError, match="'qemu_key' is not QEMU's"):
            descriptors(Loaded(**changed))


def test_settings_are_written_in_qemus_order() -> None:
    written: list[tuple[str, int, bytes]] = []

    class Written:
        def __init__(self, name: str) -> None:
            self.name = name

        def update(self, key: int, value: bytes, /) -> None:
            written.append((self.name, key, value))

    steering = QemuSteering(Written, 10)
    steering.configure(RssConfig(KEY, HashType.IPv4, (7, 8)))
    assert [one[:2] for one in written] == [
        ("qemu_config", 0), ("qemu_table", 0), ("qemu_table", 1), ("qemu_key", 0),
    ]  # fmt: skip
    assert written[2][2] == struct.pack("=H", 8)
    with pytest.raises(UsageError, match="256 entries"):
        steering.configure(RssConfig.spread(KEY, 4, length=256))


def test_manifest_and_objects_are_qemus() -> None:
    manifest = read_manifest(bundle_path(BUNDLE) / "holdfast.toml")
    assert [(one.name, one.value_size, one.max_entries) for one in manifest.maps] == [
        (one.name, one.value_size, one.max_entries) for one in MAPS
    ]
    contract = next(one for one in shipped_contracts() if one.name == BUNDLE)
    objects = sorted(bundle_path(BUNDLE).glob("*.bpf.o"))
    if not objects:
        lacks("the bundle net/rss-qemu is not compiled (make setup)")
    for path in objects:
        spec = open_object(path)
        assert spec.btf is not None
        assert list(layout_contradictions(contract, spec.btf)) == []
        sizes = {one.name: (one.value_size, one.max_entries) for one in spec.maps}
        assert {one.name: (one.value_size, one.max_entries) for one in MAPS}.items() <= sizes.items()


def test_users() -> None:
    known = find_user("nobody")
    assert known == find_user(str(known.uid)) and known.uid != 0 and known.groups
    assert find_user("54321") == User(54321, 54321)
    assert find_user(f"{known.uid}:12345") == User(known.uid, 12345)
    for text, problem in (("no-such-user", "no user"), ("nobody:no-such-group", "no group"), ("0", "user 0")):
        with pytest.raises(UsageError, match=problem):
            find_user(text)


def test_a_tap_that_cannot_be() -> None:
    for name, queues in (("x" * 16, 2), ("", 2), ("hfq0", 0), ("hfq0", 257)):
        with pytest.raises(UsageError, match="a TAP"):
            open_tap(name, queues)


def test_a_dry_run_prints_the_command_and_does_nothing(tmp_path: Path) -> None:
    words = [fake(tmp_path), "-smp", "3", "-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0"]
    before = leftovers.open_descriptors()
    ran = CliRunner().invoke(
        command, ["qemu", "--dry-run", "--software", "--", *words], standalone_mode=False
    )
    assert ran.exception is None and ran.return_value == 0
    assert "'tap,id=n0,fds=?:?:?'" in ran.output and '"vectors":8' in ran.output
    options = ["--dry-run", "--software", "--queues", "5", "--format", "json"]
    ran = CliRunner().invoke(command, ["qemu", *options, *words], standalone_mode=False)
    document = json.loads(ran.output)
    assert document["schema_version"] == 1 and document["dry_run"] is True and document["bundle"] is None
    assert document["command"][4] == "tap,id=n0,fds=?:?:?:?:?"
    assert leftovers.open_descriptors() == before
