# SPDX-License-Identifier: Apache-2.0
"""The archive of a distribution as this machine sees it, and the two calls that most need."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdfast.kernels.sources.apt import AptConfig, read_config
from holdfast.kernels.sources.distribution import candidates, named
from holdfast.kernels.sources.errors import ArchiveError, MissingError, OfflineError, UntrustedError
from holdfast.kernels.sources.kernel_build import KernelBuild, kernel_builds
from holdfast.kernels.sources.package import RemoteFile
from holdfast.kernels.sources.suite import Suite, open_suite
from holdfast.kernels.sources.transfer import Fetcher, Progress

__all__ = ["Archive", "download", "find", "folder"]

_SUITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*")
FILE_LIMIT: Final = 4 << 30  # bytes; Debian's largest kernel package has 0.17 GB, its debug symbols 1 GB
_UNLISTED_LIMIT: Final = 1 << 30  # bytes, where no index says a size


def folder() -> Path:
    """``$XDG_CACHE_HOME/holdfast/packages`` or the like; raises :exc:`ArchiveError` without a home."""
    from holdfast.kernels import cache

    base = cache.folder()
    if base is None:
        raise ArchiveError("there is no folder to keep packages in", hint="set HOME or XDG_CACHE_HOME")
    return base / "packages"


class Archive:
    """A distribution's archive, through apt's mirrors; indexes are kept in ``cache``. Making one opens n"""

    def __init__(
        self, distribution: str, *, cache: Path | None = None, config: AptConfig | None = None
    ) -> None:
        self.distribution = named(distribution)
        self.cache = folder() if cache is None else cache
        self.config = read_config() if config is None else config
        self.fetcher = Fetcher(self.config)

    def suite(self, name: str) -> Suite:
        """Return a suite of the archive, its Release file checked; any suite, configured or not.

        Each archive that may have it is asked in turn. Raises :exc:`MissingError` when apt names no archive
        of the distribution or none has the suite, else what the first one that has it raised.
        """
        if not _SUITE.fullmatch(name):
            raise MissingError(f"{name!r} is no name of a suite", hint="a name like trixie-backports")
        failures: list[ArchiveError] = []
        for entry in candidates(self.config, self.distribution, name):
            try:
                return open_suite(self.config, self.distribution, entry, name, self.fetcher, self.cache)
            except ArchiveError as error:
                failures.append(error)
        # What could not be trusted or reached may have been the one; "not there" is told when all said so.
        for kind in (UntrustedError, OfflineError, ArchiveError):
            for failure in failures:
                if isinstance(failure, kind) and not isinstance(failure, MissingError):
                    raise failure
        if failures:
            security = (
                " (security suites lie on an archive of their own)" if name.endswith("-security") else ""
            )
            raise MissingError(
                f"no archive that apt names has the suite {name} of {self.distribution.name}",
                hint=f"{failures[0].message}; another mirror can be named in apt's sources{security}",
            )
        raise MissingError(
            f"apt here is configured for no archive of {self.distribution.name}",
            hint=f"name a mirror of it in {self.config.folder}/sources.list.d",
        )

    def download(self, file: RemoteFile, into: Path, progress: Progress | None = None) -> Path:
        """Bring a file into a folder and return its path; what is there and right is not fetched again."""
        limit = FILE_LIMIT if file.digest else _UNLISTED_LIMIT
        return self.fetcher.fetch(file.address, into / file.name, file.digest, limit=limit, progress=progress)


def find(distribution: str, suite: str, pattern: str, arch: str) -> list[KernelBuild]:
    """Return the kernels of a suite that match, as :func:`.kernel_builds` says."""
    return kernel_builds(Archive(distribution).suite(suite), arch, pattern)


def download(
    build: KernelBuild,
    into: Path | None = None,
    *,
    archive: Archive | None = None,
    unlisted: bool = False,
    progress: Callable[[str], Progress] | None = None,
) -> list[Path]:
    """Bring all packages of a kernel into a folder (the cache's own by default) and return their paths.

    With ``unlisted`` also the parts that no index has any more, for which nothing signed vouches; without it
    a kernel with such parts raises :exc:`UntrustedError`, since half a kernel would tell half the truth.
    ``progress`` makes a callback for each file.
    """
    if build.unlisted and not unlisted:
        names = ", ".join(one.name.partition("_")[0] for one in build.unlisted)
        raise UntrustedError(
            f"{build.name}: the indexes of {build.suite} no longer list {names}",
            hint="--unlisted takes such parts from the archive unsigned, if it still has them",
        )
    source = archive or Archive(build.distribution)
    target = into if into is not None else source.cache / "pool"
    files = [*(one.file for one in build.packages), *(build.unlisted if unlisted else ())]
    return [source.download(one, target, progress(one.name) if progress else None) for one in files]
