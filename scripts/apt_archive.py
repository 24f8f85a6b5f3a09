# SPDX-License-Identifier: Apache-2.0
"""Read the distribution's package archive, the one that apt on this machine is configured with.

No address is written in this repository: apt is asked. What is fetched is checked on the way down:
a suite's ``Release`` against its signature by the distribution's keyring, an index against ``Release``,
a package against the index. Standard library only, for scripts that run before anything is installed.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Archive", "ArchiveError", "Suite", "find_archive"]

KEYRINGS = {
    "debian": ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp"),
    "ubuntu": ("ubuntu-archive-keyring.gpg",),
}
KEYRING_FOLDERS = (Path("/usr/share/keyrings"), Path("/etc/apt/trusted.gpg.d"))


class ArchiveError(Exception):
    """One line for the user; ``offline``: the archive did not answer, else it answered wrongly."""

    def __init__(self, message: str, *, offline: bool = False) -> None:
        super().__init__(message)
        self.offline = offline


@dataclass(frozen=True, slots=True)
class Archive:
    """A distribution's archive: ``origin`` is debian or ubuntu, ``codename`` this machine's release."""

    address: str
    origin: str
    codename: str


def find_archive() -> Archive:
    """Return the distribution's main archive; raise ArchiveError when apt is configured for none."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    system = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    codename = system.get("VERSION_CODENAME") or "stable"
    like = (system.get("ID", ""), *system.get("ID_LIKE", "").split())
    origin = "ubuntu" if "ubuntu" in like else "debian"
    if shutil.which("apt-get") is None:
        raise ArchiveError("packages are read from apt's archive, and there is no apt-get here")
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
    for line in targets.splitlines():
        address, release, component = [*line.split(), "", "", ""][:3]
        # Others' archives have no suite named like the distribution's; security archives hold a part only.
        own = release.split("-")[0] in (codename, "stable", "testing", "unstable", "sid")
        if own and component == "main" and "security" not in release + address:
            return Archive(address.rstrip("/"), origin, codename)
    raise ArchiveError("apt names no archive of the distribution (see /etc/apt/sources.list.d)")


class Suite:
    """One signed suite of an archive; ``folder`` keeps its indexes, used again while they are valid."""

    def __init__(self, archive: Archive, name: str, folder: Path) -> None:
        self.archive = archive
        self.name = name
        self.folder = folder
        self.signed = True
        self._hashes = self._read_release()

    def _read_release(self) -> dict[str, str]:
        base = f"{self.archive.address}/dists/{self.name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        release = download(f"{base}/Release", self.folder / "Release")
        signature = download(f"{base}/Release.gpg", self.folder / "Release.gpg")
        self.signed = check_signature(release, signature, self.archive.origin)
        return section(release.read_text(), "SHA256")

    def packages(self, architecture: str, names: set[str]) -> dict[str, dict[str, str]]:
        """Return the newest stanza of each wanted binary package that the suite has, as {field: value}."""
        found: dict[str, dict[str, str]] = {}
        for component in ("main", "universe"):
            index = f"{component}/binary-{architecture}/Packages"
            packed = next((index + end for end in (".xz", ".gz") if index + end in self._hashes), None)
            if packed is None:
                continue
            path = self.folder / packed.replace("/", "_")
            digest = self._hashes[packed]
            if not path.exists() or sha256(path) != digest:
                download(f"{self.archive.address}/dists/{self.name}/{packed}", path, digest)
            for fields in stanzas(path, names):
                found.setdefault(fields["Package"], fields)
        return found

    def fetch(self, fields: dict[str, str], folder: Path) -> Path:
        """Fetch a package's file into ``folder``."""
        name = fields["Filename"]
        return download(f"{self.archive.address}/{name}", folder / Path(name).name, fields["SHA256"])


def stanzas(path: Path, names: set[str]) -> Iterator[dict[str, str]]:
    """Yield the one-line fields of each wanted package in a compressed index."""
    opener = lzma.open if path.suffix == ".xz" else gzip.open
    fields: dict[str, str] | None = None
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("Package: "):
                name = line[len("Package: ") : -1]
                fields = {"Package": name} if name in names else None
            elif fields is not None and line == "\n":
                yield fields
                fields = None
            elif fields is not None and not line.startswith(" "):
                key, _, value = line.rstrip("\n").partition(": ")
                fields[key] = value
    if fields is not None:
        yield fields


def section(text: str, field: str) -> dict[str, str]:
    """Return {file name: digest} of one multi-line field of a Release file."""
    entries: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line == f"{field}:"
        elif inside:
            digest, _size, name = line.split()
            entries[name] = digest
    return entries


def download(address: str, target: Path, digest: str | None = None) -> Path:
    """Fetch a file in one step or not at all, by apt's own downloader if there is one (proxies, mirrors)."""
    staged = target.with_name(f".{target.name}.part")
    staged.unlink(missing_ok=True)
    helper = Path("/usr/lib/apt/apt-helper")
    try:
        if helper.exists():
            options = ["-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2"]
            run([str(helper), *options, "download-file", address, str(staged)])
        else:
            with urllib.request.urlopen(address, timeout=60) as answer, staged.open("wb") as out:  # noqa: S310
                shutil.copyfileobj(answer, out)
    except (OSError, ArchiveError) as error:
        staged.unlink(missing_ok=True)
        reason = re.sub(r"\s+", " ", str(error))
        missing = " 404 " in f" {reason} "
        raise ArchiveError(f"{target.name} cannot be fetched ({reason})", offline=not missing) from None
    if digest is not None and sha256(staged) != digest:
        staged.unlink()
        raise ArchiveError(f"{target.name} does not match the checksum in its index")
    staged.replace(target)
    return target


def check_signature(release: Path, signature: Path, origin: str) -> bool:
    """Refuse a Release file that the distribution did not sign; return False when nothing here can tell."""
    keyring = next((f / n for f in KEYRING_FOLDERS for n in KEYRINGS[origin] if (f / n).exists()), None)
    # apt brought gpgv up to 2.9.18 (Debian 12, Ubuntu 24.10) and sqv from 2.9.19 on.
    tool = shutil.which("gpgv") or shutil.which("sqv")
    if keyring is None or tool is None:
        return False
    try:
        run([tool, "--keyring", str(keyring), str(signature), str(release)])
    except ArchiveError:
        raise ArchiveError(f"no key of {keyring.name} signed the suite's Release file") from None
    return True


def sha256(path: Path) -> str:
    """Return the file's digest in hexadecimal."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def run(command: list[str]) -> str:
    """Return what a tool prints; raise ArchiveError with its own error line when it fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        line = next((line for line in lines if line.startswith("E:")), lines[-1] if lines else "no word why")
        raise ArchiveError(f"{Path(command[0]).name}: {line.strip()}")
    return done.stdout
