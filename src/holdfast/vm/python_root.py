# SPDX-License-Identifier: Apache-2.0
"""This interpreter, its standard library and this package, as a part of a guest's root.

The guest has them under the same paths as this machine, so that the interpreter finds its home and the linker
its libraries as they do here. Modules are compiled: without the source nobody asks whether a .pyc is fresh,
and nothing is compiled in the guest, which is slow at it.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType

from holdfast.errors import UsageError
from holdfast.kernels.cache import digest
from holdfast.vm.cpio import Archive
from holdfast.vm.libraries import stripped, with_libraries

__all__ = ["INTERPRETER", "Source", "interpreter", "packages", "search_path"]

INTERPRETER = "/python"  # what the guest calls it; a link, because a #! line is short and has no spaces
# Of no use to a job, and large. _hashlib and _ssl would bring OpenSSL; hashlib has its own BLAKE2 and SHA.
_NOT_FOLDERS = frozenset(
    {
        "__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo",
        "lib2to3", "ensurepip", "distutils", "pydoc_data", "venv", "xml", "xmlrpc", "wsgiref", "curses",
        "dbm", "sqlite3", "_pyrepl", "lib-dynload",
    }
)  # fmt: skip
_NOT_EXTENSIONS = (
    "_test", "_ctypes_test", "_xx", "xx", "_tkinter", "_ssl", "_hashlib", "_sqlite3", "_curses", "_dbm",
    "_gdbm", "readline", "nis", "_crypt", "_codecs_", "_multibytecodec", "audioop", "ossaudiodev", "_lsprof",
    "pyexpat", "_elementtree", "_uuid", "_interp",
)  # fmt: skip
# What Holdfast and its jobs import nothing of; packages from elsewhere may. It saves 14 of
# the 36 MB that each boot would unpack.
_ONLY_FOR_OTHERS = frozenset(
    {
        "asyncio", "concurrent", "macholib", "email", "html", "http", "multiprocessing", "unittest",
        "wsgiref", "unicodedata", "_decimal", "_pickle", "_asyncio", "_pydecimal", "_pyio",
        "turtle", "pydoc", "tarfile", "zipfile", "mailbox", "doctest", "pdb", "imaplib", "ftplib", "smtplib",
        "nntplib", "poplib", "telnetlib", "cgi", "statistics", "fractions", "optparse", "_strptime",
        "pickletools", "plistlib", "cProfile", "profile", "pstats", "trace", "_osx_support", "aifc", "wave",
        "sunau", "smtpd", "asynchat", "asyncore", "configparser", "difflib", "webbrowser",
    }
)  # fmt: skip
_NO_PART = frozenset(
    {"__pycache__", "tests", "_catalogue"}
)  # of installed packages; nothing is predicted there
_PYC = struct.Struct("<4sIII")  # magic, flags, mtime in s, size in bytes (PEP 552)


class Source:
    """A part of a root that can be told apart by :attr:`key` before it is built."""

    def __init__(
        self, kind: str, modules: Iterable[Path], files: Iterable[Path], binaries: Iterable[Path]
    ) -> None:
        """``modules`` are .py files, ``files`` are taken as they are, ``binaries`` with their libraries."""
        self._modules = sorted(set(modules))
        self._files = sorted(set(files))
        self._binaries = sorted(set(binaries))
        self.kind = kind

    @property
    def key(self) -> str:
        """Return a digest over paths, sizes and times of all that goes in."""
        parts = [self.kind, sys.version, str(Path(sys.executable).resolve())]
        for path in (*self._modules, *self._files, *self._binaries):
            status = path.stat()
            parts.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}")
        return digest(*parts)

    def build(self) -> bytes:
        """Return the archive."""
        archive = Archive()
        for path in self._modules:
            _put(archive, path.with_suffix(".pyc"), _compiled(path))
        for path in self._files:
            _put(archive, path, path.read_bytes())
        for path, data in with_libraries(self._binaries).items():
            _put(archive, path, stripped(data), mode=0o755)
        if self.kind == "python":
            archive.link(INTERPRETER, str(Path(sys.executable).resolve()))
        return archive.to_bytes()


def interpreter(*, lean: bool = False) -> Source:
    """Return this interpreter with its standard library, without packages that were installed; ``lean``
    without what Holdfast itself has no use for.
    """
    without = _ONLY_FOR_OTHERS if lean else frozenset()
    base = {"installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
    # the scheme's own names, base and platbase, are those of a virtual environment
    base |= {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    home = Path(sysconfig.get_path("stdlib", vars=base))
    extensions = Path(sysconfig.get_path("platstdlib", vars=base)) / "lib-dynload"
    binaries = [Path(sys.executable).resolve()]
    if extensions.is_dir():
        found = (one for one in extensions.glob("*.so") if not one.name.startswith(_NOT_EXTENSIONS))
        binaries += [one for one in found if one.name.partition(".")[0] not in without]
    cache = Path("/etc/ld.so.cache")
    every = _walk(home, _NOT_FOLDERS | without)
    modules = (one for one in every if one.suffix == ".py" and one.stem not in without)
    return Source("python", modules, [cache] if cache.is_file() else [], binaries)


def packages(names: Iterable[str], libraries: Iterable[Path] = ()) -> Source:
    """Return installed packages, found by the names that one imports, and libraries that they open by name.

    Raises :class:`~holdfast.errors.UsageError` for a package that is not here.
    """
    modules: list[Path] = []
    files: list[Path] = []
    binaries: list[Path] = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise UsageError(f"no package {name!r} is installed that a guest could have")
        if not spec.submodule_search_locations and spec.origin:
            (modules if spec.origin.endswith(".py") else binaries).append(Path(spec.origin).resolve())
        for folder in spec.submodule_search_locations or ():
            for one in _walk(Path(folder).resolve(), _NO_PART):
                if one.suffix == ".py":
                    modules.append(one)
                elif ".so" in one.suffixes:
                    binaries.append(one)
                elif one.suffix not in (".pyc", ".pyi"):
                    files.append(one)
    return Source("packages", modules, files, [*binaries, *libraries])


def search_path(names: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that a guest must search for these packages."""
    found = []
    for name in names:
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec else []
        place = places[0] if places else spec.origin if spec else None
        if place:
            found.append(str(Path(place).resolve().parent))
    return tuple(dict.fromkeys(found))


