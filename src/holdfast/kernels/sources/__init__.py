# SPDX-License-Identifier: Apache-2.0
"""Kernel packages from the distribution's archive, through the mirrors that apt here is set up with.

The only part of Holdfast that opens a connection. No address stands in it: apt's configuration is read
(:mod:`.apt`). Every file is checked on its way down (:mod:`.suite`, :mod:`.signature`, :mod:`.transfer`)::

    from holdfast.kernels import sources

    for build in sources.find("debian", "trixie-backports", "linux-image-6.18*-cloud-amd64", "amd64"):
        paths = sources.download(build)

Standard library only, since `make setup` uses it before anything is installed.
"""

from __future__ import annotations

from holdfast.kernels.sources.archive import Archive, download, find, folder
from holdfast.kernels.sources.errors import ArchiveError, MissingError, OfflineError, UntrustedError
from holdfast.kernels.sources.kernel_build import KernelBuild, kernel_builds
from holdfast.kernels.sources.package import Package, RemoteFile, SourcePackage, packages, source_package
from holdfast.kernels.sources.suite import Suite

__all__ = [
    "Archive",
    "ArchiveError",
    "KernelBuild",
    "MissingError",
    "OfflineError",
    "Package",
    "RemoteFile",
    "SourcePackage",
    "Suite",
    "UntrustedError",
    "download",
    "find",
    "folder",
    "kernel_builds",
    "packages",
    "source_package",
]
