# SPDX-License-Identifier: Apache-2.0
"""Which packages of a suite make up a kernel.

Until 6.18 one linux-image has all of it. Debian's from 6.19 on is split: linux-binary (vmlinuz),
linux-modules and linux-base (configuration), and linux-image only depends on them. Ubuntu's has
linux-modules and linux-modules-extra beside it. Metapackages (linux-image-amd64) depend on the real one.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.kernels.sources import version
from holdfast.kernels.sources.errors import MissingError
from holdfast.kernels.sources.package import Package, RemoteFile, packages
from holdfast.kernels.sources.suite import Suite
from holdfast.kernels.sources.transfer import quoted

__all__ = ["KernelBuild", "kernel_builds"]

_CARRIER = re.compile(r"linux-(image|binary)-(?:unsigned-)?(\d.*?)(?:-unsigned)?")
_NO_KERNEL = re.compile(r"-(?:dbg|dbgsym|signed-template)$")
_RELATION = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::\w+)?(?:\s*\(\s*=\s*([^)\s]+)\s*\))?")
_PARTS = ("linux-binary-", "linux-modules-", "linux-base-")


@dataclass(frozen=True, slots=True)
class KernelBuild:
    """One kernel: ``name`` is the package that stands for it, ``packages`` all that are to be fetched.

    ``unlisted`` are parts that the kernel's package depends on and no index of the suite has any more; the
    archive may still have the files, but no signature vouches for them. ``source`` and ``source_version`` are
    the kernel's own source package (``linux``), also for an image that was signed in another one.
    """

    release: str
    arch: str
    name: str
    version: str
    packages: tuple[Package, ...]
    unlisted: tuple[RemoteFile, ...]
    source: str
    source_version: str
    distribution: str
    suite: str

    @property
    def size(self) -> int:
        """Bytes to fetch, without the parts that no index has."""
        return sum(one.file.digest.size for one in self.packages if one.file.digest)


def kernel_builds(suite: Suite, arch: str, pattern: str) -> list[KernelBuild]:
    """Return the kernels of a suite whose package's name, or whose release, matches a shell pattern.

    One for each release: of several builds the newest, of a signed and an unsigned one the signed one unless
    the pattern names the other. Sorted by version, then release.
    Raises :exc:`MissingError` when none matches.
    """
    listed: dict[str, Package] = {}
    for one in packages(suite, arch, ["linux-image-*", *(f"{part}*[0-9]*" for part in _PARTS)]):
        listed[one.name] = one  # sorted, so the newest version stays
    found: dict[str, KernelBuild] = {}
    for name in sorted(listed, key=lambda one: ("unsigned" in one, "binary" in one, one)):
        if _NO_KERNEL.search(name) or not _is_wanted(name, pattern):
            continue
        carrier = _resolve(listed[name], listed)
        if carrier is not None and (build := _build(suite, carrier, listed)).release not in found:
            found[build.release] = build
    if not found:
        raise MissingError(
            f"{suite.name} has no kernel package for {arch} that matches {pattern!r}",
            hint=f"`--list '*'` shows them; there are {_examples(listed)}",
        )
    return sorted(found.values(), key=lambda one: (version.sort_key(one.version), one.release))


def _is_wanted(name: str, pattern: str) -> bool:
    match = _CARRIER.fullmatch(name)
    if name.startswith("linux-image-") and fnmatch.fnmatchcase(name, pattern):
        return True
    # A suite may have a binary and no image yet: Debian's images wait for their signatures.
    return match is not None and (
        fnmatch.fnmatchcase(match[2], pattern) or fnmatch.fnmatchcase(name, pattern)
    )


def _resolve(package: Package, listed: Mapping[str, Package]) -> Package | None:
    """The package that names a real kernel: itself, or what a metapackage depends on."""
    for _ in range(4):
        images = [
            name
            for name, _ in _relations(package)
            if name.startswith("linux-image-") and name != package.name
        ]
        if not images:
            return package if _CARRIER.fullmatch(package.name) else None
        found = next((listed[name] for name in images if name in listed), None)
        if found is None:
            return None
        package = found
    return None


def _build(suite: Suite, carrier: Package, listed: Mapping[str, Package]) -> KernelBuild:
    match = _CARRIER.fullmatch(carrier.name)
    assert match is not None  # _resolve saw to it
    release = match[2]
    taken, missing = {carrier.name: carrier}, {}
    for name, number in _parts(carrier, release, match[1] == "binary"):
        one = listed.get(name)
        if one is not None and one.version == number:
            taken[name] = one
        else:
            missing[name] = number
    extra = listed.get(f"linux-modules-extra-{release}")  # Ubuntu's; only metapackages ask for it
    if extra is not None and extra.version == carrier.version:
        taken[extra.name] = extra
    source, number = _source(carrier)
    return KernelBuild(
        release=release,
        arch=carrier.arch,
        name=carrier.name,
        version=carrier.version,
        packages=tuple(taken.values()),
        unlisted=tuple(_unlisted(suite, carrier, source, missing)),
        source=source,
        source_version=number,
        distribution=suite.distribution.name,
        suite=suite.name,
    )


def _relations(package: Package) -> Iterable[tuple[str, str]]:
    """(name, exact version or nothing) of each package that is named, alternatives too."""
    return _RELATION.findall(package.depends)


def _parts(carrier: Package, release: str, is_binary: bool) -> list[tuple[str, str]]:
    """The other packages of a kernel that is split, with their versions; none where the image has it all."""
    parts = {
        name: number or carrier.version
        for name, number in _relations(carrier)
        if name.startswith(_PARTS) and name.removesuffix("-unsigned").endswith(f"-{release}")
    }
    if is_binary:  # what the image that is not there yet would ask for
        parts |= dict.fromkeys((f"linux-modules-{release}", f"linux-base-{release}"), carrier.version)
    # 6.18's whole image asks for a linux-base that has only its documents.
    whole = not is_binary and not any(name.startswith(_PARTS[:2]) for name in parts)
    return [] if whole else list(parts.items())


def _source(carrier: Package) -> tuple[str, str]:
    """The kernel's own source package; Debian signs images in one called linux-signed-ARCH."""
    signed = re.fullmatch(r"(linux)-signed(?:(-[\d.]+))?-[a-z0-9]+", carrier.source)
    if signed:
        return "linux" + (signed[2] or ""), re.sub(r"\+b\d+$", "", carrier.version)
    return re.sub(r"^linux-signed", "linux", carrier.source), carrier.source_version


def _unlisted(
    suite: Suite, carrier: Package, source: str, missing: Mapping[str, str]
) -> Iterable[RemoteFile]:
    """Where the archive would have a part: the pool's layout is pool/COMPONENT/FIRST LETTER/SOURCE/FILE."""
    for name, number in sorted(missing.items()):
        file = f"{name}_{number.partition(':')[2] or number}_{carrier.arch}.deb"
        component = urlsplit(carrier.file.address).path.partition("/pool/")[2].partition("/")[0] or "main"
        path = f"pool/{component}/{source[0]}/{source}/{file}"
        yield RemoteFile(file, f"{suite.address}/{quoted(path)}", None)


def _examples(listed: Mapping[str, Package]) -> str:
    names = [name for name in listed if name.startswith("linux-image-") and not _NO_KERNEL.search(name)]
    return ", ".join(sorted(names, key=version.sort_key)[-3:]) or "none at all"
