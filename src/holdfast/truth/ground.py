# SPDX-License-Identifier: Apache-2.0
"""From what a user names as kernels to facts and to the packages that boot: the files at hand, else the
distribution's archive.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, KernelFileError, UsageError
from holdfast.kernels.cache import Cache, folder
from holdfast.kernels.facts import KernelFacts

if TYPE_CHECKING:
    from holdfast.kernels.catalogue import Entry, KernelRow

__all__ = ["Ground", "grounds"]

_ARCH: Final = "x86_64"
_DEBIAN_ARCH: Final = "amd64"
_PACKAGE: Final = re.compile(r"linux-(?:image|binary)(?:-unsigned)?-(.+?)(?:-unsigned)?")
Step = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Ground:
    """A kernel to be booted and judged: its facts, and its package or image with its other parts.

    There are none of those where ``problem`` says why; ``row`` is what the catalogue says of it, if it does.
    """

    facts: KernelFacts = field(repr=False)
    paths: tuple[Path, ...]
    problem: str = ""
    row: KernelRow | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        return self.facts.id

    @property
    def build(self) -> str:
        """The sha256 (hex) of the package that is booted, "" where that is no file. Reads it all."""
        if not self.paths or not self.paths[0].is_file():
            return ""
        with self.paths[0].open("rb") as package:
            return file_digest(package, "sha256").hexdigest()


def grounds(
    selectors: Iterable[str], packages: Sequence[Path] = (), *, step: Step = lambda _: None
) -> list[Ground]:
    """The kernels that selectors name, each once.

    A selector is a path (package, vmlinuz, folder), an id or glob of the catalogue, or ``all`` of it. The
    package of a catalogued kernel is looked for in ``packages``, where ``HOLDFAST_KERNELS`` says (folders or
    packages, separated by colons), then among those that were fetched before, and is fetched otherwise. A
    path to a package that the catalogue has counts as the catalogue's kernel. Of several kernels that one
    selector names some may be gone from the archive: their ``problem`` says so.

    Raises :exc:`~holdfast.errors.UsageError` for a selector that names nothing that can be booted,
    :exc:`~holdfast.errors.KernelFileError`, and :exc:`~holdfast.kernels.sources.ArchiveError` where a package
    cannot be fetched.
    """
    from holdfast.kernels.catalogue import Shelf

    shelf = Shelf.open()
    found: dict[str, Ground] = {}
    for selector in selectors:
        for one in _of(selector, shelf, packages, step):
            found.setdefault(one.id, one)
    return list(found.values())


def _of(selector: str, shelf: object, packages: Sequence[Path], step: Step) -> list[Ground]:
    from holdfast.kernels.catalogue import Shelf

    assert isinstance(shelf, Shelf)
    if selector == "live" or selector.startswith("live/"):
        raise UsageError(
            "verify boots kernels, and the running one cannot be booted from here",
            hint="name its package, or an id of `holdfast kernels list`; `holdfast run` loads into this one",
        )
    path = Path(selector)
    if path.exists() or path.is_absolute() or selector.startswith("."):
        return [_from_path(path, shelf.entries(), step)]
    entries = shelf.entries() if selector == "all" else shelf.find([selector])
    bootable = [entry for entry in entries if entry.row.arch == _ARCH]
    if not bootable:
        raise UsageError(
            f"{selector!r} names no kernel for {_ARCH}, and others are not booted",
            hint="holdfast kernels list shows what there is",
        )
    from holdfast.kernels.sources import OfflineError

    found: list[Ground] = []
    problems: list[HoldfastError] = []
    for entry in bootable:
        try:
            paths, problem = _package(entry, [*packages, *_named()], step), ""
        except HoldfastError as error:
            if isinstance(error, OfflineError) or len(bootable) == 1:
                raise
            problems.append(error)
            paths, problem = (), str(error)
            step(f"no package of {entry.id}")
        found.append(Ground(entry.facts(Cache(folder())), paths, problem, entry.row))
    if len(problems) == len(bootable):
        raise problems[0]
    return found


def _from_path(path: Path, entries: Sequence[Entry], step: Step) -> Ground:
    known = _label(path)
    for entry in entries:
        if known and known == _release_and_version(*entry.row.package.partition(" ")[::2]):
            return Ground(entry.facts(Cache(folder())), (path,), row=entry.row)
    from holdfast.kernels import image

    step(path.name)
    return Ground(image.from_path(path, cache=Cache(folder())), (path,))


def _label(path: Path) -> tuple[str, str] | None:
    """Release and version of a Debian package of a kernel; None for anything else."""
    if path.suffix != ".deb" or not path.is_file():
        return None
    from holdfast.kernels.unpack.debian import Deb

    control = Deb.control_of(path)
    return _release_and_version(control.package, control.version)


def _release_and_version(package: str, version: str) -> tuple[str, str] | None:
    """A kernel may be split into packages (from 6.19 on in Debian): one of them stands for all."""
    found = _PACKAGE.fullmatch(package)
    return (found[1], version) if found else None


def _named() -> list[Path]:
    """The folders of ``HOLDFAST_KERNELS``, and those that its packages are in."""
    named = [Path(one) for one in os.environ.get("HOLDFAST_KERNELS", "").split(":") if one]
    return [one if one.is_dir() else one.parent for one in named]


def _package(entry: Entry, folders: Sequence[Path], step: Step) -> tuple[Path, ...]:
    name, _, version = entry.row.package.partition(" ")
    if not name:
        raise UsageError(
            f"{entry.id} came from no package, so there is nothing to boot",
            hint="name the file that it was added from instead",
        )
    for place in (*folders, *_fetched()):
        # deb file names leave the epoch out
        path = place / f"{name}_{version.rpartition(':')[2]}_{_DEBIAN_ARCH}.deb"
        if path.is_file():
            return (path,)
    step(f"fetching {name}")
    return _fetch(entry, name, version)


def _fetched() -> list[Path]:
    from holdfast.kernels import sources

    try:
        return [sources.folder() / "pool"]
    except HoldfastError:
        return []


def _fetch(entry: Entry, name: str, version: str) -> tuple[Path, ...]:
    from holdfast.kernels.sources import download, find

    origin = entry.record().package
    hint = f"put {name} {version} into a folder and name that with --packages or HOLDFAST_KERNELS"
    if origin is None or not origin.suite or not origin.distribution:
        raise KernelFileError(entry.id, "the catalogue does not say which suite its package is in", hint=hint)
    builds = find(origin.distribution, origin.suite, entry.row.release, _DEBIAN_ARCH)
    for build in builds:
        if build.version == version and build.release == entry.row.release:
            # the kernel is in the package that the catalogue names; the others are parts of it
            paths = download(build)
            return tuple(sorted(paths, key=lambda one: not one.name.startswith(f"{name}_")))
    offered = ", ".join(build.version for build in builds)
    message = f"{origin.suite} has no {name} {version} any more, it has {offered}"
    raise KernelFileError(entry.id, message, hint=hint)
