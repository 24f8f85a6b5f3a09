# SPDX-License-Identifier: Apache-2.0
"""The survey as a guest's job: tried twice, kept beside the catalogue, held against the image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import KernelFileError
from holdfast.kernels.catalogue import Entry, KernelRow, Shelf
from holdfast.kernels.catalogue.asked import Asked
from holdfast.kernels.probe_plain import to_plain
from holdfast.kernels.probed import ProbeFacts
from holdfast.terms import MapType
from holdfast.truth.ground import Ground
from holdfast.truth.probes import PROBE, ProbeSaid, ProbeWork, keep, wants_probe
from holdfast.truth.run import Trouble
from holdfast.vm.job import JobResult


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A kernel of the built-in catalogue that came without answers."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return next(one for one in Shelf.open().entries() if not one.row.has_probes)


def said(row: KernelRow, **tables: Any) -> ProbeSaid:
    return ProbeSaid(row.id, to_plain(ProbeFacts(**tables)) | {"modules": ["dummy"]})


def test_a_survey_that_breaks_is_tried_once_more() -> None:
    work = ProbeWork("k")
    for left in (1, 0):
        job = work.next()
        assert job is not None and work.left == 1
        events = list(work.take(JobResult(job, problem="it died", said="last\nwords")))
        assert work.left == left
    assert events == [Trouble("k", "it died", program=PROBE, console=("last", "words"))]
    assert work.next() is None


def test_answers_are_kept_and_count(entry: Entry) -> None:
    ground = Ground(entry.facts(), (), row=entry.row)
    assert wants_probe(ground) and not entry.has_probes
    # what the image is sure of, and the kernel does not do
    probed = keep(said(entry.row, map_types={MapType.HASH: False, MapType.ARRAY: True}), ground)
    assert [(one.what, one.name, one.kernel) for one in probed.disagreements] == [("map_type", "HASH", False)]
    assert probed.answers == 2 and "HASH" in "\n".join(probed.lines())
    assert json.dumps(probed.to_dict())
    again = next(one for one in Shelf.open().entries() if one.id == entry.id)
    facts = again.facts()
    assert again.has_probes and facts.probes is not None and facts.probes.map_types[MapType.HASH] is False
    assert not wants_probe(Ground(facts, (), row=again.row))


def test_answers_of_another_build_or_damaged_ones_are_not_believed(entry: Entry) -> None:
    asked = Asked.open()
    asked.put(entry.row, ProbeFacts())
    other = next(one for one in Shelf.open().entries() if one.id != entry.id)
    assert asked.has(entry.row) and not asked.has(other.row) and asked.get(other.row) is None
    path = asked.path(entry.row)
    assert path is not None
    path.write_text(path.read_text()[:-3])
    assert asked.get(entry.row) is None


def test_what_makes_no_sense_is_told(entry: Entry) -> None:
    ground = Ground(entry.facts(), (), row=entry.row)
    for plain, problem in (
        ({"map_types": {"NO_SUCH": True}}, "make no sense"),
        ({"obstacle": "no"}, "asked"),
    ):
        with pytest.raises(KernelFileError, match=problem):
            keep(ProbeSaid(entry.id, plain), ground)
    with pytest.raises(KernelFileError, match="no folder"):
        Asked(None).put(entry.row, ProbeFacts())
