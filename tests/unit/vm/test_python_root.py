# SPDX-License-Identifier: Apache-2.0
"""This interpreter as a part of a guest's root: it starts there, and nothing is missing or compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cpioreader import entries

from holdfast.errors import UsageError
from holdfast.vm.guest.loader import loader_file
from holdfast.vm.python_root import INTERPRETER, Source, interpreter, packages, search_path

MIB = 1 << 20


@pytest.fixture(scope="module")
def archives() -> list[bytes]:
    library, _ = loader_file()
    return [interpreter().build(), packages(["holdfast"], [library] if library else []).build()]


def test_it_is_small(archives: list[bytes]) -> None:
    assert sum(map(len, archives)) < 60 * MIB


def test_nothing_is_left_to_compile(archives: list[bytes]) -> None:
    names = [name for archive in archives for name, _, _ in entries(archive)]
    assert not [name for name in names if name.endswith(".py")]
    assert [name for name in names if name.endswith("/holdfast/load/session.pyc")]
    assert [name for name in names if name.endswith("/os.pyc")]
    assert not [name for name in names if "site-packages" in name and "holdfast" not in name]


def test_the_key_follows_the_files(tmp_path: Path) -> None:
    module = tmp_path / "one.py"
    module.write_text("x = 1\n")
    first = Source("packages", [module], [], []).key
    assert Source("packages", [module], [], []).key == first
    os.utime(module, ns=(1, 1))
    assert Source("packages", [module], [], []).key != first


def test_packages_by_the_name_that_one_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "with_data"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    (package / "table.json").write_text("{}")
    (package / "__init__.pyi").write_text("x: int\n")
    (tmp_path / "single_file.py").write_text("y = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = [
        name.rpartition("/")[2] for name, _, _ in entries(packages(["with_data", "single_file"]).build())
    ]
    assert {"__init__.pyc", "table.json", "single_file.pyc"} < set(names)
    assert "__init__.pyi" not in names
    assert search_path(["with_data", "single_file", "holdfast"])[0] == str(tmp_path.resolve())
    with pytest.raises(UsageError, match="'no_such_package'"):
        packages(["no_such_package"])


@pytest.mark.live
def test_it_starts_where_there_is_nothing_else(
    archives: list[bytes], tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    cpio, chroot = need_tool("cpio"), need_tool("chroot")
    root = tmp_path / "root"
    root.mkdir()
    for archive in archives:
        subprocess.run(
            [cpio, "--extract", "--quiet", "--no-absolute-filenames"], input=archive, cwd=root, check=True
        )
    code = (
        f"import sys; sys.path += {list(search_path(['holdfast']))!r};"
        "import holdfast.load.session, ctypes, json;"
        "from holdfast.libbpf import library; print(library().version_text, sys.prefix)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [chroot, str(root), INTERPRETER, "-ISBc", code], capture_output=True, text=True, env={}, check=False
    )
    print(f"{time.monotonic() - started:.2f} s")
    assert done.stderr == ""
    assert done.stdout.split()[1] == sys.base_prefix
    assert not list(root.rglob("__pycache__"))
    shutil.rmtree(root)
