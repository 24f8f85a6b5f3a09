# SPDX-License-Identifier: Apache-2.0
"""The bundle's headers in a tc program of another kind: whole hash, report and input of each frame."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import rssframes
from tests.live.rss.test_variants import RULES, runs

from holdfast import load
from holdfast.rss import reference
from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashReport, HashType, TunnelType
from holdfast.rss.toeplitz import pack_rows
from holdfast.rss.vectors import KEY, VECTORS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

ROOT = Path(__file__).resolve().parents[3]
ANSWER = struct.Struct("=I16x36sII")  # struct answer: hash, room, words, how many, report


@pytest.fixture(scope="module", params=["v2", "v3"])
def teller(
    request: pytest.FixtureRequest, live: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[load.Object]:
    folder = tmp_path_factory.mktemp("answer")
    source = Path(__file__).with_name("answer.bpf.c")
    options = ("--mcpu", request.param, "--out", folder)
    subprocess.run([sys.executable, ROOT / "scripts" / "build-bpf", *options, source], check=True)
    with load.open_object(folder / "answer.bpf.o") as loaded:
        yield loaded


def ask(
    teller: load.Object, frame: bytes, key: bytes, types: HashType, tunnels: TunnelType
) -> tuple[HashReport, int, bytes]:
    """Report, hash and input."""
    teller.map("questions").update(0, struct.pack("=III", types, tunnels, 0) + pack_rows(key))
    assert teller.program("tell").test_run(frame, data_out_size=0).return_value == 0
    value, data, words, report = ANSWER.unpack(teller.map("answers").lookup(0))
    return HashReport(report), value, data[: 4 * words]


def wanted(frame: bytes, key: bytes, types: HashType, tunnels: TunnelType) -> tuple[HashReport, int, bytes]:
    kind, data = reference.select(reference.dissect(frame, tunnels), types)
    return kind.report, reference.toeplitz(key, data), data


def test_published_vectors(teller: load.Object) -> None:
    for vector in VECTORS:
        for frame, kind, value in vector.frames():
            report, got, _ = ask(teller, frame, KEY, ALL_TYPES, ALL_TUNNELS)
            assert (report, got) == (kind.report, value)


def test_rules(teller: load.Object) -> None:
    for name, (frame, types, tunnels) in RULES.items():
        if runs(frame):
            got = ask(teller, frame, KEY, types, tunnels)
            assert got == wanted(frame, KEY, types, tunnels), name


def test_many_frames(teller: load.Object) -> None:
    pick = rssframes.Seeded(77)
    seen: Counter[HashReport] = Counter()
    for _ in range(rssframes.COUNT):
        frame, types, tunnels = rssframes.frame(pick), rssframes.types(pick), rssframes.tunnels(pick)
        key = pick.blob(40, 40)
        if runs(frame):
            got = ask(teller, frame, key, types, tunnels)
            assert got == wanted(frame, key, types, tunnels), (frame.hex(), key.hex(), types, tunnels)
            seen[got[0]] += 1
    assert all(seen[report] > rssframes.COUNT / 200 for report in HashReport), seen
