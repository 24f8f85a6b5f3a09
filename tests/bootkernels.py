# SPDX-License-Identifier: Apache-2.0
"""Kernels that tests boot: those that ``HOLDFAST_KERNELS`` names, else two of ``build/kernels``.

The variable has packages, images or folders, separated by colons; ``make test-slow`` names all of
``build/kernels``, which ``make kernels`` fetches. Without it the oldest and the newest have to do for tests
that boot again and again, since each boot takes 5 to 20 seconds where there is no KVM;
``test_every_series.py`` boots them all, once and side by side. x86-64 alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.conftest import lacks

from holdfast.errors import HoldfastError
from holdfast.kernels.sources.version import sort_key
from holdfast.vm import BootKernel
from holdfast.vm.qemu import find

__all__ = ["kernels", "named_or_all", "packages", "ready", "to_boot"]

NAMED = "HOLDFAST_KERNELS"
FOLDER = Path(__file__).parent.parent / "build/kernels"


@cache
def kernels() -> tuple[BootKernel, ...]:
    """They, oldest first, unpacked; skips the test as :func:`ready` does."""
    return tuple(BootKernel.from_path(path) for path in ready())


def ready() -> list[Path]:
    """Return their paths, oldest first; skips the test (fails it where CI=true) without one, or without a fit
    qemu.
    """
    if platform.machine() != "x86_64":
        lacks("only x86_64 kernels are booted")
    try:
        find()
    except HoldfastError as error:
        lacks(error.message)
    paths = to_boot(FOLDER, os.environ)
    if not paths:
        lacks(f"there is no kernel to boot: {NAMED} names none and build/kernels has none (make kernels)")
    return paths


def to_boot(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """Return what the environment names, else the oldest and the newest kernel of the folder."""
    named = environment.get(NAMED, "")
    if named:
        return [Path(one) for one in named.split(":") if one]
    found = packages(folder)
    return found if len(found) < 3 else [found[0], found[-1]]


def named_or_all() -> list[Path]:
    """Return what the environment names, else all kernels that were fetched."""
    return to_boot(FOLDER, os.environ) if os.environ.get(NAMED) else packages(FOLDER)


def packages(folder: Path) -> list[Path]:
    """Return the packages in a folder that stand for an amd64 kernel, by version."""
    return sorted(folder.glob("linux-image-*amd64*.deb"), key=lambda path: sort_key(path.name.split("_")[1]))
