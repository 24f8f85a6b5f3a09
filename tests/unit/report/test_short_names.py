# SPDX-License-Identifier: Apache-2.0
"""What tells objects of one name apart in a table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.report.short_names import short_names


def test_folders_stand_where_they_are_needed() -> None:
    paths = ["b/net/rss/cast.o", "b/net/rss/help.o", "b/net/tc/help.o", "x.o"]
    assert list(short_names(paths).values()) == ["cast.o", "rss/help.o", "tc/help.o", "x.o"]
    assert list(short_names(["a/x/y.o", "b/x/y.o"]).values()) == ["a/x/y.o", "b/x/y.o"]
    assert short_names([]) == {}


@given(st.sets(st.text("ab/", min_size=1)))
def test_no_two_are_called_the_same(paths: set[str]) -> None:
    names = short_names(paths)
    assert names.keys() == paths
    assert len(set(names.values())) == len(paths)
    assert all(path.endswith(name) for path, name in names.items())
