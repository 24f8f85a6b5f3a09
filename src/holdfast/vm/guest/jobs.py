# SPDX-License-Identifier: Apache-2.0
"""The functions that jobs call. Each is imported only by the job that calls it."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Any

__all__ = ["load_programs", "probe", "uname"]


def uname() -> dict[str, str]:
    """Return what the guest's kernel says of itself."""
    system = os.uname()
    return {"release": system.release, "version": system.version, "machine": system.machine}


def load_programs(
    name: str, content: bytes, programs: Sequence[str]
) -> Generator[dict[str, Any], None, None]:
    """Load each of these programs alone; see :func:`holdfast.vm.guest.load_alone.load_alone`."""
    from holdfast.vm.guest.load_alone import load_alone

    for program in programs:
        yield load_alone(name, content, program)


def probe(kfuncs: Sequence[str] = ()) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Ask everything that can be asked by trial; see :func:`holdfast.vm.guest.ask_all.ask_all`."""
    from holdfast.vm.guest.ask_all import ask_all

    return ask_all(kfuncs)
