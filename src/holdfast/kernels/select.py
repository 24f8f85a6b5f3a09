# SPDX-License-Identifier: Apache-2.0
"""From what a user names as kernels to their facts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from holdfast.errors import UsageError
from holdfast.kernels import image, live
from holdfast.kernels.cache import Cache, folder
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.probed import Wanted

__all__ = ["select"]


def select(selectors: Iterable[str], *, probe: Wanted | None = None) -> list[KernelFacts]:
    """Facts of each kernel that is named, in that order, each once.

    A selector is ``live`` or ``live/<release>`` (a glob will do), ``all``, or a path. ``probe`` is asked of
    the running kernel only. Raises :exc:`~holdfast.errors.UsageError` for a selector that names nothing, and
    what :func:`holdfast.kernels.live.facts` and :func:`holdfast.kernels.image.from_path` raise.
    """
    found: dict[str, KernelFacts] = {}
    for selector in selectors:
        key = "live" if _is_live(selector) else selector
        if key not in found:
            found[key] = live.facts(probe) if key == "live" else _from_file(selector)
    return list(found.values())


def _is_live(selector: str) -> bool:
    return selector in ("live", "all") or fnmatchcase(f"live/{os.uname().release}", selector)


def _from_file(selector: str) -> KernelFacts:
    path = Path(selector)
    if path.exists() or path.is_absolute() or selector.startswith("."):
        return image.from_path(path, cache=Cache(folder()))
    raise UsageError(
        f"no kernel {selector!r}: it is neither 'live', 'all' nor a file",
        hint=f"there is live/{os.uname().release}; else give a path to a vmlinux or raw BTF",
    )
