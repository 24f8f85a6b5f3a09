# SPDX-License-Identifier: Apache-2.0
"""Kernels out of a signed archive: which one a word names, and what lies in the folder afterwards."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import bootkernels

ROOT = Path(__file__).resolve().parents[3]
SUITE = "trixie-backports"
WORD = f"{SUITE}:linux-image-7.*-cloud-amd64"
GONE = f"{SUITE}:linux-image-6.18.*-cloud-amd64"
Fetch = Callable[..., "subprocess.CompletedProcess[str]"]


def stanza(pool: Path, name: str, version: str, depends: str = "") -> str:
    content = f"{name} {version}".encode()
    path = f"pool/main/l/linux/{name}_{version}_amd64.deb"
    (pool.parent / path).parent.mkdir(parents=True, exist_ok=True)
    (pool.parent / path).write_bytes(content)
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nSource: linux\nDepends: {depends}\n"
        f"Filename: {path}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    )


def split(pool: Path, release: str, listed: bool = True) -> list[str]:
    """A kernel in three parts; not ``listed``: the index has its image alone."""
    parts = [f"linux-{part}-{release}" for part in ("binary", "modules")]
    depends = ", ".join(f"{part} (= {release}-1)" for part in parts)
    image = stanza(pool, f"linux-image-{release}", f"{release}-1", depends)
    return [image, *(stanza(pool, part, f"{release}-1") for part in parts if listed)]


class Archive:
    """An archive in a folder, signed by a key of its own, that apt's configuration names."""

    def __init__(self, room: Path, gpg: str) -> None:
        self.room, self.gpg, self.root = room, gpg, room / "archive"
        self.home = room / "gnupg"
        self.home.mkdir(mode=0o700)
        key = ["--quick-generate-key", "--passphrase", "", "test@example.org", "ed25519", "sign", "never"]
        self._gpg(*key)
        keyring = room / "debian-archive-keyring.gpg"
        self._gpg("--output", str(keyring), "--export")
        (room / "parts").mkdir()
        (room / "parts" / "here.list").write_text(f"deb [signed-by={keyring}] file:{self.root} trixie main\n")
        (room / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{room}/none";\nDir::Etc::sourceparts "{room}/parts";\n'
        )

    def _gpg(self, *words: str) -> None:
        command = [self.gpg, "--homedir", str(self.home), "--batch", "--quiet", "--yes", *words]
        subprocess.run(command, check=True, capture_output=True)

    def publish(self, *stanzas: str) -> None:
        text = "\n".join(stanzas)
        folder = self.root / "dists" / SUITE
        index = folder / "main/binary-amd64/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (folder / "Release").write_text(
            f"Origin: Debian Backports\nSuite: {SUITE}\nCodename: {SUITE}\n"
            "Architectures: amd64\nComponents: main\n"
            "Date: Sat, 01 Aug 2026 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(text)} main/binary-amd64/Packages\n"
        )
        self._gpg("--clear-sign", "--output", str(folder / "InRelease"), str(folder / "Release"))


