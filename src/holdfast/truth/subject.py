# SPDX-License-Identifier: Apache-2.0
"""What is verified: objects, alone or as the variants of bundles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.elf import ObjectSpec, object_from_bytes
from holdfast.errors import ObjectFileError, UsageError

__all__ = ["Load", "Subject", "subjects"]

_MANIFEST: Final = "holdfast.toml"


@dataclass(frozen=True, slots=True)
class Load:
    """One object as a guest gets it: bytes and names, nothing that is costly to send to another process."""

    sha256: str
    name: str
    content: bytes = field(repr=False)
    programs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """An object and its content; ``name`` is its path as given, or that of a bundle's variant."""

    name: str
    content: bytes = field(repr=False)
    spec: ObjectSpec = field(repr=False)

    @property
    def sha256(self) -> str:
        return self.spec.sha256

    @property
    def load(self) -> Load:
        # names, each once: of two programs with one name libbpf finds the first alone
        names = tuple(dict.fromkeys(program.name for program in self.spec.programs))
        return Load(self.sha256, self.name, self.content, names)


def subjects(paths: Iterable[str | Path]) -> list[Subject]:
    """Objects, bundles (a folder with a manifest, or the manifest), and folders of objects (``*.o``, at any
    depth), each content once.

    Raises :exc:`~holdfast.errors.ObjectFileError` and what :meth:`holdfast.bundle.bundle.Bundle.open` does;
    :exc:`~holdfast.errors.UsageError` for a folder with none.
    """
    found: dict[str, Subject] = {}
    for path in map(Path, paths):
        for subject in _of(path):
            found.setdefault(subject.sha256, subject)
    return list(found.values())


def _of(path: Path) -> Iterator[Subject]:
    if path.name == _MANIFEST or (path / _MANIFEST).is_file():
        from holdfast.bundle.bundle import Bundle

        for variant in Bundle.open(path).variants:
            yield Subject(str(variant.path), variant.content, variant.spec)
    elif path.is_dir():
        files = sorted(path.rglob("*.o"))
        if not files:
            raise UsageError(f"there are no objects in {path}", hint="name *.o files, a bundle, or a folder")
        for file in files:
            yield _object(file)
    else:
        yield _object(path)


def _object(path: Path) -> Subject:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ObjectFileError(str(path), f"it cannot be read: {error.strerror}") from None
    return Subject(str(path), content, object_from_bytes(content, str(path)))
