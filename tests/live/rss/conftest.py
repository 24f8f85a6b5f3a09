# SPDX-License-Identifier: Apache-2.0
"""The variants of bundles/net/rss, compiled for each instruction set level and loaded."""

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

ROOT = Path(__file__).resolve().parents[3]
VARIANTS = ("dynptr", "helpers")
BUILDS = [f"{variant}-{level}" for variant, level in product(VARIANTS, ("v2", "v1", "v3", "v4"))]


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


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    """Each build's object, or why there is none."""
    found: dict[str, Path | str] = {}
    for build in BUILDS:
        variant, level = build.split("-")
        compiler = compiler_for(level)
        if compiler is None:
            found[build] = f"no clang here compiles for -mcpu={level}"
            continue
        folder = tmp_path_factory.mktemp(build)
        source = ROOT / "bundles" / "net" / "rss" / f"{variant}.bpf.c"
        options = ("--cc", compiler, "--mcpu", level, "--out", folder)
        subprocess.run([sys.executable, ROOT / "scripts" / "build-bpf", *options, source], check=True)
        found[build] = folder / f"{variant}.bpf.o"
    return found


@pytest.fixture(params=BUILDS)
def steer(
    request: pytest.FixtureRequest, live: object, objects: dict[str, Path | str]
) -> Iterator[load.Object]:
    """One build of one variant, loaded."""
    built = objects[request.param]
    if isinstance(built, str):
        # No distribution that CI runs on need have a compiler this new: not a failure there either.
        if request.param.endswith("v4"):
            pytest.skip(built)
        pytest.fail(built)
    with load.open_object(built) as loaded:
        yield loaded
