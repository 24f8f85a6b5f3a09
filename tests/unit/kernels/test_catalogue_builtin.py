# SPDX-License-Identifier: Apache-2.0
"""The catalogue that ships with Holdfast: whole, and small enough to ship."""

from __future__ import annotations

import pytest
from tests.conftest import lacks

from holdfast.kernels.catalogue import Catalogue

LARGEST = 1_000_000  # bytes of disk for a kernel, on average


@pytest.fixture(scope="module")
def builtin() -> Catalogue:
    store = Catalogue.builtin()
    if not store.rows():
        lacks("there is no built-in catalogue: scripts/build-catalogue makes it")
    return store


def test_it_is_small_enough(builtin: Catalogue) -> None:
    assert builtin.folder is not None
    size = sum(path.stat().st_size for path in builtin.folder.rglob("*") if path.is_file())
    assert size <= LARGEST * len(builtin.rows())
    assert size >= sum(row.size for row in builtin.rows())


def test_nothing_is_left_over(builtin: Catalogue) -> None:
    assert builtin.folder is not None
    used = {row.manifest for row in builtin.rows()}
    for row in builtin.rows():
        used.update(builtin._manifest(row.id).blobs())
    there = {str(path.relative_to(builtin.folder)) for path in builtin.folder.rglob("*") if path.is_file()}
    assert there - {"lock"} == {"index.sqlite", *(f"blobs/{name}" for name in used)}


def test_rows_say_what_facts_say(builtin: Catalogue) -> None:
    for row in builtin.rows()[:: max(1, len(builtin.rows()) // 4)]:
        facts = builtin.facts(row.id)
        assert (facts.id, facts.release, facts.arch) == (row.id, row.release, row.arch)
        assert facts.symbol("bpf_prog_load").value is not False
        assert facts.config_enabled("CONFIG_BPF_SYSCALL").value


@pytest.mark.slow
def test_it_is_whole(builtin: Catalogue) -> None:
    assert builtin.verify() == []
