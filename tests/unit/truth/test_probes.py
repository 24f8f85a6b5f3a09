# SPDX-License-Identifier: Apache-2.0
"""The survey as a guest's job: tried twice, kept beside the catalogue, held against the image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import KernelFileError
from holdfast.kernels.catalogue import Entry, KernelRow, Shelf
from holdfast.kernels.catalogue.asked import Asked
from holdfast.kernels.probe_plain import to_plain
from holdfast.kernels.probed import HelperUse, ProbeFacts
from holdfast.terms import MapType, ProgramType
from holdfast.truth.ground import Ground
from holdfast.truth.probes import PROBE, ProbeSaid, ProbeWork, keep, survey_of
from holdfast.truth.run import Survey, Trouble
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


def test_what_nobody_asked_for_is_no_trouble() -> None:
    work = ProbeWork("k", Survey.QUICK)
    job = work.next()
    assert job is not None and work.left == 0
    assert list(work.take(JobResult(job, problem="it died"))) == [] and work.next() is None
    work = ProbeWork("k", Survey.QUICK)
    job = work.next()
    assert job is not None
    assert list(work.take(JobResult(job, {"map_types": {}}))) == [ProbeSaid("k", {"map_types": {}}, True)]


def test_a_kernel_is_asked_what_it_was_not_asked(entry: Entry) -> None:
    def surveys(probes: ProbeFacts | None) -> tuple[Survey, Survey]:
        one = Ground(replace(entry.facts(), probes=probes), (), row=entry.row)
        return survey_of(one, whole=False), survey_of(one, whole=True)

    quick = ProbeFacts(map_types={MapType.HASH: True})
    assert surveys(None) == (Survey.QUICK, Survey.WHOLE)
    assert surveys(quick) == (Survey.NOTHING, Survey.WHOLE)
    whole = replace(quick, helpers={HelperUse(1, ProgramType.XDP): True})
    assert surveys(whole) == (Survey.NOTHING, Survey.NOTHING)
    assert survey_of(Ground(entry.facts(), ()), whole=True) is Survey.NOTHING


def test_answers_are_kept_and_count(entry: Entry) -> None:
    ground = Ground(entry.facts(), (), row=entry.row)
    assert not entry.has_probes
    # what the image is sure of, and the kernel does not do
    probed = keep(said(entry.row, map_types={MapType.HASH: False, MapType.ARRAY: True}), ground)
    assert [(one.what, one.name, one.kernel) for one in probed.disagreements] == [("map_type", "HASH", False)]
    assert probed.answers == 2 and "HASH" in "\n".join(probed.lines())
    assert json.dumps(probed.to_dict())
    again = next(one for one in Shelf.open().entries() if one.id == entry.id)
    facts = again.facts()
    assert again.has_probes and facts.probes is not None and facts.probes.map_types[MapType.HASH] is False


def test_answers_of_another_build_or_damaged_ones_are_not_believed(entry: Entry) -> None:
    asked = Asked.open()
    asked.put(entry.row, ProbeFacts())
    other = next(one for one in Shelf.open().entries() if one.id != entry.id)
    assert asked.has(entry.row) and not asked.has(other.row) and asked.get(other.row) is None
    path = asked.path(entry.row)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-3])
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
