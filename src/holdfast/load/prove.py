# SPDX-License-Identifier: Apache-2.0
"""Whether what runs of a bundle works: the function that its manifest names under ``[proof]`` is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.bundle.entry_point import resolve
from holdfast.bundle.manifest import BundleManifest
from holdfast.bundle.proof import Proved
from holdfast.errors import ManifestError, UsageError
from holdfast.load.outcome import Outcome
from holdfast.load.session import Session

__all__ = ["ground", "prepared", "prove"]


def prepared(manifest: BundleManifest) -> Any:
    """Returns what ``prepare`` of the bundle's proof returns, None without one. It needs no kernel.

    Raises :class:`~holdfast.errors.ManifestError` where it cannot be imported, and whatever it raises.
    """
    if manifest.proof is None or manifest.proof.prepare is None:
        return None
    return resolve(manifest.path, manifest.proof.prepare, "[proof] prepare")()


@contextmanager
def ground(manifest: BundleManifest) -> Iterator[Callable[[Session], None] | None]:
    """Keeps the ground of the bundle's proof, for example a device that its programs are attached to; yields
    what its ``ground`` yields: a function for ``prepare`` of :func:`holdfast.load.runner.carry_out`, or None.

    Raises :class:`~holdfast.errors.ManifestError` where it cannot be imported, and whatever it raises.
    """
    if manifest.proof is None or manifest.proof.ground is None:
        yield None
        return
    with resolve(manifest.path, manifest.proof.ground, "[proof] ground")() as prepare:
        yield prepare


def prove(outcome: Outcome, *more: Any) -> Proved:
    """Calls the bundle's proof with an open outcome, the variant that runs or the fallback; returns what it
    says.

    ``more`` is what :func:`prepared` returned, which is called here without it. The outcome stays open and is
    the caller's. Raises :class:`~holdfast.errors.UsageError` for a bundle without a proof,
    :class:`~holdfast.errors.ManifestError` where it cannot be imported or returns something else, and
    whatever the proof raises: that it broke says nothing about the bundle.
    """
    manifest = outcome.manifest
    if manifest.proof is None:
        hint = 'its manifest would name one: [proof] python = "module:function"'
        raise UsageError(f"{outcome.bundle} has no proof", hint=hint)
    python, place = manifest.proof.python, "[proof] python"
    if manifest.proof.prepare is not None and not more:
        more = (prepared(manifest),)
    found = resolve(manifest.path, python, place)(outcome, *(more if manifest.proof.prepare else ()))
    if not isinstance(found, Proved):
        problem = f"{python!r} returned {type(found).__name__}"
        hint = "a proof returns a holdfast.bundle.Proved"
        raise ManifestError(str(manifest.path), problem, place=place, hint=hint)
    return found
