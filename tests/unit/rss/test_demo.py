# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from holdfast.bundle.bundle import Bundle
from holdfast.cli.rss import command
from holdfast.errors import UsageError
from holdfast.load import runner
from holdfast.rss import demo, frames, reference
from holdfast.rss.fallback import Steering
from holdfast.rss.shipped import bundle_path
from holdfast.rss.terms import HashType
from holdfast.rss.traffic import random_frames


class Nothing:
    """The outcome of a bundle of which no variant runs."""

    is_fallback = True
    fallback = Steering

    def explain(self) -> str:
        return "no variant runs"

    def to_dict(self) -> dict[str, object]:
        return {"variant": None}


@dataclass
class Empty:
    """A bundle that has been opened, and its plan."""

    name = kernel = "net/rss"
    variants = steps = ()


@pytest.fixture
def no_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def carry_out(plan: object):
        yield Nothing()

    monkeypatch.setattr(Bundle, "open", lambda path: Empty())
    monkeypatch.setattr(runner, "plan_here", lambda bundle: bundle)
    monkeypatch.setattr(runner, "carry_out", carry_out)


def test_fallback_shows_the_same() -> None:
    steps = []
    result = demo.run_demo(Nothing(), flows=300, step=lambda: steps.append(1))
    assert result.all_right and result.lost == 0
    assert (result.vectors.frames, result.flows.frames, len(steps)) == (24, 300, 324)
    assert sum(result.queues) == sum(result.types.values()) == 324
    assert result.why_user_space == "no variant of the bundle runs here"


def test_what_is_wrong_is_counted_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Steering, "classify", lambda self, frame: demo.Frame(frame, HashType.NONE, 3))
    result = demo.run_demo(Nothing(), flows=200)
    assert not result.all_right
    assert result.queues == (0, 0, 0, 224)
    assert result.vectors.right + result.flows.right < 120
    assert len(result.wrong) == 5 and "queue 3, expected queue " in result.wrong[0]


def test_one_queue_is_no_steering() -> None:
    with pytest.raises(UsageError, match="1 queues"):
        demo.run_demo(Nothing(), queues=1)


def test_flows_are_the_same_for_the_same_seed_and_of_every_type() -> None:
    flows = list(random_frames(2000, 5))
    assert flows == list(random_frames(2000, 5)) != list(random_frames(2000, 6))
    assert len(set(flows)) == 2000
    types = [reference.select(reference.dissect(frame), HashType(0x1FF))[0] for frame in flows]
    assert set(types) == set(HashType.__members__.values())
    # Small enough for a TAP of the usual MTU, large enough to have a header to look at.
    assert all(14 < len(frame) < 1514 for frame in flows)


@pytest.mark.usefixtures("no_variant")
def test_command_for_people() -> None:
    result = CliRunner().invoke(command, ["demo", "--flows", "50"], standalone_mode=False)
    assert result.return_value == 0, result.output
    assert "\nno variant runs\n" in result.output
    assert "24 of 24 frames of the published vectors" in result.output
    assert "50 of 50 random flows" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


@pytest.mark.usefixtures("no_variant")
def test_command_for_programs() -> None:
    result = CliRunner().invoke(command, ["demo", "--flows", "50", "--format", "json"], standalone_mode=False)
    told = json.loads(result.stdout)
    assert told["schema_version"] == 1
    assert told["demo"]["all_right"] is True
    assert told["demo"]["flows"] == {"frames": 50, "right": 50}
    assert told["outcome"] == {"variant": None}


@pytest.mark.usefixtures("no_variant")
def test_command_fails_when_a_frame_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Steering, "classify", lambda self, frame: demo.Frame(frame, HashType.NONE, 3))
    result = CliRunner().invoke(command, ["demo", "--flows", "50"], standalone_mode=False)
    assert result.return_value == 1


def test_the_bundle_is_shipped() -> None:
    assert (bundle_path() / "holdfast.toml").is_file()


def test_frames_are_what_their_bytes_say() -> None:
    # By hand, so that builder and reader cannot be wrong together.
    built = frames.ethernet(frames.ipv4("1.2.3.4", "5.6.7.8", 17, frames.udp(9, 10)), vlans=[(0x8100, 5)])
    assert built.hex() == (
        "02000000000102000000000f8100000508004500001c000140004011000001020304050607080009000a00080000"
    )
    chain = frames.ipv6("::1", "::2", 6, b"", extensions=[(60, frames.options(frames.home_address("::3")))])
    assert chain.hex() == (
        "6000000000183c40"
        + "01".zfill(32)
        + "02".zfill(32)
        + "0602"
        + "c910"
        + "03".zfill(32)
        + "010200 00".replace(" ", "")
    )
