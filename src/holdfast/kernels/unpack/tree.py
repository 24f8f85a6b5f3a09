# SPDX-License-Identifier: Apache-2.0
"""Kernels out of folders: a root with boot/ and lib/modules/, or one lib/modules/RELEASE."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import limits
from holdfast.kernels.unpack.gather import Gathered
from holdfast.kernels.unpack.layout import place_of
from holdfast.kernels.unpack.members import shown
from holdfast.kernels.unpack.modules import FileModule, builtin_names, module_name
from holdfast.kernels.unpack.streams import FileStream

__all__ = ["gather"]

_ENTRIES: Final = 200_000
_FOLDERS: Final = ("lib/modules", "usr/lib/modules")


def gather(path: Path, *, only_kernel: bool = False) -> Gathered:
    """The parts of the one kernel that a folder holds; modules are read when asked for.

    Links are not followed, except for ``lib`` itself, which is one on every merged system. Raises
    :exc:`KernelFileError`: none or several kernels, a file that cannot be read.
    """
    root, release = _root_of(path)
    releases = [release] if release else _releases(root)
    if len(releases) > 1:
        raise KernelFileError(
            str(path),
            f"it has {len(releases)} kernels: {', '.join(releases[:6])}{' ...' if len(releases) > 6 else ''}",
            hint=f"name one: {path}/lib/modules/{releases[0]}",
        )
    gathered = Gathered(str(path), only_kernel=only_kernel)
    if releases:
        for name, file in _files(root, releases[0], path if release else None):
            _take(gathered, name, file)
    return gathered


def _root_of(path: Path) -> tuple[Path, str]:
    """The root, and the release where ``path`` is a modules' folder."""
    whole = path.absolute()
    if whole.parent.name == "modules" and whole.parent.parent.name == "lib":
        base = whole.parent.parent.parent
        return (base.parent if base.name == "usr" else base), whole.name
    return whole, ""


def _releases(root: Path) -> list[str]:
    found = set()
    for folder in _FOLDERS:
        for entry in _entries(root / folder):
            # a module of some release stands for the release
            if (part := place_of(f"lib/modules/{entry.name}/x.ko")) and entry.is_dir(follow_symlinks=False):
                found.add(part.release)
    for entry in _entries(root / "boot"):
        part = place_of(f"boot/{entry.name}")
        if part and part.kind == "kernel" and entry.is_file(follow_symlinks=False):
            found.add(part.release)
    return sorted(found)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise KernelFileError(str(folder), f"it cannot be read: {error.strerror}") from error


def _files(root: Path, release: str, named: Path | None) -> Iterator[tuple[str, Path]]:
    """Name from the root and path of each regular file, the smaller folders first."""
    for entry in _entries(root / "boot"):
        if entry.name.endswith(release) and entry.is_file(follow_symlinks=False):
            yield f"boot/{entry.name}", Path(entry.path)
    folders = [named] if named else [root / folder / release for folder in _FOLDERS]
    seen: set[tuple[int, int]] = set()
    count = 0
    for top in folders:
        waiting = [(top, "")] if top.is_dir() else []
        while waiting:
            folder, inner = waiting.pop()
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:  # lib and usr/lib are the same
                continue
            seen.add((status.st_dev, status.st_ino))
            for entry in _entries(folder):
                count += 1
                if count > _ENTRIES:
                    raise KernelFileError(
                        str(top), f"it has more than {_ENTRIES} files", hint="no kernel has"
                    )
                name = inner + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), name + "/"))
                elif entry.is_file(follow_symlinks=False):
                    yield f"lib/modules/{release}/{name}", Path(entry.path)


def _take(gathered: Gathered, name: str, file: Path) -> None:
    part = place_of(name)
    if part is None or (gathered.only_kernel and part.kind != "kernel"):
        return
    gathered.admit(part, shown(name), gathered.path)
    match part.kind:
        case "kernel":
            if gathered.kernel is None:
                gathered.kernel = _bytes(file, limits.FILE)
                gathered.kernel_place, gathered.kernel_origin = "", str(file)
        case "config":
            if gathered.config is None:
                gathered.config = _bytes(file, limits.CONFIG).decode("utf-8", "replace")
        case "builtin":
            gathered.builtin = builtin_names(_bytes(file, limits.CONFIG))
        case "module":
            gathered.modules.append(FileModule(module_name(part.inner), part.inner, file))


def _bytes(file: Path, limit: int) -> bytes:
    stream = FileStream(file)
    try:
        if stream.size > limit:
            raise KernelFileError(
                str(file), f"it has more than {limit >> 20} MiB", hint="no kernel's file has"
            )
        return stream.read(stream.size)
    finally:
        stream.close()
