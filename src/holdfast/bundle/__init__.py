# SPDX-License-Identifier: Apache-2.0
"""Bundles: ranked variants of one job, what they share, and the order in which to try them on a kernel.

::

    holdfast.toml + objects ──Bundle.open──> Bundle ──plan(bundle, facts)──> Plan ──holdfast.load──> Outcome
"""

from __future__ import annotations

from holdfast.bundle.bundle import BuiltVariant, Bundle
from holdfast.bundle.manifest import (
    Attach,
    BundleManifest,
    Fallback,
    InterfaceMap,
    InterfaceProgram,
    Proof,
    Variant,
    read_manifest,
)
from holdfast.bundle.proof import Count, Proved

__all__ = [
    "Attach",
    "BuiltVariant",
    "Bundle",
    "BundleManifest",
    "Count",
    "Fallback",
    "InterfaceMap",
    "InterfaceProgram",
    "Proof",
    "Proved",
    "Variant",
    "read_manifest",
]