def _walk(folder: Path, without: frozenset[str]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name not in without and not entry.name.startswith("config-"):
                    yield from _walk(Path(entry.path), without)
            elif entry.is_file():
                yield Path(entry.path)


def _compiled(path: Path) -> bytes:
    """Return the .pyc of this machine where it is fresh, or a new one. The guest never holds it against a
    source.
    """
    status = path.stat()
    try:
        kept = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        magic, flags, mtime, size = _PYC.unpack_from(kept)
        fresh = (mtime, size) == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        if magic == importlib.util.MAGIC_NUMBER and flags == 0 and fresh:
            return kept
    except (OSError, struct.error, NotImplementedError):
        pass
    code: CodeType = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    return _PYC.pack(importlib.util.MAGIC_NUMBER, 0, 0, 0) + marshal.dumps(code)


def _put(archive: Archive, path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Add a file under its path, and the symbolic links that lead to it."""
    real = path.parent.resolve() / path.name
    _links(archive, path.parent)
    if path.is_symlink():
        real = path.resolve()
        archive.link(str(path.parent.resolve() / path.name), str(real))
    archive.file(str(real), content, mode)


def _links(archive: Archive, folder: Path) -> None:
    for step in (*reversed(folder.parents), folder):
        if step.is_symlink():
            place = step.parent.resolve() / step.name
            archive.link(str(place), str(step.resolve()))
