# SPDX-License-Identifier: Apache-2.0
"""From ``module:attribute`` in a manifest to the thing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.errors import ManifestError

__all__ = ["resolve"]


def resolve(manifest: Path, entry_point: str, place: str) -> Any:
    """Returns what an entry point names, imported now; ``place`` is where the manifest has it.

    Raises :class:`~holdfast.errors.ManifestError` when it cannot be imported.
    """
    from importlib import import_module

    module, _, path = entry_point.partition(":")
    try:
        found: Any = import_module(module)
    except ImportError as error:
        hint = f"install the package that has {module.partition('.')[0]!r}"
        raise ManifestError(str(manifest), f"{entry_point!r}: {error}", place=place, hint=hint) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            problem = f"{entry_point!r}: module {module!r} has no {path!r}"
            raise ManifestError(str(manifest), problem, place=place, hint="correct the name") from None
    return found
