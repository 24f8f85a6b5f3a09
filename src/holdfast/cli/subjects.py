# SPDX-License-Identifier: Apache-2.0
"""What several verbs take alike: objects and bundles, and a release of libbpf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.bundle.bundle import Bundle
    from holdfast.elf import ObjectSpec

__all__ = ["open_subjects", "read_release"]


def open_subjects(paths: Sequence[str]) -> tuple[list[ObjectSpec], list[Bundle]]:
    """The objects and the bundles among these paths; a bundle is a folder or its ``holdfast.toml``.

    Raises what :func:`holdfast.elf.open_object` and :meth:`holdfast.bundle.Bundle.open` raise.
    """
    from holdfast.elf import open_object

    objects: list[ObjectSpec] = []
    bundles: list[Bundle] = []
    for path in paths:
        if Path(path).is_dir() or Path(path).name == "holdfast.toml":
            from holdfast.bundle.bundle import Bundle  # brings tomllib, which an object has no use for

            bundles.append(Bundle.open(path if Path(path).is_dir() else Path(path).parent))
        else:
            objects.append(open_object(path))
    return objects, bundles


def read_release(text: str) -> tuple[int, int]:
    """(1, 7) of ``--libbpf 1.7``. Raises :exc:`~holdfast.errors.UsageError`."""
    from holdfast.errors import UsageError

    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+)?", text)
    if not found or int(found[1]) < 1:
        raise UsageError(f"--libbpf {text!r} is no release from 1.0 on", hint="for example --libbpf 1.7")
    return int(found[1]), int(found[2])
