# SPDX-License-Identifier: Apache-2.0
"""Kernels out of Debian's and Ubuntu's packages.

One package has it all (Debian up to 6.18), or a kernel is in several: Debian from 6.19 on has linux-binary-R
(or linux-binary-unsigned-R) with vmlinuz, linux-modules-R, linux-base-R with config and modules.builtin, and
an empty linux-image-R that depends on them; Ubuntu has linux-image-R (or linux-image-unsigned-R) and
linux-modules-R with modules and config.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import ar, limits, tar
from holdfast.kernels.unpack.control import Control, Relation, parse
from holdfast.kernels.unpack.gather import Gathered
from holdfast.kernels.unpack.streams import FileStream, Stream, plain

__all__ = ["Companions", "Deb", "is_deb"]

_AGAIN: Final = "the package is cut off or damaged: fetch it again"
_SPLIT: Final = re.compile(r"linux-(base|binary|image|modules)(?:-(unsigned|extra))?-(\d.*)")


def is_deb(head: bytes) -> bool:
    """Whether a file that begins so is a Debian package; deb(5): the first member is debian-binary."""
    return head.startswith(ar.MAGIC + b"debian-binary")


@dataclass(frozen=True, slots=True)
class Deb:
    """A package that was read: what it says about itself, and its file's sha256 (hex)."""

    path: Path
    control: Control
    sha256: str

    @classmethod
    def read(cls, path: Path, into: Gathered) -> Deb:
        """Read the package once, from front to back, and put its parts of a kernel into ``into``.

        Raises :exc:`KernelFileError`: no package, damaged, cut off, hostile.
        """
        stream = FileStream(path, hashed=not into.only_kernel)
        try:
            control = cls._read(stream, str(path), into)
            return cls(path, control, "" if into.only_kernel else stream.sha256())
        finally:
            stream.close()

    @classmethod
    def control_of(cls, path: Path) -> Control:
        """What a package says about itself, without reading the rest. Raises :exc:`KernelFileError`."""
        stream = FileStream(path)
        try:
            return next(_members(stream, str(path)))[0]
        finally:
            stream.close()

    @classmethod
    def _read(cls, stream: FileStream, path: str, into: Gathered) -> Control:
        for control, data in _members(stream, path):
            if data is not None:
                into.take_all(tar.members(data, path, "data.tar"), path)
                return control
        raise KernelFileError(path, "it has no data.tar", hint=_AGAIN)


def _members(stream: Stream, path: str) -> Iterator[tuple[Control, Stream | None]]:
    """The control file alone, then with the contents of data.tar; deb(5): in this order."""
    ar.check_magic(stream, path)
    control: Control | None = None
    for name, data in ar.members(stream, path):
        if name == "debian-binary":
            if not data.read(16).startswith(b"2."):
                raise KernelFileError(
                    path, "a Debian package of another format than 2", place="debian-binary", hint=_AGAIN
                )
        elif name.startswith("control.tar") and control is None:
            control = _control(plain(data, path, place=name, limit=limits.CONTROL * 64), path)
            yield control, None
        elif name.startswith("data.tar"):
            if control is None:
                break
            yield control, plain(data, path, place=name, limit=limits.PACKAGE)
            return
        elif not name.startswith("_"):  # those may be ignored
            break
    if control is None:
        raise KernelFileError(path, "it has no control.tar", hint=_AGAIN)


def _control(stream: Stream, path: str) -> Control:
    for member in tar.members(stream, path, "control.tar"):
        if member.name == "control" and member.regular:
            control = parse(member.read(limits.CONTROL).decode("utf-8", "replace"))
            if not control.package or not control.version:
                raise KernelFileError(
                    path, "its control file names no package", place="control.tar", hint=_AGAIN
                )
            return control
    raise KernelFileError(path, "it has no control file", place="control.tar", hint=_AGAIN)


class Companions:
    """Finds the other packages of a build: those that were named, and those in the same folder."""

    def __init__(self, path: Path, parts: Sequence[Path]) -> None:
        self._folder = path.parent
        self._named = {part: Deb.control_of(part) for part in parts}
        self._read: set[str] = set()

    def add_to(self, gathered: Gathered, first: Deb, *, partial: bool) -> list[Deb]:
        """Read into ``gathered`` what ``first`` needs; the packages that were read, ``first`` among them.

        Where ``partial`` is set, it is enough that there is a kernel. Raises :exc:`KernelFileError` that
        names what is missing.
        """
        debs = [first]
        self._read.add(first.control.package)
        for path in self._named:
            if self._named[path].package not in self._read:
                debs.append(self._deb(path, gathered))
        missing: list[Relation] = []
        waiting = [relation for deb in debs for relation in _wanted(deb.control)]
        while waiting and not (gathered.only_kernel and gathered.kernel is not None):
            relation = waiting.pop(0)
            if self._has(relation.name):
                self._agree(relation, debs, first)
            elif found := self._look(relation):
                debs.append(self._deb(found, gathered))
                waiting += _wanted(debs[-1].control)
            elif relation not in missing and "-extra-" not in relation.name:
                missing.append(relation)
        # linux-base-R of 6.18 has documentation only: what is not missed is not asked for
        enough = gathered.kernel is not None and (partial or gathered.only_kernel or gathered.complete)
        if missing and not enough:
            names = ", ".join(map(str, missing))
            raise KernelFileError(
                str(first.path),
                f"the kernel is in several packages, and these are not there: {names}",
                hint="fetch them into the same folder, or name them, too",
            )
        return debs

    def _deb(self, path: Path, gathered: Gathered) -> Deb:
        deb = Deb.read(path, gathered)
        self._read.add(deb.control.package)
        return deb

    def _has(self, name: str) -> bool:
        return any(other in self._read for other in _instead(name))

    def _agree(self, relation: Relation, debs: list[Deb], first: Deb) -> None:
        for deb in debs:
            if deb.control.package in _instead(relation.name) and relation.version not in (
                "",
                deb.control.version,
            ):
                raise KernelFileError(
                    str(deb.path),
                    f"it is version {deb.control.version}, {first.control.package} needs {relation.version}",
                    hint="take all packages from one build",
                )

    def _look(self, relation: Relation) -> Path | None:
        """In the folder of the named package; a file may have any version in its name."""
        for name in _instead(relation.name):
            for path in sorted(self._folder.glob(f"{_escaped(name)}_*.deb")):
                try:
                    control = Deb.control_of(path)
                except KernelFileError:
                    continue  # somebody else's file; what is missing is said in the end
                if control.package == name and relation.version in ("", control.version):
                    return path
        return None


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _instead(name: str) -> tuple[str, ...]:
    """The names under which the same contents come: signed or not."""
    return name, re.sub(r"\A(linux-(?:binary|image))-(?=\d)", r"\1-unsigned-", name)


def _wanted(control: Control) -> list[Relation]:
    """What a package depends on, and what it is of no use without though it does not say so."""
    wanted = list(control.parts)
    split = _SPLIT.fullmatch(control.package)
    # The three of Debian since 6.19: each depends on linux-base-R alone.
    if split and split[1] != "image" and control.distribution != "ubuntu":
        kinds = ("base", "binary", "modules")
        wanted += [
            Relation(f"linux-{kind}-{split[3]}", control.version) for kind in kinds if kind != split[1]
        ]
    elif split and split[1] == "modules":
        wanted.append(Relation(f"linux-image-{split[3]}", control.version))
    elif split and control.distribution == "ubuntu":
        wanted.append(Relation(f"linux-modules-extra-{split[3]}", control.version))
    return list(dict.fromkeys(wanted))
