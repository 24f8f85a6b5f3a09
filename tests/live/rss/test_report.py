# SPDX-License-Identifier: Apache-2.0
"""Hash reporting on a real TAP: does each frame come with its hash, whatever way it took."""

from __future__ import annotations

import fcntl
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count, islice, pairwise, product
from typing import Any

import pytest
from tests import rssframes, tapegress
from tests.live.rss.conftest import LEVELS, Objects, load_build
from tests.live.rss.test_variants import runs as runs_by_itself

from holdfast import load
from holdfast import sys as kernel
from holdfast.errors import UsageError
from holdfast.load.netns import in_network_namespace
from holdfast.load.tc import attach_egress
from holdfast.rss import frames, report_prove
from holdfast.rss.config import RssConfig
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.report import Received, Reporting, ReportReader, Rung
from holdfast.rss.report_ask import interface_index, where
from holdfast.rss.report_prove import Expected, expected, open_sender, super_packet
from holdfast.rss.report_wire import template, without_prefix
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TUNNELS, HashReport, TunnelType
from holdfast.rss.traffic import random_frames
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.rss.vectors import KEY, VECTORS
from holdfast.terms import ProgramType

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

VARIANTS = ("dynptr", "helpers")
COOKIE = 0x0BADCAFE
CONFIG = RssConfig.spread(KEY, 4, unclassified=3)
FRAME = VECTORS[0].frames()[0][0]
VALUE = VECTORS[0].ports_hash
HOOKS = (True, False)  # tcx, clsact
OTHER_BUILDS = [each for each in product(VARIANTS, LEVELS) if each[1] != "v2"]
TUNSETOFFLOAD, SIOCSIFMTU = 0x400454D0, 0x8922
CSUM, TSO4, TSO6, USO4, USO6 = 0x01, 0x02, 0x04, 0x20, 0x40


class Runs:
    """An object in the place of an outcome; ``swap`` puts one program in the place of another."""

    is_fallback = False

    def __init__(self, loaded: load.Object, **swap: str) -> None:
        self.map = loaded.map
        self._loaded = loaded
        self._swap = swap

    def program(self, name: str) -> Any:
        return self._loaded.program(self._swap.get(name, name))


@pytest.fixture(params=VARIANTS, scope="module")
def runs(request: pytest.FixtureRequest, live: object, objects: Objects) -> Iterator[Runs]:
    """Each variant, loaded."""
    with load_build(f"rss-report/{request.param}/v2", objects) as loaded:
        yield Runs(loaded)


@pytest.fixture
def tap() -> Iterator[MultiqueueTap]:
    with MultiqueueTap(4, header=12) as opened:
        yield opened


def everything(reporting: Reporting) -> list[Received]:
    """What waits in all queues."""
    got: list[Received] = []
    for queue in range(4):
        while batch := reporting.read_batch(queue):
            got += batch
    return got


def push_tag(proto: int, tci: int) -> bytes:
    """As in tapegress, but with TCX_NEXT: what returns TCX_PASS keeps later programs from running."""
    end = tapegress.insn(0xB7, 0, immediate=-1) + tapegress.insn(0x95)
    return tapegress.push_tag(proto, tci)[: -len(end)] + end


def assert_right(got: Received, config: RssConfig = CONFIG, *, queue: bool = True) -> None:
    """Judge a frame by itself, by the reference."""
    one = expected(config, got.frame)
    assert (got.hash_value, got.hash_report) == (one.value, one.report), (got, got.frame[:100].hex())
    assert not queue or got.queue == one.queue % 4, (got.rung, got.frame[:100].hex())


@pytest.fixture(scope="module")
def rounds() -> list[dict[str, Any]]:
    return report_prove.prepare()


def test_the_proof(runs: Runs, rounds: list[dict[str, Any]]) -> None:
    proved = report_prove.prove(runs, rounds)
    assert proved.works, proved.line
    assert proved.details["rungs"]["bpf"] > 3000 and proved.details["rungs"]["user space"] == 216


