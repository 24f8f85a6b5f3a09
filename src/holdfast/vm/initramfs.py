# SPDX-License-Identifier: Apache-2.0
"""The first root of a guest: interpreter, packages, and what this boot alone needs, one archive after
another.

The first two are kept in ``$XDG_CACHE_HOME/holdfast/vm``, named after a digest of the files in them. The
whole is a file in memory that has no name and is gone when nobody has it open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from holdfast.kernels.cache import Cache, digest, folder
from holdfast.vm.cpio import Archive
from holdfast.vm.guest.loader import loader_file
from holdfast.vm.modules import Insertion
from holdfast.vm.python_root import INTERPRETER, Source, interpreter, packages, search_path

__all__ = ["MODULES", "PLAN", "archives", "archives_are_there", "build", "in_memory"]

PLAN = "/holdfast/plan.json"
MODULES = "/holdfast/modules"
_LOCK = "archives.lock"
_KEEP = 6  # archives: two or three for each interpreter and version of the packages
_INIT = """\
#!{interpreter} -ISB
import gc, sys
gc.disable()
sys.path += {folders!r}
from holdfast.vm.guest.later import later
later("inspect", "ipaddress")
from holdfast.vm.guest.init import main
main()
"""


def build(
    release: str,
    insertion: Insertion,
    *,
    config: str | None = None,
    files: Mapping[str, bytes] | None = None,
    with_packages: Iterable[str] = (),
) -> int:
    """Return a descriptor of the archives, the caller's to close.

    ``files`` are contents by absolute path. The first build for an interpreter takes some seconds.
    Raises :class:`~holdfast.errors.UsageError` for a package that is not installed.
    """
    others = tuple(with_packages)
    names = ("holdfast", *others)
    environment = loader_file()[1]
    kept = archives(others)
    plan = {"environment": environment, "modules": [name for name, _ in insertion.order]}
    own = Archive()
    own.folder("/dev")
    own.device("/dev/console", 5, 1)
    folders = list(search_path(names))
    own.file("/init", _INIT.format(interpreter=INTERPRETER, folders=folders).encode(), 0o755)
    own.file(PLAN, json.dumps(plan).encode())
    for name, image in insertion.order:
        own.file(f"{MODULES}/{name}.ko", image)
    if config is not None:
        own.file(f"/boot/config-{release}", config.encode())
    for path, content in (files or {}).items():
        own.file(path, content)
    return in_memory("initramfs", *kept, own.to_bytes())


def archives(with_packages: Iterable[str] = ()) -> list[bytes | memoryview]:
    """Return the archives that many boots share, built and kept where they are not there yet."""
    return [_archive(source) for source in _sources(with_packages)]


def archives_are_there(with_packages: Iterable[str] = ()) -> bool:
    """Return whether :func:`archives` has nothing to build, or nowhere to keep what it builds."""
    cache = _cache()
    return cache.path is None or all((cache.path / _name(one)).exists() for one in _sources(with_packages))


def in_memory(name: str, *parts: bytes | memoryview) -> int:
    """Return a descriptor of a file in memory that holds these parts, the caller's to close."""
    fd = os.memfd_create(f"holdfast-{name}", os.MFD_CLOEXEC)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _sources(with_packages: Iterable[str]) -> tuple[Source, Source]:
    others = tuple(with_packages)
    library, _ = loader_file()
    own = packages(("holdfast", *others), [] if library is None else [library])
    return interpreter(lean=not others), own


def _archive(source: Source) -> bytes | memoryview:
    cache, name = _cache(), _name(source)
    found = cache.get(name)
    if found is None:
        with _alone(cache.path):
            found = cache.get(name)  # another process may have built it meanwhile
            if found is None:
                content = source.build()
                cache.put(name, content)
                if cache.path is not None:
                    _prune(cache.path)
                return content
    _touch(cache.path, name)
    return found


def _cache() -> Cache:
    home = folder()
    return Cache(None if home is None else home / "vm")


def _name(source: Source) -> str:
    return digest("archive 1", source.key) + ".cpio"


@contextlib.contextmanager
def _alone(home: Path | None) -> Iterator[None]:
    """Keep other processes from building the same; where that cannot be, they do so in vain."""
    lock = None
    if home is not None:
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _touch(home: Path | None, name: str) -> None:
    """What is used is not what goes first."""
    try:
        if home is not None:
            os.utime(home / name)
    except OSError:
        pass  # another process has dropped it


def _prune(home: Path) -> None:
    try:
        archives = sorted(home.glob("*.cpio"), key=lambda one: one.stat().st_mtime)
        for old in archives[:-_KEEP]:
            old.unlink(missing_ok=True)
    except OSError:
        pass  # another process prunes too
