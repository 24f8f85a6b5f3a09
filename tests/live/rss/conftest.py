# SPDX-License-Identifier: Apache-2.0
"""The variants of net/rss and net/rss-tunnel, compiled for each instruction set level and loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path

import pytest

from holdfast import load
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TUNNELS, TunnelType

ROOT = Path(__file__).resolve().parents[3]
BUNDLES = ("rss", "rss-tunnel")
VARIANTS = ("dynptr", "helpers")  # that every bundle has
LEVELS = ("v2", "v1", "v3", "v4")
BUILDS = ["/".join(names) for names in product(BUNDLES, ("cast", *VARIANTS), LEVELS)]


class Objects:
    """Each build's object, or why there is none; compiled when it is asked for."""

    def __init__(self) -> None:
        self._compiled: set[str] = set()

    def __getitem__(self, build: str) -> Path | str:
        bundle, variant, level = build.split("/")
        source = f"bundles/net/{bundle}/{variant}.bpf.c"
        if source not in self._compiled:
            script = ROOT / "scripts" / "build-bpf"
            subprocess.run([sys.executable, script, "--matrix", ROOT / source], check=True)
            self._compiled.add(source)
        found = ROOT / "build" / "matrix" / level / "net" / bundle / f"{variant}.bpf.o"
        return found if found.exists() else f"no clang here compiles for -mcpu={level}"


@pytest.fixture(scope="session")
def objects() -> Objects:
    return Objects()


@pytest.fixture(params=BUILDS, scope="module")
def build(request: pytest.FixtureRequest) -> str:
    """A bundle, a variant and a level, separated by slashes."""
    return str(request.param)


def load_build(build: str, objects: Objects) -> AbstractContextManager[load.Object]:
    """Load a build of those in ``objects``."""
    built = objects[build]
    if isinstance(built, str):
        # No distribution that CI runs on need have a compiler this new: not a failure there either.
        if build.endswith("v4"):
            pytest.skip(built)
        pytest.fail(built)
    return load.open_object(built)


@pytest.fixture(scope="module")
def steer(build: str, live: object, objects: Objects) -> Iterator[load.Object]:
    """One build of one variant, loaded; its settings are those that the test before left."""
    with load_build(build, objects) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def steering(build: str, steer: load.Object) -> KernelSteering:
    """Writes the settings of ``steer``."""
    tunnels = ALL_TUNNELS if build.startswith("rss-tunnel/") else TunnelType.NONE
    return KernelSteering(steer.map, steer.program("steer").fd, supported_tunnel_types=tunnels)


@pytest.fixture
def tap() -> Iterator[MultiqueueTap]:
    with MultiqueueTap(4) as opened:
        yield opened
