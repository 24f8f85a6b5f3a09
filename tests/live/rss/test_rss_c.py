# SPDX-License-Identifier: Apache-2.0
"""docs/rss-c.md: its programs compile, and do what it says, with no privilege where it says that."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.cli.run import environment
from holdfast.rss.config import RssConfig
from holdfast.rss.shipped import bundle_path
from holdfast.rss.vectors import KEY, VECTORS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

ROOT = Path(__file__).resolve().parents[3]
FILES = dict(
    re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)\n```\n", (ROOT / "docs/rss-c.md").read_text(), re.S)
)


@pytest.fixture
def folder(need_tool: Callable[[str], str]) -> Iterator[Path]:
    """The document's files, the C program compiled, where anybody may run it."""
    with tempfile.TemporaryDirectory(prefix="rss-c-") as name:
        made = Path(name)
        made.chmod(0o755)
        for file, text in FILES.items():
            (made / file).write_text(text + "\n")
        command = [need_tool("cc"), "-Wall", "-Wextra", "-Werror", "-o", made / "monitor", made / "monitor.c"]
        subprocess.run(command, check=True)
        yield made


@pytest.mark.parametrize("how", ["inherit", "socket"])
def test_the_c_program_steers(folder: Path, how: str) -> None:
    inside = Path(__file__).with_name("rss_c_inside.py")
    command = [sys.executable, inside, folder, bundle_path("net/rss"), how]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = [value & 127 & 3 for vector in VECTORS for _, _, value in vector.frames()]
    assert json.loads(done.stdout.splitlines()[-1]) == wanted


def test_the_rust_program_fills_the_maps(tmp_path: Path) -> None:
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("rustc is not installed; no distribution that CI runs on need have it")
    (tmp_path / "settings.rs").write_text(FILES["settings.rs"])
    subprocess.run([rustc, "-D", "warnings", "settings.rs"], cwd=tmp_path, check=True)
    with holdfast.run(bundle_path("net/rss")) as outcome:
        maps = {name: outcome.map(name) for name in ("rss_config", "rss_key", "rss_table")}
        fds = [one.fd for one in maps.values()]
        subprocess.run([tmp_path / "settings"], env=environment(outcome, {}), pass_fds=fds, check=True)
        config = RssConfig.spread(KEY, 4)
        told = maps["rss_config"].lookup(0)
        assert told is not None
        assert struct.unpack_from("=I", told) == (1,)
        assert told[48:64] == config.pack_settings()
        assert maps["rss_key"].lookup(1) == config.pack_key()
        assert maps["rss_table"].lookup(1) == config.pack_table()


def test_the_table_of_the_maps_is_that_of_the_contract() -> None:
    text = (ROOT / "docs/rss-c.md").read_text()
    contract = (ROOT / "bundles/net/rss/contract.toml").read_text()
    for name, size in re.findall(r'name = "(rss_\w+)"\nvalue = .*\nsize = (\d+)', contract):
        assert re.search(rf"`{name}` \| \d × {size} bytes", text), name
