# SPDX-License-Identifier: Apache-2.0
"""The variants of net/rss and net/rss-tunnel, compiled for each instruction set level and loaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from holdfast import load
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.tap import MultiqueueTap
from holdfast.rss.terms import ALL_TUNNELS, TunnelType

ROOT = Path(__file__).resolve().parents[3]
BUNDLES = ("rss", "rss-tunnel")
VARIANTS = ("dynptr", "helpers")
LEVELS = ("v2", "v1", "v3", "v4")
BUILDS = ["/".join(names) for names in product(BUNDLES, VARIANTS, LEVELS)]


@cache
def compiler_for(level: str) -> str | None:
    """Return the first clang that knows the level; v4 came with clang 18."""
    names = [
        os.environ.get("HOLDFAST_CLANG", "clang"),
        *(f"clang-{version}" for version in range(22, 13, -1)),
    ]
    for name in names:
        if path := shutil.which(name):
            run = subprocess.run(
                [path, "-target", "bpf", "-mcpu=help", "-c", "-xc", "/dev/null", "-o", "/dev/null"],
                capture_output=True,
                text=True,
                check=False,
            )
            if re.search(rf"^\s+{level}\s", run.stdout + run.stderr, re.MULTILINE):
                return path
    return None


class Objects:
    """Each build's object, or why there is none; compiled when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Path | str] = {}

    def __getitem__(self, build: str) -> Path | str:
        if build not in self._found:
            self._found[build] = self._compile(*build.split("/"))
        return self._found[build]

    def _compile(self, bundle: str, variant: str, level: str) -> Path | str:
        compiler = compiler_for(level)
        if compiler is None:
            return f"no clang here compiles for -mcpu={level}"
        folder = self._folder / bundle / level
        source = ROOT / "bundles" / "net" / bundle / f"{variant}.bpf.c"
        options = ("--cc", compiler, "--mcpu", level, "--out", folder)
        subprocess.run([sys.executable, ROOT / "scripts" / "build-bpf", *options, source], check=True)
        return folder / f"{variant}.bpf.o"


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return Objects(tmp_path_factory.mktemp("builds"))


@pytest.fixture(params=BUILDS, scope="module")
def build(request: pytest.FixtureRequest) -> str:
    """A bundle, a variant and a level, separated by slashes."""
    return str(request.param)


def load_build(build: str, objects: Objects) -> load.Session:
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
