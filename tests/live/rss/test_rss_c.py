# SPDX-License-Identifier: Apache-2.0
"""docs/rss-c.md: its programs compile, and do what it says, with no privilege where it says that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.cli.run import environment
from holdfast.rss.config import RssConfig, pack_state
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


def test_the_rust_program_fills_the_map(tmp_path: Path) -> None:
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("rustc is not installed; no distribution that CI runs on need have it")
    (tmp_path / "settings.rs").write_text(FILES["settings.rs"])
    subprocess.run([rustc, "-D", "warnings", "settings.rs"], cwd=tmp_path, check=True)
    with holdfast.run(bundle_path("net/rss")) as outcome:
        state = outcome.map("rss_state")
        subprocess.run([tmp_path / "settings"], env=environment(outcome, {}), pass_fds=[state.fd], check=True)
        told = state.lookup(0)
        assert told == pack_state(1, [bytes(1472), RssConfig.spread(KEY, 4).pack_slot()])


def test_the_table_of_the_map_is_that_of_the_contract() -> None:
    text = (ROOT / "docs/rss-c.md").read_text()
    contract = (ROOT / "bundles/net/rss/contract.toml").read_text()
    for name, size in re.findall(r'name = "(rss_\w+)"\nvalue = .*\nsize = (\d+)', contract):
        assert re.search(rf"`{name}` \| \d × {size} bytes", text), name
