# SPDX-License-Identifier: Apache-2.0
"""QEMU command lines: which TAPs are found in them, and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.errors import UsageError
from holdfast.rss.qemu_command import Grant, QemuCommand, parse_options, typed

# What a QEMU 10 answers for virtio-net-pci, as far as it is used here.
TYPES = {
    "ebpf-rss-fds": "list",
    "disable-legacy": "OnOffAuto",
    "hash": "bool",
    "host_mtu": "uint16",
    "mac": "str",
    "mq": "bool",
    "netdev": "str",
    "rss": "bool",
    "speed": "int32",
    "vectors": "uint32",
    "x-max-bounce-buffer-size": "size",
}
GRANT = Grant((3, 4), (5, 6, 7, 8))


def granted(*words: str, grant: Grant = GRANT, types: dict[str, str] = TYPES) -> list[str]:
    command = QemuCommand.parse(["qemu", *words])
    return command.granted([grant] * len(command.interfaces), {"virtio-net-pci": types})[1:]


def device(words: list[str]) -> dict[str, Any]:
    found = json.loads(words[words.index("-device") + 1])
    assert isinstance(found, dict)
    return found


def test_the_usual_command_gets_descriptors() -> None:
    words = granted(
        "-m", "512", "-netdev", "tap,id=n0,ifname=vm7,script=no,downscript=no,queues=2,vhost=off",
        "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,host_mtu=0x5dc,disable-legacy=on",
        "-nographic",
    )  # fmt: skip
    assert words[:4] == ["-m", "512", "-netdev", "tap,id=n0,vhost=off,fds=3:4"]
    assert device(words) == {
        "driver": "virtio-net-pci",
        "netdev": "n0",
        "mac": "52:54:00:12:34:56",
        "host_mtu": 1500,
        "disable-legacy": "on",
        "mq": True,
        "vectors": 6,
        "rss": True,
        "ebpf-rss-fds": ["5", "6", "7", "8"],
    }
    assert words[-1] == "-nographic"


def test_what_the_command_says_is_found() -> None:
    words = ["qemu", "-smp", "cpus=3,cores=3", "--netdev", "tap,id=a,ifname=vm7,br=lan,queues=5"]
    command = QemuCommand.parse([*words, "--device", "virtio-net-pci,netdev=a"])
    (one,) = command.interfaces
    assert (one.id, one.driver, one.name, one.queues, one.bridge) == ("a", "virtio-net-pci", "vm7", 5, "lan")
    assert (command.processors, command.added, one.given) == (3, False, ())
    assert QemuCommand.parse(["qemu", "-smp", "4,maxcpus=8"]).processors == 4


def test_a_helper_means_its_bridge() -> None:
    words = ["qemu", "-netdev", "tap,id=a,helper=/usr/lib/qemu/qemu-bridge-helper"]
    (one,) = QemuCommand.parse([*words, "-device", "virtio-net,netdev=a"]).interfaces
    assert one.bridge == "br0"
    netdev, _ = one.granted(GRANT, TYPES)
    assert netdev == {"type": "tap", "id": "a", "fds": "3:4"}


def test_what_is_said_otherwise_stays() -> None:
    words = granted("-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0,vectors=4,mq=off")
    assert (device(words)["vectors"], device(words)["mq"]) == (4, False)
    # A transport without vectors gets none.
    rest = {name: kind for name, kind in TYPES.items() if name != "vectors"}
    words = granted("-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0", types=rest)
    assert "vectors" not in device(words)


def test_json_stays_json() -> None:
    netdev = '{"type":"tap","id":"n0","ifname":"vm7","queues":2}'
    words = granted("-netdev", netdev, "-device", '{"driver":"virtio-net-pci","netdev":"n0","mq":false}')
    assert json.loads(words[1]) == {"type": "tap", "id": "n0", "fds": "3:4"}
    assert device(words)["mq"] is False


def test_descriptors_of_ones_own_stay() -> None:
    words = granted(
        "-netdev", "tap,id=n0,fds=20:21:22,vhost=off", "-device", "virtio-net-pci,netdev=n0",
        grant=Grant((), (5, 6, 7, 8)),
    )  # fmt: skip
    assert words[1] == "tap,id=n0,fds=20:21:22,vhost=off"
    assert (device(words)["vectors"], device(words)["ebpf-rss-fds"]) == (8, ["5", "6", "7", "8"])


def test_without_a_program_qemu_is_left_to_itself() -> None:
    words = granted("-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0", grant=Grant((3, 4)))
    assert device(words)["rss"] is True and "ebpf-rss-fds" not in device(words)


def test_without_a_tap_one_is_added() -> None:
    command = QemuCommand.parse(["qemu", "-netdev", "user,id=u0", "-device", "e1000,netdev=u0"])
    assert command.added
    words = command.granted([GRANT], {"virtio-net-pci": TYPES})
    assert words[5:7] == ["-netdev", "tap,id=holdfast0,fds=3:4"]
    assert json.loads(words[8])["netdev"] == "holdfast0"


def test_several_taps_get_their_own_and_others_are_left_alone() -> None:
    words = ["qemu"]
    for name, driver in (("a", "virtio-net-pci"), ("b", "e1000"), ("c", "virtio-net-pci")):
        words += ["-netdev", f"tap,id={name}", "-device", f"{driver},netdev={name}"]
    command = QemuCommand.parse(words)
    assert [one.id for one in command.interfaces] == ["a", "c"]
    said = command.granted([Grant((3, 4)), Grant((5, 6))], {"virtio-net-pci": TYPES})
    assert (said[2], said[6], said[10]) == ("tap,id=a,fds=3:4", "tap,id=b", "tap,id=c,fds=5:6")
    assert said[8] == "e1000,netdev=b"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "there is no command"),
        (["qemu", "-netdev", "tap,id=n0"], "no virtio-net device has netdev=n0"),
        (["qemu", "-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0,rss=off"], "rss=off"),
        (["qemu", "-nic", "tap,model=virtio-net-pci"], "-nic or -net"),
        (["qemu", "-netdev", "{'no': json}"], "is no JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_nothing_can_be_steered(words: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        QemuCommand.parse(words)


def test_numbers_that_are_none() -> None:
    words = ["qemu", "-netdev", "tap,id=n0,queues=many", "-device", "virtio-net-pci,netdev=n0"]
    (one,) = QemuCommand.parse(words).interfaces
    with pytest.raises(UsageError, match="queues=many is no number"):
        _ = one.queues
    for text, problem in (("mq=perhaps", "neither on nor off"), ("host_mtu=big", "is no number")):
        with pytest.raises(UsageError, match=problem):
            granted("-netdev", "tap,id=n0", "-device", f"virtio-net-pci,netdev=n0,{text}")


def test_options_are_read_as_qemu_reads_them() -> None:
    assert parse_options("tap,id=n0,script=/a,,b,vhost", "type") == {
        "type": "tap", "id": "n0", "script": "/a,b", "vhost": "on",
    }  # fmt: skip
    assert parse_options("virtio-net-pci,nomq,mac=", "driver") == {
        "driver": "virtio-net-pci", "mq": "off", "mac": "",
    }  # fmt: skip
    assert parse_options("driver=virtio-net-pci", "driver") == {"driver": "virtio-net-pci"}


def test_values_in_their_types() -> None:
    assert [typed("bool", word, "x") for word in ("on", "yes", "off", "false")] == [True, True, False, False]
    assert [typed("size", word, "x") for word in ("4096", "4k", "1M")] == [4096, 4096, 1 << 20]
    assert typed("int32", "-1", "x") == -1
    assert typed("OnOffAuto", "on", "x") == "on"
    assert typed("bool", True, "x") is True
