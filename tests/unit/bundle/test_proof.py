# SPDX-License-Identifier: Apache-2.0
"""What proofs say, and how entry points are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.bundle import Count, Proved
from holdfast.bundle.entry_point import resolve
from holdfast.errors import ManifestError

TWO = (Count("frames", 3, 3), Count("flows", 5, 6))


def test_works_when_everything_is_right() -> None:
    assert Proved(TWO[:1]).works is True
    assert Proved(TWO).works is False
    assert Proved(TWO, ("flow 4: queue 1",)).line == "3 of 3 frames, 5 of 6 flows; flow 4: queue 1"


@pytest.mark.parametrize(
    "nothing", [Proved(), Proved((Count("frames", 0, 0),)), Proved(TWO, cannot="no TAP")]
)
def test_nothing_tried_proves_nothing(nothing: Proved) -> None:
    assert nothing.works is None and nothing.line.startswith("not proven: ")


def test_comes_back_from_json() -> None:
    for one in (Proved(TWO, ("x",), details={"queues": [1, 2]}), Proved(cannot="no TAP")):
        assert Proved.from_dict(one.to_dict()) == one


def test_entry_points() -> None:
    assert resolve(Path("m"), "pathlib:Path.cwd", "[proof] python")() == Path.cwd()
    with pytest.raises(ManifestError, match=r"m: \[proof\] python: 'json:nothing': module 'json' has no"):
        resolve(Path("m"), "json:nothing", "[proof] python")
    with pytest.raises(ManifestError, match="No module named 'no_such_package'") as error:
        resolve(Path("m"), "no_such_package.x:y", "[fallback] python")
    assert error.value.hint == "install the package that has 'no_such_package'"
