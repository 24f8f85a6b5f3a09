# SPDX-License-Identifier: Apache-2.0
"""From times to net times, ratios and tables; what a real run gives is nobody's test."""

from __future__ import annotations

import json
from dataclasses import replace

from bench.measure import Spread
from bench.rss_results import Results, Size, document, lines

RESULTS = Results(
    programs={"fast": "fast", "astray": "astray", "qemu": "QEMU"},
    packets={"v4": "IPv4/TCP", "v6": "IPv6/TCP"},
    reference="qemu",
    sizes={"fast": Size(46393, 3271), "astray": Size(None, None), "qemu": Size(87096, 2996)},
    empty={"v4": [30.0, 50.0, 30.0], "v6": [30.0, 30.0, 30.0]},
    times={
        ("fast", "v4"): [80.0, 150.0, 90.0],
        ("fast", "v6"): [130.0, 20.0, 180.0],
        ("astray", "v4"): [],
        ("astray", "v6"): [80.0, 80.0, 80.0],
        ("qemu", "v4"): [230.0, 450.0, 330.0],
        ("qemu", "v6"): [230.0, 230.0, 330.0],
    },
    wrong={("astray", "v4"): (3, 40)},
)


def test_each_round_is_net_of_its_own_empty_run() -> None:
    assert RESULTS.net("fast", "v4") == [50.0, 100.0, 60.0]
    assert RESULTS.time("fast", "v4") == Spread(60.0, 50.0, 100.0)


def test_ratio_is_of_the_same_round_and_leaves_out_what_noise_ate() -> None:
    assert RESULTS.ratio("fast", "v4") == Spread(0.25, 0.2, 0.25)
    # The second round's net time is below nothing: 100/200 and 150/300 are left.
    assert RESULTS.ratio("fast", "v6") == Spread(0.5, 0.5, 0.5)
    drowned = replace(RESULTS, times={**RESULTS.times, ("fast", "v6"): [1.0, 1.0, 1.0]})
    assert drowned.ratio("fast", "v6") is None


def test_wrong_queue_has_no_time_and_no_ratio() -> None:
    assert RESULTS.time("astray", "v4") is None
    assert RESULTS.ratio("astray", "v4") is None
    assert replace(RESULTS, wrong={("qemu", "v4"): (1, 40)}).ratio("fast", "v4") is None
    assert RESULTS.ratio("astray", "v6") == Spread(0.25, 50 / 300, 0.25)


def test_table_shows_wrong_as_wrong() -> None:
    printed = lines(RESULTS)
    table = [" ".join(line.split()) for line in printed]
    assert "astray WRONG: 3 of 40 50.0 (50 to 50)" in table
    assert "astray - 0.25 (0.17 to 0.25)" in table
    assert "astray WRONG" in table
    assert "fast 46393 3271" in table
    assert "astray - -" in table
    assert max(map(len, printed)) <= 100
    bars = {line.split()[0]: line.count("#") for line in printed[printed.index("IPv4/TCP") :][1:4]}
    assert bars == {"fast": 12, "astray": 0, "QEMU": 60}


def test_without_a_reference_there_are_times_and_no_ratios() -> None:
    programs = {"fast": "fast"}
    alone = replace(RESULTS, programs=programs, reference=None)
    assert alone.ratio("fast", "v4") is None
    assert not any("below 1" in line or "QEMU" in line for line in lines(alone))


def test_document_tells_the_same_as_json() -> None:
    told = json.loads(json.dumps(document(RESULTS)))
    cells = {(cell["packet"], cell["program"]): cell for cell in told["cells"]}
    assert cells["v4", "astray"] == {
        "packet": "v4", "program": "astray", "wrong_queues": 3, "net_ns": None, "ratio": None,
    }  # fmt: skip
    assert cells["v4", "fast"]["net_ns"] == {"median": 60.0, "min": 50.0, "max": 100.0}
    assert cells["v4", "fast"]["ratio"] == {"median": 0.25, "min": 0.2, "max": 0.25}
    assert told["empty_ns"]["v4"] == {"median": 30.0, "min": 30.0, "max": 50.0}
    assert (told["reference"], len(cells)) == ("qemu", 6)
