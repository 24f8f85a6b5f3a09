# SPDX-License-Identifier: Apache-2.0
"""`holdfast rss selftest`: what ran, what could not, and that a wrong frame is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from holdfast.bundle.bundle import Bundle
from holdfast.cli.rss import command
from holdfast.rss import selftest
from holdfast.rss.fallback import Classified, Steering
from holdfast.rss.shipped import bundle_path

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


@pytest.fixture
def one_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "bundles", lambda: [Bundle.open(bundle_path("net/rss-tc"))])


@pytest.mark.usefixtures("one_bundle")
def test_each_variant_and_the_fallback_run() -> None:
    ran = CliRunner().invoke(
        command,
        ["selftest", "--flows", "50", "--format", "json"],
        catch_exceptions=False,
        standalone_mode=False,
    )
    document = json.loads(ran.stdout)
    assert ran.return_value == 0
    assert document["right"]
    told = {(one["bundle"], one["name"]): one for one in document["results"]}
    assert set(told) == {
        ("holdfast.rss", "Steering"),
        ("net/rss-tc", "dynptr"),
        ("net/rss-tc", "helpers"),
        ("net/rss-tc", "user-space"),
    }
    assert all(one["ran"] and one["right"] for one in told.values())
    assert told["holdfast.rss", "Steering"]["counts"][1]["of"] == 50


@pytest.mark.usefixtures("one_bundle")
def test_a_wrong_hash_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Steering.classify

    def wrong(self: Steering, frame: bytes) -> Classified:
        found = honest(self, frame)
        return found if found.hash is None else replace(found, hash=found.hash ^ 1)

    monkeypatch.setattr(Steering, "classify", wrong)
    ran = CliRunner().invoke(
        command, ["selftest", "--flows", "20"], catch_exceptions=False, standalone_mode=False
    )
    assert ran.return_value == 1
    assert "WRONG" in ran.stdout.splitlines()[0]
