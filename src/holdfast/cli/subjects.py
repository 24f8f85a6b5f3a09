# SPDX-License-Identifier: Apache-2.0
"""What several verbs take alike: objects and bundles, and a release of libbpf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.bundle.bundle import Bundle
    from holdfast.elf import ObjectSpec

__all__ = ["open_subjects", "read_release"]

_MANIFEST: Final = "holdfast.toml"


def open_subjects(paths: Sequence[str]) -> tuple[list[ObjectSpec], list[Bundle]]:
    """The objects and the bundles among these paths. A bundle is a folder with a ``holdfast.toml``, or that
    file; of any other folder it is all objects, ``*.o`` at any depth.

    Raises what :func:`holdfast.elf.open_object` and :meth:`holdfast.bundle.Bundle.open` raise, and
    :exc:`~holdfast.errors.UsageError` for a folder with nothing in it.
    """
    from holdfast.elf import open_object

    objects: list[ObjectSpec] = []
    bundles: list[Bundle] = []
    for given in paths:
        path = Path(given)
        if path.name == _MANIFEST or (path / _MANIFEST).is_file():
            from holdfast.bundle.bundle import Bundle  # brings tomllib, which an object has no use for

            bundles.append(Bundle.open(path.parent if path.name == _MANIFEST else path))
        elif path.is_dir():
            objects += [open_object(str(one)) for one in _objects_in(path)]
        else:
            objects.append(open_object(given))
    return objects, bundles


def _objects_in(folder: Path) -> list[Path]:
    from holdfast.errors import UsageError

    found = sorted(folder.rglob("*.o"))
    if not found:
        hint = "name *.o files, a folder of them, or a bundle: a folder with a holdfast.toml"
        raise UsageError(f"{folder} has no objects in it", hint=hint)
    return found


def read_release(text: str) -> tuple[int, int]:
    """(1, 7) of ``--libbpf 1.7``. Raises :exc:`~holdfast.errors.UsageError`."""
    from holdfast.errors import UsageError

    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+)?", text)
    if not found or int(found[1]) < 1:
        raise UsageError(f"--libbpf {text!r} is no release from 1.0 on", hint="for example --libbpf 1.7")
    return int(found[1]), int(found[2])
