# SPDX-License-Identifier: Apache-2.0
"""The same object through every libbpf that is here."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.libbpf import BUNDLED

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

CODE = """
import sys
from holdfast import load
from holdfast.errors import VerifierError
from holdfast.libbpf import library
with load.open_object(sys.argv[1], programs=["good"]) as obj:
    print(library().version_text, obj.program("good").test_run(bytes(64)).return_value)
try:
    load.Session(sys.argv[1], programs=["broken"]).load()
except VerifierError as error:
    print(load.VerifierLog.parse(error.log).error)
"""


@pytest.mark.parametrize("which", ["bundled", "system"])
def test_bundled_and_system_libbpf_load_alike(compiled: dict[str, Path], which: str) -> None:
    name = str(BUNDLED)
    if which == "system":
        try:
            ctypes.CDLL("libbpf.so.1")
        except OSError:
            pytest.skip("the system has no libbpf.so.1")
        maps = Path("/proc/self/maps").read_text()
        name = next(line.split()[-1] for line in maps.splitlines() if "/libbpf.so.1" in line)
    elif not BUNDLED.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("libbpf is not built")
        pytest.skip("libbpf is not built: make setup")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(compiled["mixed"])],
        env={**os.environ, "HOLDFAST_LIBBPF": name}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    version, words = done.stdout.splitlines()
    assert version.endswith(" 1")
    assert words == "invalid bpf_context access off=4000 size=4"
