# SPDX-License-Identifier: Apache-2.0
"""Kernels that tests boot: those that ``HOLDFAST_KERNELS`` names, else those in ``build/kernels``.

The variable has packages, images or folders, separated by colons. x86-64 alone.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from tests.conftest import lacks

from holdfast.errors import HoldfastError
from holdfast.vm import BootKernel
from holdfast.vm.qemu import find

__all__ = ["kernels"]

NAMED = "HOLDFAST_KERNELS"
FOLDER = Path(__file__).parent.parent / "build/kernels"


@cache
def kernels() -> tuple[BootKernel, ...]:
    """All of them; skips the test (fails it where CI=true) when there are none, or no qemu that will do."""
    if platform.machine() != "x86_64":
        lacks("only x86_64 kernels are booted")
    try:
        find()
    except HoldfastError as error:
        lacks(error.message)
    named = [Path(one) for one in os.environ.get(NAMED, "").split(":") if one]
    paths = named or sorted(FOLDER.glob("linux-image-*.deb"))
    if not paths:
        lacks(f"there is no kernel to boot: {NAMED} names none and build/kernels has none")
    return tuple(BootKernel.from_path(path) for path in paths)
