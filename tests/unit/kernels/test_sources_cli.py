# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels fetch`` on the command line: what it lists, fetches, adds, keeps and says."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.debarchive import DebArchive, Key, Server, serve

from holdfast.cli.kernels_fetch import command
from holdfast.errors import KernelFileError
from holdfast.kernels import sources
from holdfast.kernels.sources import archive as archive_module
from holdfast.kernels.sources.apt import AptConfig, Entry

NAMES = ["linux-image-6.12.1-amd64", "linux-image-6.18.1-amd64"]


@pytest.fixture(scope="module")
def key(need_tool: Callable[[str], str]) -> Iterator[Key]:
    need_tool("gpg")
    need_tool("gpgv")
    with tempfile.TemporaryDirectory(prefix="hf") as room:  # a socket's path has 108 bytes at most
        made = Key(Path(room) / "a", "archive")
        try:
            yield made
        finally:
            made.end()


@pytest.fixture
def served(key: Key) -> Iterator[Server]:
    archive = DebArchive()
    for name in NAMES:
        archive.package(name, name.split("-")[2] + "-1", Source="linux")
    archive.publish("trixie", key)
    with serve(archive) as server:
        server.keyring = str(key.binary)
        yield server


@pytest.fixture
def added(served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """This machine is configured for the served archive alone; the paths that were to be added."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = Entry(served.address, ("trixie",), ("main",), served.keyring)
    monkeypatch.setattr(archive_module, "read_config", lambda: AptConfig((entry,), {}, tmp_path))
    seen: list[list[Path]] = []

    def add_package(paths: list[Path], *, distribution: str, suite: str, **_rest: str) -> str:
        assert all(path.is_file() for path in paths)
        assert (distribution, suite) == ("debian", "trixie")
        seen.append(paths)
        return f"debian/{paths[0].name.split('_')[0].removeprefix('linux-image-')}"

    monkeypatch.setitem(sys.modules, "holdfast.kernels.build", SimpleNamespace(add_package=add_package))
    return seen


def run(*arguments: str) -> Result:
    fixed = ["--distribution", "debian", "--suite", "trixie", "--arch", "amd64"]
    return CliRunner().invoke(command, [*fixed, *arguments], standalone_mode=False)


def parsed(result: Result) -> list[dict[str, Any]]:
    assert result.exception is None
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    rows: list[dict[str, Any]] = document["kernels"]
    return rows


def test_a_list_fetches_no_package(added: list[list[Path]], served: Server) -> None:
    result = run("--list", "*")
    assert [line.split()[0] for line in result.stdout.splitlines()] == NAMES
    assert served.asked(".deb") == []
    assert added == []


def test_kernels_are_fetched_added_and_gone(added: list[list[Path]], tmp_path: Path) -> None:
    rows = parsed(run("--format", "json", "linux-image-6.12*"))
    (row,) = rows
    assert row["id"] == "debian/6.12.1-amd64"
    assert (row["package"], row["version"], row["release"]) == (NAMES[0], "6.12.1-1", "6.12.1-amd64")
    assert row["files"] == []
    assert row["error"] is None
    assert [path.name for path in added[0]] == [f"{NAMES[0]}_6.12.1-1_amd64.deb"]
    assert not any(path.suffix == ".deb" for path in tmp_path.rglob("*"))


def test_kept_packages_are_named(added: list[list[Path]]) -> None:
    rows = parsed(run("--format", "json", "--keep", "*"))
    assert [Path(row["files"][0]) for row in rows] == [paths[0] for paths in added]
    assert all(path.is_file() for paths in added for path in paths)


def test_one_that_fails_does_not_keep_the_others_away(
    added: list[list[Path]], served: Server, tmp_path: Path
) -> None:
    name = next(name for name in served.archive.files if NAMES[0] in name)
    served.archive.files[name] = bytes(len(served.archive.files[name]))
    result = run("--format", "json", "*")
    first, second = parsed(result)
    assert result.return_value == 1
    assert "does not match the checksum" in first["error"]
    assert first["id"] is None
    assert second["id"] == "debian/6.18.1-amd64"
    assert "does not match the checksum" in result.stderr


def test_one_that_is_alone_and_fails_is_the_error(
    added: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(paths: list[Path], **_rest: str) -> str:
        raise KernelFileError(str(paths[0]), "is no kernel")

    monkeypatch.setitem(sys.modules, "holdfast.kernels.build", SimpleNamespace(add_package=refuse))
    result = run("linux-image-6.12*")
    assert isinstance(result.exception, KernelFileError)
    assert result.stdout == ""


def test_nothing_that_matches_is_an_error(added: list[list[Path]]) -> None:
    result = run("--list", "linux-image-9*")
    assert isinstance(result.exception, sources.MissingError)


def test_this_machines_own_words_are_the_default(
    added: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("holdfast.kernels.sources.distribution.machine", lambda: ("debian", "trixie"))
    result = CliRunner().invoke(command, ["--suite", "trixie", "--list", "*"], standalone_mode=False)
    assert result.exception is None
    assert NAMES[0] in result.stdout