def test_the_proof_sees_what_is_wrong(runs: Runs, rounds: list[dict[str, Any]]) -> None:
    (first, *_) = rounds
    values = bytearray(first["values"])
    values[0] ^= 1
    reports = bytearray(first["reports"])
    reports[1] ^= 1
    proved = report_prove.prove(runs, [{**first, "values": bytes(values), "reports": bytes(reports)}])
    assert proved.works is False
    assert (proved.counts[0].right, len(proved.wrong)) == (22, 2)


class Fallback:
    is_fallback = True


def test_the_proof_without_bpf(rounds: list[dict[str, Any]]) -> None:
    proved = report_prove.prove(Fallback(), rounds)  # type: ignore[arg-type]
    assert proved.works, proved.line
    assert proved.details["rung"] == "user space" and proved.details["rungs"]["bpf"] == 0


@cache
def many(inner: bool) -> list[tuple[RssConfig, list[Expected]]]:
    """5000 frames or more under 50 settings, with tunnels if ``inner``, each with what the reference says."""
    pick = rssframes.Seeded(77)
    rounds = []
    for _ in range(50):
        config = rssframes.config(pick, inner=inner)
        endless = (rssframes.frame(pick) for _ in count())
        chosen = islice(filter(runs_by_itself, endless), rssframes.COUNT // 50)
        rounds.append((config, [expected(config, frame) for frame in chosen]))
    return rounds


@pytest.mark.parametrize("bundle", ["rss-report", "rss-report-tunnel"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_many_frames_equal_the_reference(objects: Objects, bundle: str, variant: str) -> None:
    """All 32 bits of the hash, the type, and the frame: BPF_PROG_TEST_RUN gives back what a TAP would."""
    inner = bundle.endswith("tunnel")
    wrong = []
    with load_build(f"{bundle}/{variant}/v2", objects) as loaded:
        loaded.map("report_config").update(0, template(COOKIE))
        report, supported = loaded.program("report"), ALL_TUNNELS if inner else TunnelType.NONE
        fd = loaded.program("steer").fd
        steering = KernelSteering(loaded.map, fd, supported_tunnel_types=supported)
        for config, judged in many(inner):
            steering.configure(config)
            for one in judged:
                got = without_prefix(report.test_run(one.data).data, COOKIE)
                if got != (one.value, one.report, one.data):
                    wrong.append((one.data.hex(), got and got[:2], (one.value, one.report), config))
    assert not wrong, f"{len(wrong)} of {rssframes.COUNT}, the first: {wrong[0]}"


def test_frames_of_the_grammar(runs: Runs, tap: MultiqueueTap) -> None:
    pick = rssframes.Seeded(78)
    with Reporting(tap.fds, CONFIG, runs) as reporting:
        for _ in range(rssframes.COUNT // 10):
            frame = rssframes.frame(pick)
            tap.send(frame)
            (got,) = everything(reporting)
            assert (got.frame, got.rung) == (frame, Rung.BPF)
            assert_right(got)


def test_frames_in_pages(runs: Runs, tap: MultiqueueTap) -> None:
    # All but MAC header and tags lies outside the linear part of the skb.
    tapegress.allow_large_frames(tap)
    pick = rssframes.Seeded(79)
    with Reporting(tap.fds, CONFIG, runs) as reporting:
        for _ in range(rssframes.COUNT // 50):
            frame = rssframes.frame(pick).ljust(tapegress.PAGED, b"\xa5")
            tap.send(frame)
            (got,) = everything(reporting)
            assert (got.frame, got.rung) == (frame, Rung.BPF)
            assert_right(got)


@pytest.mark.parametrize(("variant", "level"), OTHER_BUILDS)
def test_every_level_of_instructions(objects: Objects, tap: MultiqueueTap, variant: str, level: str) -> None:
    with (
        load_build(f"rss-report/{variant}/{level}", objects) as loaded,
        Reporting(tap.fds, CONFIG, Runs(loaded)) as reporting,
    ):
        for frame in random_frames(200, 5):
            tap.send(frame)
            (got,) = everything(reporting)
            assert (got.frame, got.rung) == (frame, Rung.BPF)
            assert_right(got)


@pytest.mark.parametrize(("tcx", "header"), list(product(HOOKS, (0, 10, 20))))
def test_hooks_and_headers(runs: Runs, tcx: bool, header: int) -> None:
    with MultiqueueTap(4, header=header) as tap, Reporting(tap.fds, CONFIG, runs, tcx=tcx) as reporting:
        assert (reporting.rung, reporting.how) == (Rung.BPF, "tcx" if tcx else "clsact")
        assert reporting.why == ("kernel: it has no hash reporting for TAPs",)
        tap.send(FRAME)
        (got,) = everything(reporting)
        assert (got.frame, got.hash_value, got.hash_report) == (FRAME, VALUE, HashReport.TCPv4)
        assert len(got.header) == 20 and got.header[:10] == bytes(10)


def test_a_hash_of_zero_is_no_missing_hash(runs: Runs, tap: MultiqueueTap) -> None:
    # A key of zeros makes every hash 0. Queue 0 is not the one for what is not hashed.
    config = RssConfig(bytes(40), table=(1, 1), unclassified=2)
    with Reporting(tap.fds, config, runs) as reporting:
        tap.send(FRAME)
        tap.send(frames.ethernet(bytes(46), ethertype=0x0806))
        hashed, other = everything(reporting)
    assert (hashed.hash_value, hashed.hash_report, hashed.queue) == (0, HashReport.TCPv4, 1)
    assert (other.hash_value, other.hash_report, other.queue) == (0, HashReport.NONE, 2)


def test_the_highest_queue(runs: Runs, tap: MultiqueueTap) -> None:
    # 65535 is the one number that tc cannot write into skb->queue_mapping.
    with Reporting(tap.fds, RssConfig(KEY, table=(65535,)), runs) as reporting:
        tap.send(FRAME)
        assert [one.queue for one in everything(reporting)] == [65535 % 4]


def test_a_steering_program_of_two_instructions(runs: Runs, tap: MultiqueueTap) -> None:
    # return skb->hash: what tc worked out is there for any steering program.
    insns = struct.pack("=BBhi", 0x61, 0x10, 68, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    loaded = kernel.prog_load(ProgramType.SOCKET_FILTER, insns)
    assert loaded.fd is not None, loaded.log
    with loaded.fd, Reporting(tap.fds, CONFIG, runs) as reporting:
        tap.set_steering(loaded.fd.fileno())
        for vector in VECTORS:
            for frame, _, value in vector.frames():
                tap.send(frame)
                (got,) = everything(reporting)
                assert (got.queue, got.hash_value) == ((value & 0xFFFF) % 4, value)


@pytest.mark.parametrize("proto", [0x8100, 0x88A8])
def test_tags_in_metadata(runs: Runs, tap: MultiqueueTap, proto: int) -> None:
    tag = proto.to_bytes(2, "big") + b"\x20\x07"
    with (
        tapegress.egress(tap, push_tag(proto, 0x2007)),
        Reporting(tap.fds, CONFIG, runs) as reporting,
    ):
        # The last has two tags of its own: with the third nobody finds its addresses.
        for vlans in ([], [(0x8100, 5)], [(0x88A8, 5), (0x8100, 6)]):
            packet = frames.ipv4("10.0.0.1", "10.0.0.2", frames.TCP, frames.tcp(1, 2))
            frame = frames.ethernet(packet, vlans=vlans)
            tap.send(frame)
            (got,) = everything(reporting)
            assert (got.frame, got.rung) == (frame[:12] + tag + frame[12:], Rung.BPF)
            assert_right(got)
            assert got.hash_report == (HashReport.NONE if len(vlans) == 2 else HashReport.TCPv4)


def test_tags_in_metadata_of_what_has_no_prefix(runs: Runs, tap: MultiqueueTap) -> None:
    raise_mtu(tap)
    push = tapegress.egress(tap, push_tag(0x8100, 7))
    with push, Reporting(tap.fds, CONFIG, runs) as reporting:
        packet = frames.ipv4("10.0.0.1", "10.0.0.2", frames.UDP, frames.udp(1, 2, bytes(16060)))
        for vlans in ([], [(0x8100, 5)], [(0x88A8, 5), (0x8100, 6)]):
            tap.send(frames.ethernet(packet, vlans=vlans))
            (got,) = everything(reporting)
            assert got.rung is Rung.USER
            assert_right(got)


def raise_mtu(tap: MultiqueueTap, mtu: int = 17000) -> None:
    fcntl.ioctl(tap._sender, SIOCSIFMTU, struct.pack("16si20x", tap.name.encode(), mtu))


def test_the_longest_frame_with_a_prefix(runs: Runs, tap: MultiqueueTap) -> None:
    raise_mtu(tap)
    rungs = []
    with Reporting(tap.fds, CONFIG, runs) as reporting:
        for size in range(15900, 16200, 4):
            tap.send(frames.ethernet(frames.ipv4("10.0.0.1", "10.0.0.2", 17, frames.udp(1, 2, bytes(size)))))
            (got,) = everything(reporting)
            assert_right(got)
            rungs.append(got.rung)
    assert set(rungs) == {Rung.BPF, Rung.USER}
    assert rungs == sorted(rungs, key=list(Rung).index)


@pytest.mark.parametrize(("version", "size"), [(4, 3000), (4, 20000), (6, 20000), (4, 60000), (4, 65400)])
@pytest.mark.parametrize("offload", [0, CSUM, CSUM | TSO4 | TSO6])
def test_packets_to_be_segmented(
    runs: Runs, tap: MultiqueueTap, version: int, size: int, offload: int
) -> None:
    fcntl.ioctl(tap.fds[0], TUNSETOFFLOAD, offload)
    packet, header = super_packet(version, size)
    start = 54 if version == 4 else 74
    one = expected(CONFIG, packet)
    with Reporting(tap.fds, CONFIG, runs) as reporting, open_sender(tap, headers=True) as sender:
        sender.send(header + packet)
        got = everything(reporting)
        assert {each.rung for each in got} == {Rung.BPF}
        assert b"".join(each.frame[start:] for each in got) == packet[start:]
        assert {(each.hash_value, each.hash_report, each.queue) for each in got} == {
            (one.value, one.report, one.queue)
        }
        for each in got:
            flags, gso_type, _, gso_size, csum_start, csum_offset = struct.unpack_from("<BBHHHH", each.header)
            assert (flags, csum_start, csum_offset) == ((1, start - 20, 16) if offload else (0, 0, 0))
            whole = len(got) == 1
            assert (gso_type, gso_size) == (((1 if version == 4 else 4), 1448) if whole else (0, 0))
            assert checksum(each.frame, start - 20, partial=bool(offload)) == 0
        assert (len(got) == 1) == (offload & TSO4 != 0 and size + start + 12 < 65536)


def checksum(frame: bytes, at: int, *, partial: bool) -> int:
    """What is left of a TCP checksum that adds up; 0 where only that of the pseudo header is there."""
    if partial:
        return 0
    addresses: bytes = frame[26:34] if frame[12:14] == b"\x08\x00" else frame[22:54]
    segment = frame[at:]
    data = addresses + struct.pack("!II", len(segment), 6) + segment + bytes(len(segment) % 2)
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def test_datagrams_to_be_segmented(runs: Runs, tap: MultiqueueTap) -> None:
    packet = frames.ethernet(frames.ipv4("10.0.0.1", "10.0.0.2", 17, frames.udp(1, 2, bytes(8000))))
    header = struct.pack("=BBHHHH", 1, 5, 42, 1448, 34, 6)
    with Reporting(tap.fds, CONFIG, runs) as reporting, open_sender(tap, headers=True) as sender:
        for offload in (0, CSUM | TSO4 | TSO6 | USO4 | USO6):
            fcntl.ioctl(tap.fds[0], TUNSETOFFLOAD, offload)
            sender.send(header + packet)
            got = everything(reporting)
            assert len(got) == (1 if offload else 6)
            assert {(each.hash_report, each.rung) for each in got} == {(HashReport.UDPv4, Rung.BPF)}
            for each in got:
                assert_right(each)


def test_what_looks_like_a_prefix(runs: Runs, tap: MultiqueueTap) -> None:
    forged = struct.pack("<IBBHI", 1, 2, 0, len(FRAME), 0) + FRAME
    with Reporting(tap.fds, CONFIG, runs) as reporting, open_sender(tap, bypass=True) as sender:
        sender.send(forged)
        (got,) = everything(reporting)
        assert (got.frame, got.rung, got.hash_report) == (forged, Rung.USER, HashReport.NONE)


@pytest.mark.parametrize("tcx", HOOKS)
def test_under_load_with_losses_and_in_any_order(runs: Runs, tap: MultiqueueTap, tcx: bool) -> None:
    """Four senders, past tc and not, and a reader that comes late; each frame is judged by itself."""
    flows = list(random_frames(600, 7))
    judged = {data: expected(CONFIG, data) for data in flows}

    overflown = threading.Barrier(5)

    def pour(number: int) -> None:
        chance = random.Random(number)
        for turn in range(6):
            if turn == 4:
                overflown.wait(60)
            for at in range(len(flows)):
                try:
                    chance.choice(senders).send(flows[(at * (2 * number + 1) + turn) % len(flows)])
                except OSError:  # past tc, a full queue is told
                    pass

    with Reporting(tap.fds, CONFIG, runs, tcx=tcx) as reporting:
        senders = [open_sender(tap, bypass=bypass) for bypass in (True, False, False)]
        threads = [threading.Thread(target=pour, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        # Four queues hold 500 each, a qdisc before them may hold some more, and 9600 frames are under way:
        # some are lost for sure.
        overflown.wait(60)
        got: list[Received] = []
        for turn in count():
            got += reporting.read_batch(turn % 4, 8)
            if not any(thread.is_alive() for thread in threads):
                break
        for thread in threads:
            thread.join()
        got += everything(reporting)
        for sender in senders:
            sender.close()
    assert 1000 < len(got) < 4 * 6 * len(flows) - 400
    # Frames that came past tc are among the others in each queue, so no order is any sender's.
    for queue in range(4):
        rungs = [one.rung for one in got if one.queue == queue]
        assert sum(one is not other for one, other in pairwise(rungs)) > 20, rungs
    for one in got:
        wanted = judged[one.frame]
        assert (one.hash_value, one.hash_report, one.queue) == (wanted.value, wanted.report, wanted.queue)
    assert sum(reporting.counts.values()) == len(got)


@pytest.mark.parametrize("tcx", HOOKS)
def test_nothing_is_left(live: object, objects: Objects, tap: MultiqueueTap, tcx: bool) -> None:
    before = set(kernel.ids("prog"))
    with load_build("rss-report/helpers/v2", objects) as loaded:
        mine = {program.id for program in loaded.programs.values()}
        reporting = Reporting(tap.fds, CONFIG, Runs(loaded), tcx=tcx)
        tap.send(FRAME)
        reporting.close()
        reporting.close()
        tap.send(FRAME)
        # What waited still has its prefix, what came then has none.
        got = everything(reporting)
        assert [one.frame for one in got] == [FRAME, FRAME]
        assert sorted(one.rung for one in got) == [Rung.BPF, Rung.USER]
    # A filter or a link that is left would keep its program, and the TAP is still there. Programs are freed
    # after a grace period.
    end = time.monotonic() + 20
    while mine & set(kernel.ids("prog")) and time.monotonic() < end:
        time.sleep(0.05)
    assert not mine & set(kernel.ids("prog")) and not mine & before


def test_a_tap_that_went_first(live: object, objects: Objects) -> None:
    with load_build("rss-report/helpers/v2", objects) as loaded:
        for tcx in HOOKS:
            tap = MultiqueueTap(4)
            reporting = Reporting(tap.fds, CONFIG, Runs(loaded), tcx=tcx)
            tap.close()
            reporting.close()


def test_what_a_killed_process_left_is_replaced(runs: Runs, tap: MultiqueueTap) -> None:
    namespace, name = where(tap.fds[0])
    index = in_network_namespace(namespace, lambda: interface_index(name))
    fd = runs.program("report").fd
    with kernel.OwnedFd(namespace):
        attach_egress(fd, index, namespace=namespace, tcx=False)  # and nobody closes it
        with Reporting(tap.fds, CONFIG, runs, tcx=False) as reporting:
            tap.send(FRAME)
            (got,) = everything(reporting)
            assert (got.frame, got.rung) == (FRAME, Rung.BPF)
        tap.send(FRAME)
        assert [(one.frame, one.rung) for one in everything(reporting)] == [(FRAME, Rung.USER)]


def test_an_interface_that_is_not_there(runs: Runs, tap: MultiqueueTap) -> None:
    for tcx in HOOKS:
        with pytest.raises(UsageError, match="no network interface"):
            attach_egress(runs.program("report").fd, 0x7FFFFFF0, tcx=tcx)


def test_what_cannot_be_attached_goes_to_user_space(runs: Runs, tap: MultiqueueTap) -> None:
    swapped = Runs(runs._loaded, report="steer")
    with Reporting(tap.fds, CONFIG, swapped) as reporting:
        assert reporting.rung is Rung.USER
        assert reporting.why[1].startswith("bpf: attaching to the egress hook of interface ")
        tap.send(FRAME)
        (got,) = everything(reporting)
        assert (got.hash_value, got.rung) == (VALUE, Rung.USER)


def test_tunnels_of_a_program_that_knows_none_are_for_user_space(runs: Runs, tap: MultiqueueTap) -> None:
    config = RssConfig(KEY, tunnel_types=ALL_TUNNELS)
    inner = frames.ethernet(frames.ipv4("10.0.0.1", "10.0.0.2", 6, frames.tcp(1, 2)))
    frame = frames.ethernet(frames.ipv4("10.9.0.1", "10.9.0.2", 17, frames.udp(9, 4789, frames.vxlan(inner))))
    with Reporting(tap.fds, config, runs) as reporting:
        assert reporting.rung is Rung.USER and "tunnels" in reporting.why[1]
        tap.send(frame)
        (got,) = everything(reporting)
        assert_right(got, config, queue=False)
        assert got.hash_report is HashReport.TCPv4
    with Reporting(tap.fds, CONFIG, runs) as reporting, pytest.raises(UsageError, match="tunnels"):
        reporting.configure(config)


@pytest.mark.parametrize(("variant", "level"), list(product(VARIANTS, LEVELS)))
def test_inner_headers(objects: Objects, tap: MultiqueueTap, variant: str, level: str) -> None:
    """Hash, type and queue of what is inside, by BPF where tc saw the frame, in user space where not."""
    config = replace(CONFIG, tunnel_types=ALL_TUNNELS)
    with (
        load_build(f"rss-report-tunnel/{variant}/{level}", objects) as loaded,
        Reporting(tap.fds, config, Runs(loaded), supported_tunnel_types=ALL_TUNNELS) as reporting,
        open_sender(tap, bypass=True) as past_tc,
    ):
        inside = 0
        for frame in random_tunnels(rssframes.COUNT // 25, 5):
            for send, rung in ((tap.send, Rung.BPF), (past_tc.send, Rung.USER)):
                send(frame)
                (got,) = everything(reporting)
                assert (got.frame, got.rung) == (frame, rung)
                assert_right(got, config)
            outer = expected(CONFIG, frame)
            inside += (got.hash_value, got.hash_report) != (outer.value, outer.report)
        assert inside > rssframes.COUNT // 50
        # Types are honoured, none as well.
        reporting.configure(CONFIG)
        tap.send(frame)
        (got,) = everything(reporting)
        assert_right(got)


def test_a_reader_without_privileges(runs: Runs, tap: MultiqueueTap) -> None:
    with Reporting(tap.fds, CONFIG, runs) as reporting:
        tap.send(FRAME)
        queue = CONFIG.queue_of(VALUE)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                reader = ReportReader([tap.fds[queue]], CONFIG, cookie=reporting.cookie)
                got = reader.read(0)
                right = got is not None and (got.frame, got.hash_value, got.rung) == (FRAME, VALUE, Rung.BPF)
                status = 0 if right and reader.read(0) is None else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