@pytest.fixture
def archive(tmp_path: Path, need_tool: Callable[[str], str]) -> Iterator[Archive]:
    made = Archive(tmp_path, need_tool("gpg"))
    yield made
    subprocess.run([need_tool("gpgconf"), "--homedir", made.home, "--kill", "all"], check=True)


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                str(ROOT / "scripts/fetch-kernels"),
                "--into",
                str(tmp_path / "kernels"),
                *words,
            ],
            env={**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def kernels(tmp_path: Path) -> set[str]:
    return {path.name.split("_")[0] for path in (tmp_path / "kernels").glob("*.deb")}


def of(release: str) -> set[str]:
    return {f"linux-{part}-{release}" for part in ("image", "binary", "modules")}


OLD, NEW = "7.2.9-cloud-amd64", "7.2.12-cloud-amd64"


def test_the_newest_that_is_listed_whole_is_fetched_once(
    archive: Archive, fetch: Fetch, tmp_path: Path
) -> None:
    pool = archive.root / "pool"
    archive.publish(*split(pool, OLD), *split(pool, "7.3.1-cloud-amd64", listed=False))
    done = fetch(WORD, "--if-listed", GONE)
    assert done.returncode == 0, done.stderr
    assert OLD in done.stdout
    assert done.stderr.startswith(f"fetch-kernels: {GONE}: {SUITE} has no kernel package")
    assert kernels(tmp_path) == of(OLD)
    (archive.root / "dists").rename(tmp_path / "away")
    again = fetch(WORD)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_refresh_replaces_and_what_was_lost_comes_again(
    archive: Archive, fetch: Fetch, tmp_path: Path
) -> None:
    pool = archive.root / "pool"
    archive.publish(*split(pool, OLD))
    assert fetch(WORD).returncode == 0
    archive.publish(*split(pool, OLD), *split(pool, NEW))
    assert fetch(WORD).stdout == ""
    assert NEW in fetch("--refresh", WORD).stdout
    assert kernels(tmp_path) == of(NEW)
    next((tmp_path / "kernels").glob("linux-modules-*")).unlink()
    assert fetch(WORD).returncode == 0
    assert kernels(tmp_path) == of(NEW)


def test_what_no_index_lists_and_what_is_not_what_was_signed_is_not_taken(
    archive: Archive, fetch: Fetch, tmp_path: Path
) -> None:
    pool = archive.root / "pool"
    archive.publish(*split(pool, NEW, listed=False))
    done = fetch(WORD)
    assert done.returncode == 1
    assert "only in part" in done.stderr and done.stderr.count("\n") == 1
    archive.publish(*split(pool, NEW))
    image = next(pool.rglob("linux-modules-*"))
    image.write_bytes(b"X" * image.stat().st_size)
    done = fetch(WORD)
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1
    assert "linux-modules-" + NEW not in kernels(tmp_path)
    assert not list((tmp_path / "kernels" / ".done").glob("*"))


def test_a_kernel_that_has_to_be_there_and_is_not_fails(archive: Archive, fetch: Fetch) -> None:
    archive.publish(*split(archive.root / "pool", NEW))
    done = fetch(GONE)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fetch-kernels: {GONE}: ") and done.stderr.count("\n") == 1


def test_what_apt_has_no_archive_for_is_one_line(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "apt.conf").write_text(f'Dir::Etc "{tmp_path}/none";\n')
    done = fetch(WORD)
    assert done.returncode == 1
    assert done.stderr.startswith("fetch-kernels: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("word", ["linux-image-*", "a:b:c", "a/b:c"])
def test_a_wrong_word_is_a_usage_error(fetch: Fetch, word: str) -> None:
    done = fetch(word)
    assert done.returncode == 2
    assert f"not SUITE:PATTERN: {word}" in done.stderr


def test_the_oldest_and_the_newest_are_booted_unless_others_are_named(tmp_path: Path) -> None:
    for release in (
        "7.2.12+deb13-cloud-amd64",
        "6.12.9-cloud-amd64",
        "6.1.0-50-cloud-amd64",
        "5.10.0-cloud-amd64",
    ):
        (tmp_path / f"linux-image-{release}_{release.partition('-')[0]}-1_amd64.deb").touch()
    (tmp_path / "linux-modules-7.2.12+deb13-cloud-amd64_7.2.12-1_amd64.deb").touch()
    booted = [path.name.split("_")[1] for path in bootkernels.to_boot(tmp_path, {})]
    assert booted == ["5.10.0-1", "7.2.12+deb13-1"]
    named = bootkernels.to_boot(tmp_path, {"HOLDFAST_KERNELS": "/a.deb:/b"})
    assert named == [Path("/a.deb"), Path("/b")]
    assert bootkernels.to_boot(tmp_path / "none", {}) == []
