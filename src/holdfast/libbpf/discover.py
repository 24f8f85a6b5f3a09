# SPDX-License-Identifier: Apache-2.0
"""Where libbpf is looked for, in which order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from holdfast.errors import LibbpfError

__all__ = ["BUNDLED", "ENVIRONMENT", "Candidate", "Origin", "find"]

ENVIRONMENT = "HOLDFAST_LIBBPF"
BUNDLED = Path(__file__).resolve().parent.parent / "_bundled" / "libbpf.so"
SYSTEM = "libbpf.so.1"


class Origin(StrEnum):
    """Which libbpf it is."""

    ENVIRONMENT = "environment"
    BUNDLED = "bundled"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A library to open: ``name`` is a path, or a soname that the dynamic linker looks up."""

    origin: Origin
    name: str


def find(environment: Mapping[str, str] | None = None, *, bundled: Path = BUNDLED) -> Candidate:
    """Returns the libbpf to use: HOLDFAST_LIBBPF (a path), else the bundled one, else the system's.

    Raises :class:`LibbpfError` when the variable names no file; what is only asked for is never replaced.
    """
    chosen = (os.environ if environment is None else environment).get(ENVIRONMENT)
    if chosen:
        if not Path(chosen).exists():
            raise LibbpfError(
                f"{ENVIRONMENT} names {chosen}, which does not exist",
                hint="give the path of a libbpf.so, or unset it to use the bundled one",
            )
        return Candidate(Origin.ENVIRONMENT, str(Path(chosen).absolute()))
    if bundled.exists():
        return Candidate(Origin.BUNDLED, str(bundled))
    return Candidate(Origin.SYSTEM, SYSTEM)
