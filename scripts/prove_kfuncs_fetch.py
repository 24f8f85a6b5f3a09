# SPDX-License-Identifier: Apache-2.0
"""The source of one kernel build, out of the distribution's archive, as far as kfuncs need it.

Debian's ``linux-source-X.Y`` is the tree with the distribution's patches applied, for each build of its own;
where an archive has lost it, the source package is taken, and where it has lost the patches, upstream's
tarball alone, if the caller allows that. All of them are checked on their way as packages are. Only C files
and the build's own files are unpacked. Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from holdfast.errors import HoldfastError
from holdfast.kernels.sources import Archive, MissingError, RemoteFile, Suite, packages, source_package

__all__ = ["FetchError", "fetch"]

WANTED = re.compile(r".*\.[ch]\Z|Makefile|Kconfig|Kbuild")
MOST = 4 << 30  # bytes of text; 7.2 has 1.4 GB


class FetchError(HoldfastError):
    """The archive has no source for this build."""


def fetch(
    distribution: str,
    suite_name: str,
    version: str,
    folder: Path,
    *,
    upstream: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """The folder with the unpacked tree of the source package linux, ``version``; kept below ``folder``.

    ``upstream`` allows a tree without the distribution's patches where the archive has lost those. Raises
    :exc:`FetchError`, and what :mod:`holdfast.kernels.sources` raises.
    """
    target = folder / version
    bare = folder / f"{version}.upstream"
    for known in (target, bare) if upstream else (target,):
        if known.is_dir():
            return known
    archive = Archive(distribution)
    suite = archive.suite(suite_name)
    pool = folder / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    number = re.match(r"\d+\.\d+", version)
    pattern = f"linux-source-{number[0] if number else '*'}"
    listed = [one for one in packages(suite, "amd64", [pattern]) if one.version == version]
    deb = _brought(archive, listed[0].file, pool, say) if listed else None
    if deb is not None:
        say(f"unpacking {deb.name}")
        return _placed(target, partial(_linux_source, deb))
    return _from_source_package(archive, suite, version, target, bare if upstream else None, pool, say)


def _brought(archive: Archive, file: RemoteFile, pool: Path, say: Callable[[str], None]) -> Path | None:
    """The file, None where the archive lists it and no longer has it."""
    say(f"fetching {file.name}")
    try:
        return archive.download(file, pool)
    except MissingError:
        return None


def _from_source_package(
    archive: Archive,
    suite: Suite,
    version: str,
    target: Path,
    bare: Path | None,
    pool: Path,
    say: Callable[[str], None],
) -> Path:
    files = source_package(suite, "linux", version).files

    small = [_brought(archive, one, pool, say) for one in files if ".orig." not in one.name]
    whole = all(small) and shutil.which("dpkg-source") is not None
    if not whole and bare is None:
        raise FetchError(
            f"{suite.name} has lost parts of the source package linux {version}",
            hint="--upstream goes on with upstream's tarball, without the distribution's patches",
        )
    large = (one for one in files if one.name.endswith(".orig.tar.xz"))
    tarball = next((path for one in large if (path := _brought(archive, one, pool, say))), None)
    if tarball is None:
        raise FetchError(f"{suite.name} has lost the source package linux {version}")
    if whole:
        description = next(path for path in small if path and path.suffix == ".dsc")
        say(f"unpacking {description.name}")

        def unpack(staged: Path) -> None:
            staged.rmdir()
            command = ["dpkg-source", "--no-check", "-x", str(description), str(staged)]
            subprocess.run(command, check=True, capture_output=True)

        return _placed(target, unpack)
    assert bare is not None
    say(f"unpacking {tarball.name}")

    def upstream_only(staged: Path) -> None:
        with lzma.open(tarball) as stream:
            _trees(stream, staged)

    return _placed(bare, upstream_only)


def _placed(target: Path, unpack: Callable[[Path], None]) -> Path:
    """The target, made whole or not at all."""
    staged = target.with_name(f"{target.name}.part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        unpack(staged)
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, subprocess.CalledProcessError) as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise FetchError(f"{target.name}: the source cannot be unpacked: {error}") from error
    staged.replace(target)
    return target


def _linux_source(deb: Path, target: Path) -> None:
    """The tree out of linux-source-X.Y_*.deb: a tarball in a tarball in an ar archive."""
    with deb.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise FetchError(f"{deb.name} is no Debian package")
        while len(head := file.read(60)) == 60:
            name, size = head[:16].decode().strip().rstrip("/"), int(head[48:58])
            if name.startswith("data.tar"):
                with tarfile.open(fileobj=file, mode="r|*" if name != "data.tar" else "r|") as outer:
                    for member in outer:
                        if re.search(r"/linux-source-[\d.]+\.tar\.xz$", member.name) and member.isreg():
                            inner = outer.extractfile(member)
                            assert inner is not None
                            with lzma.open(inner) as stream:
                                _trees(stream, target)
                            return
                break
            file.seek(size + size % 2, 1)
    raise FetchError(f"{deb.name} has no kernel source in it")


def _trees(stream: IO[bytes], target: Path) -> None:
    """What is wanted out of a tar stream with one folder at the top."""
    total = 0
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts[1:]
            if not member.isreg() or not parts or ".." in parts or not WANTED.match(parts[-1]):
                continue
            total += member.size
            if total > MOST:
                raise FetchError("the source has more text than a kernel has")
            data = tar.extractfile(member)
            assert data is not None
            path = target.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.read())
