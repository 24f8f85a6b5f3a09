# SPDX-License-Identifier: Apache-2.0
"""Where the bundle net/rss lies: inside an installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import UsageError

__all__ = ["bundle_path"]


def bundle_path() -> Path:
    """Returns the bundle's folder. Raises :class:`~holdfast.errors.UsageError` where it was not shipped."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_bundles", package.parents[1] / "bundles"):
        bundle = folder / "net" / "rss"
        if (bundle / "holdfast.toml").is_file():
            return bundle
    raise UsageError("the bundle net/rss is not part of this installation", hint="name one with --bundle")
