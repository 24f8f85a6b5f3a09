# SPDX-License-Identifier: Apache-2.0
"""Rules of tc on a TAP: keys, lists and types of each honoured; flower is for guests that have it."""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
from collections.abc import Iterator

import pytest
from tests import rssframes

import holdfast
from holdfast.errors import KernelAccessError, UsageError
from holdfast.load import Object, open_object
from holdfast.rss import reference
from holdfast.rss.prove_tc import prepare, prove
from holdfast.rss.shipped import bundle_path
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.tc import Match, TcRule, TcSteering
from holdfast.rss.terms import ALL_TUNNELS, HashType, TunnelType
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.rss.vectors import KEY, VECTORS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

FRAMES = [(frame, kind, value) for vector in VECTORS for frame, kind, value in vector.frames()]
TC_ACT_OK, TC_ACT_UNSPEC = 0, 0xFFFFFFFF


@pytest.fixture(scope="module", params=["dynptr", "helpers"])
def program(request: pytest.FixtureRequest, live: object) -> Iterator[Object]:
    with open_object(bundle_path("net/rss-tc") / f"{request.param}.bpf.o") as loaded:
        yield loaded


@pytest.fixture
def namespace(tap: MultiqueueTap) -> Iterator[int]:
    fd = fcntl.ioctl(tap.fds[0], 0x894C)  # SIOCGSKNS
    yield fd
    os.close(fd)


@pytest.fixture
def tc(program: Object, tap: MultiqueueTap, namespace: int) -> Iterator[TcSteering]:
    with TcSteering(tap.name, program, namespace=namespace) as steering:
        yield steering
        steering.detach()


def test_lists_of_any_length(tc: TcSteering, tap: MultiqueueTap) -> None:
    for queues in ((2,), (3, 0), (2, 0, 1), (1, 3, 3, 0, 2, 2, 1), tuple(index % 4 for index in range(512))):
        tc.add(TcRule(7, KEY, queues))
        assert [tap.deliver(frame) for frame, _, _ in FRAMES] == [
            queues[value % len(queues)] for _, _, value in FRAMES
        ], queues


def test_each_rule_has_its_key_types_and_list(tc: TcSteering, tap: MultiqueueTap) -> None:
    other = bytes(range(40))
    tc.add(TcRule(1, other, (0, 1), types=HashType.TCPv4 | HashType.IPv6))
    tc.add(TcRule(2, KEY, (2, 3), types=HashType.UDPv6, unclassified=1))
    for frame, _, _ in FRAMES:
        packet = reference.dissect(frame)
        for types, key, queues in (
            (HashType.TCPv4 | HashType.IPv6, other, (0, 1)),
            (HashType.UDPv6, KEY, (2, 3)),
        ):
            kind, data = reference.select(packet, types)
            if kind:
                wanted = queues[reference.toeplitz(key, data) % 2]
                break
        else:
            wanted = 1
        assert tap.deliver(frame) == wanted


def test_more_rules_than_32_and_what_the_kernel_says_of_them(tc: TcSteering) -> None:
    rules = [TcRule(number, bytes((number,)) * 40, (number % 4, 1, 2)) for number in range(1, 65)]
    for rule in reversed(rules):
        tc.add(rule)
    assert tc.rules() == rules
    for rule in rules[::2]:
        tc.remove(rule.number)
    assert tc.rules() == rules[1::2]
    with pytest.raises(UsageError, match="no tc rule 1"):
        tc.remove(1)


def test_a_queue_that_the_device_has_not_is_refused(tc: TcSteering) -> None:
    with pytest.raises(UsageError, match="queue 256"):
        tc.add(TcRule(1, KEY, (0, 256)))
    assert tc.rules() == []


def test_a_match_is_flower_or_a_word_of_what_is_missing(tc: TcSteering, tap: MultiqueueTap) -> None:
    rule = TcRule(1, KEY, (3,), match=Match(ip=4, protocol="tcp"))
    tc.add(TcRule(2, KEY, (1,)))
    try:
        tc.add(rule)
    except KernelAccessError as error:
        assert error.hint is not None and "cls_flower" in error.hint
        assert [one.number for one in tc.rules()] == [2]
        return
    assert tc.rules()[0] == rule
    assert [tap.deliver(frame) for frame, _, _ in FRAMES] == [
        3 if kind is HashType.TCPv4 else 1 for _, kind, _ in FRAMES
    ]


