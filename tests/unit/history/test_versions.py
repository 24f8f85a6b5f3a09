# SPDX-License-Identifier: Apache-2.0
"""The order of kernels, their series and their flavours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.history.fakes import kernel

from holdfast.history.versions import by_version, flavour, parse_series, series_of, version_of


@pytest.mark.parametrize(
    ("release", "version", "name"),
    [
        ("6.12.107+deb13-cloud-amd64", (6, 12, 107, 65536), "cloud-amd64"),
        ("6.1.0-50-amd64", (6, 1, 0, 65536), "amd64"),
        ("7.2.13+deb14-cloud-arm64", (7, 2, 13, 65536), "cloud-arm64"),
        ("7.3-cloud-amd64", (7, 3, 0, 65536), "cloud-amd64"),
        ("7.3-rc7-amd64", (7, 3, 0, 7), "amd64"),
        ("7.3-rc7", (7, 3, 0, 7), "x86_64"),
        ("6.8.0-31-generic", (6, 8, 0, 65536), "generic"),
        ("6.11.4-301.fc41.x86_64", (6, 11, 4, 65536), "x86_64"),
        ("", (0, 0, 0, 0), "x86_64"),
    ],
)
def test_release(release: str, version: tuple[int, ...], name: str) -> None:
    facts = kernel(release)
    assert (version_of(facts), flavour(facts)) == (version, name)


def test_the_upstream_version_orders_a_distributions_kernel() -> None:
    old = replace(kernel("5.10.0-46-amd64"), upstream="5.10.262")
    new, candidate = kernel("5.10.300"), kernel("5.10.300-rc1")
    assert version_of(old) == (5, 10, 262, 65536)
    assert by_version([new, candidate, old]) == [old, candidate, new]
    assert series_of(old) == series_of(new) == (5, 10)


@pytest.mark.parametrize(
    ("text", "series"), [("6.12", (6, 12)), ("v7.0.3", (7, 0)), ("6", None), ("soon", None)]
)
def test_series_of_a_text(text: str, series: tuple[int, int] | None) -> None:
    assert parse_series(text) == series
