# SPDX-License-Identifier: Apache-2.0
"""Real BPF objects not written here: those in the folder ``HOLDFAST_CORPUS``, else in ``build/corpus``."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

__all__ = ["btf_sections", "objects"]


@cache
def objects() -> tuple[Path, ...]:
    """All objects; skips the test (fails it where CI=true) when there are none."""
    folder = Path(os.environ.get("HOLDFAST_CORPUS", Path(__file__).parent.parent / "build/corpus"))
    found = tuple(sorted(folder.glob("*.o"))) if folder.is_dir() else ()
    if not found:
        message = f"no BPF objects in {folder.name}/ (HOLDFAST_CORPUS names the folder)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def btf_sections(path: Path) -> dict[str, bytes]:
    """The object's sections by name, those with data only."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        return {s.name: s.data() for s in elf.iter_sections() if s["sh_type"] != "SHT_NOBITS"}
