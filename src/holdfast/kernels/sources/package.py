# SPDX-License-Identifier: Apache-2.0
"""Packages, as an archive's indexes tell of them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from holdfast.kernels.sources import deb822, version
from holdfast.kernels.sources.deb822 import Digest
from holdfast.kernels.sources.errors import MissingError, UntrustedError
from holdfast.kernels.sources.suite import Suite
from holdfast.kernels.sources.transfer import quoted

__all__ = ["Package", "RemoteFile", "SourcePackage", "packages", "source_package"]

_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of an archive: its own name, its address (for messages: ``transfer.shown``), and its digest,
    None where no index has it."""

    name: str
    address: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Package:
    """A binary package. ``source`` and ``source_version`` are the source package it was built from;
    ``depends`` its relations as they stand (Pre-Depends, Depends and Recommends)."""

    name: str
    version: str
    arch: str
    source: str
    source_version: str
    depends: str
    file: RemoteFile
    distribution: str
    suite: str


@dataclass(frozen=True, slots=True)
class SourcePackage:
    """A source package with all its files, the .dsc first."""

    name: str
    version: str
    files: tuple[RemoteFile, ...]
    distribution: str
    suite: str


def packages(suite: Suite, arch: str, patterns: Iterable[str]) -> list[Package]:
    """Return the suite's packages whose names match one of the patterns (shell's), each version, sorted.

    ``arch`` is the distribution's word (``amd64``). Raises :exc:`MissingError` when the suite is not made for
    it, and what fetching an index raises.
    """
    known = suite.release.architectures
    if not _ARCHITECTURE.fullmatch(arch) or (known and arch not in known):
        raise MissingError(f"{suite.name} has no architecture {arch!r}; it has {', '.join(known)}")
    wanted = _pattern(patterns)
    found: dict[tuple[str, str], Package] = {}
    for component in suite.distribution.components:
        text = suite.index(f"{component}/binary-{arch}/Packages")
        for fields in _stanzas(text or b"", wanted):
            one = _package(suite, fields)
            found.setdefault((one.name, one.version), one)
    return sorted(found.values(), key=lambda one: (one.name, version.sort_key(one.version)))


def source_package(suite: Suite, name: str, wanted: str | None = None) -> SourcePackage:
    """Return a source package, its newest version or the ``wanted`` one.

    Raises :exc:`MissingError` when the suite does not have it.
    """
    found: list[dict[str, str]] = []
    for component in suite.distribution.components:
        text = suite.index(f"{component}/source/Sources")
        found += _stanzas(text or b"", _pattern([re.sub(r"([*?[])", r"[\1]", name)]))
    if wanted is not None:
        found = [fields for fields in found if fields.get("version") == wanted]
    if not found:
        what = f"{name} {wanted}" if wanted else name
        raise MissingError(f"{suite.name} has no source package {what}")
    fields = max(found, key=lambda one: version.sort_key(one.get("version", "")))
    base = f"{suite.address}/{quoted(fields.get('directory', ''))}"
    files = [
        RemoteFile(_basename(each), f"{base}/{quoted(each)}", digest)
        for each, digest in deb822.checksums(fields.get("checksums-sha256", "")).items()
    ]
    files.sort(key=lambda one: (not one.name.endswith(".dsc"), one.name))
    return SourcePackage(name, fields.get("version", ""), tuple(files), suite.distribution.name, suite.name)


def _pattern(patterns: Iterable[str]) -> re.Pattern[bytes]:
    """A stanza's first line for these names; one search through an index is 50 times as fast as its lines."""
    names = "|".join(fnmatch.translate(one).removesuffix(r"\Z").removesuffix(r"\z") for one in patterns)
    # translate's dot takes a line feed too; a name has none. The literal start is what makes the search fast.
    return re.compile(rf"(?m)\nPackage:[ \t]*(?:{names.replace('(?s:', '(?-s:')})[ \t]*\r?$".encode())


def _stanzas(text: bytes, wanted: re.Pattern[bytes]) -> Iterator[dict[str, str]]:
    text = b"\n" + text
    for match in wanted.finditer(text):
        before, after = text.rfind(b"\n\n", 0, match.start() + 1), text.find(b"\n\n", match.end())
        stanza = text[before + 2 if before >= 0 else 1 : after if after >= 0 else len(text)]
        yield deb822.stanza(stanza.decode(errors="replace"))


def _package(suite: Suite, fields: dict[str, str]) -> Package:
    name, number = fields.get("package", ""), fields.get("version", "")
    size, sha256 = fields.get("size", ""), fields.get("sha256", "").lower()
    if not size.isdecimal() or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UntrustedError(f"the index of {suite.name} has no SHA256 and size for {name}")
    path = fields.get("filename", "").removeprefix("./")
    source, _, source_version = fields.get("source", name).partition(" ")
    relations = (fields.get(key, "") for key in ("pre-depends", "depends", "recommends"))
    return Package(
        name=name,
        version=number,
        arch=fields.get("architecture", ""),
        source=source,
        source_version=source_version.strip("() ") or number,
        depends=", ".join(" ".join(one.split()) for one in relations if one),
        file=RemoteFile(_basename(path), f"{suite.address}/{quoted(path)}", Digest(int(size), sha256)),
        distribution=suite.distribution.name,
        suite=suite.name,
    )


def _basename(path: str) -> str:
    quoted(path)  # refuses what is no path inside an archive
    name = PurePosixPath(path).name
    if name.startswith("."):
        raise UntrustedError(f"the index names a file {path!r}, which no archive has")
    return name
