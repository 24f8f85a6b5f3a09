# SPDX-License-Identifier: Apache-2.0
"""Where the bundles of receive-side scaling lie: inside an installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import UsageError

__all__ = ["bundle_path"]


def bundle_path(name: str = "net/rss") -> Path:
    """Returns a bundle's folder. Raises :class:`~holdfast.errors.UsageError` where it was not shipped."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_bundles", package.parents[1] / "bundles"):
        bundle = folder / name
        if (bundle / "holdfast.toml").is_file():
            return bundle
    raise UsageError(f"the bundle {name} is not part of this installation", hint="name one with --bundle")
