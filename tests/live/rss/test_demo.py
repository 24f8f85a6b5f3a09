# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from click.testing import CliRunner
from tests.live.rss.conftest import BUILDS, Objects

from holdfast import load
from holdfast.cli.rss import command
from holdfast.rss.demo import run_demo

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


class Loaded:
    """The outcome of a bundle whose variant is ``obj``."""

    is_fallback = False
    fallback = None

    def __init__(self, obj: load.Object) -> None:
        self.program, self.map = obj.program, obj.map


@pytest.mark.parametrize("build", [one for one in BUILDS if one.startswith("rss/")], indirect=True)
@pytest.mark.parametrize("queues", [2, 4, 7])
def test_every_frame_arrives_where_the_reference_says(steer: load.Object, queues: int) -> None:
    result = run_demo(Loaded(steer), flows=300, queues=queues)
    assert result.why_user_space is None
    assert result.all_right, result.wrong
    assert min(result.queues) > 0
    assert sum(result.queues) == 324


def test_a_program_that_ignores_its_settings_is_found_out(live: object, objects: Objects) -> None:
    with load.open_object(str(objects["rss/helpers/v2"])) as obj:

        class Deaf(Loaded):
            def map(self, name: str) -> object:  # type: ignore[override]
                return self

            def update(self, key: int, value: bytes) -> None: ...

        deaf = Deaf.__new__(Deaf)
        deaf.program = obj.program
        result = run_demo(deaf, flows=100)
    assert not result.all_right
    assert result.queues == (124, 0, 0, 0)


def test_the_command_says_needs_verdicts_variant_and_result(live: object) -> None:
    result = CliRunner().invoke(command, ["demo", "--flows", "100"], standalone_mode=False)
    assert result.return_value == 0, result.output or result.exception
    parts = [
        "bpf_dynptr_slice (strong)",
        "Verdicts on live/",
        ". LOADS   helpers",
        " runs",
        "TAP with 4 queues",
    ]
    places = [result.output.index(part) for part in parts]
    assert places == sorted(places)
    assert "100 of 100 random flows arrived" in result.output