def test_the_device_chooses_again_when_it_is_gone(
    program: Object, tap: MultiqueueTap, namespace: int
) -> None:
    with TcSteering(tap.name, program, namespace=namespace) as first:
        first.add(TcRule(1, KEY, (3,)))
        assert {tap.deliver(frame) for frame, _, _ in FRAMES} == {3}
    # The rules stay when the one who made them leaves, and the next one finds them.
    with TcSteering(tap.name, program, namespace=namespace) as second:
        assert [one.number for one in second.rules()] == [1]
        assert {tap.deliver(frame) for frame, _, _ in FRAMES} == {3}
        second.detach()
    assert {tap.deliver(frame) for frame, _, _ in FRAMES} != {3}


@pytest.fixture(scope="module", params=itertools.product(("rss-tc", "rss-tc-tunnel"), ("dynptr", "helpers")))
def either(request: pytest.FixtureRequest, live: object) -> Iterator[tuple[Object, bool]]:
    """Each variant of both bundles, and whether it looks into tunnels."""
    bundle, variant = request.param
    with open_object(bundle_path(f"net/{bundle}") / f"{variant}.bpf.o") as loaded:
        yield loaded, "tunnel" in bundle


def test_many_frames_equal_the_reference(either: tuple[Object, bool]) -> None:
    program, inner = either
    # By test runs, where no filter sets the class: it is 0, so rule 0 stands for it.
    pick = rssframes.Seeded(2302)
    run = program.program("rss_tc").test_run
    before = _counts(program)
    for _ in range(20):
        types, key = rssframes.types(pick), pick.blob(40, 40)
        tunnels = rssframes.tunnels(pick) if inner else TunnelType.NONE
        # The least significant bit is where queues 4 and 5 part; the rest of the hash is for the TAP to show.
        program.map("rss_tc_rules").update(0, TcRule(1, key, (4, 5), types, None, None, tunnels).pack(256))
        count = [0, 0]
        for _ in range(rssframes.COUNT // 100):
            frame = rssframes.frame(pick)
            if len(frame) < 14 + {b"\x08\x00": 20, b"\x86\xdd": 40}.get(frame[12:14], 1):
                continue
            kind, data = reference.select(reference.dissect(frame, tunnels), types)
            wanted = TC_ACT_OK if kind else TC_ACT_UNSPEC
            if kind:
                count[reference.toeplitz(key, data) & 1] += 1
            assert run(frame, data_out_size=0).return_value & 0xFFFFFFFF == wanted, frame.hex()
            after = _counts(program)
            assert [new - old for new, old in zip(after, before, strict=True)] == count, frame.hex()
        before = _counts(program)
    program.map("rss_tc_rules").delete(0)


def _counts(program: Object) -> list[int]:
    packets = program.map("rss_tc_packets")
    return [
        sum(struct.unpack("=Q", one)[0] for one in packets.lookup_per_cpu(queue) or ()) for queue in (4, 5)
    ]


def test_the_proof_of_the_bundle() -> None:
    with holdfast.run(bundle_path("net/rss-tc")) as outcome:
        proved = prove(outcome, prepare())
    assert proved.works, proved.line


def test_tunnels_of_a_program_that_knows_none_are_refused(tc: TcSteering) -> None:
    with pytest.raises(UsageError, match="does not hash inside tunnels") as caught:
        tc.add(TcRule(1, KEY, (0, 1), tunnel_types=TunnelType.VXLAN))
    assert caught.value.hint is not None and "net/rss-tc-tunnel" in caught.value.hint
    assert tc.rules() == []


@pytest.mark.parametrize("variant", ["dynptr", "helpers"])
def test_inner_headers(tap: MultiqueueTap, namespace: int, variant: str) -> None:
    with (
        open_object(bundle_path("net/rss-tc-tunnel") / f"{variant}.bpf.o") as loaded,
        TcSteering(tap.name, loaded, namespace=namespace, supported_tunnel_types=ALL_TUNNELS) as steering,
    ):
        rule = TcRule(1, KEY, (2, 0, 3), unclassified=1, tunnel_types=ALL_TUNNELS ^ TunnelType.GENEVE)
        steering.add(rule)
        assert steering.rules() == [rule]
        for frame in random_tunnels(rssframes.COUNT // 10, 12):
            kind, data = reference.select(reference.dissect(frame, rule.tunnel_types), rule.types)
            wanted = rule.queue_of(reference.toeplitz(KEY, data)) if kind else 1
            assert tap.deliver(frame) == wanted, frame.hex()
        steering.detach()
