# SPDX-License-Identifier: Apache-2.0
"""Bundles compiled where they are wanted, and a folder for pins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.live.bundle.bundles import build_bundle

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path, need_tool: Callable[[str], str]) -> Build:
    """Builds a bundle of the named variants; see :func:`build_bundle`."""
    clang = need_tool("clang")

    def made(
        *variants: str, kind: str = "SOCKET_FILTER", attach: str = "none", fallback: bool = True
    ) -> Path:
        return build_bundle(clang, tmp_path, *variants, kind=kind, attach=attach, fallback=fallback)

    return made


@pytest.fixture
def pin_folder(live: object) -> Iterator[Path]:
    """A folder on the bpf file system that does not exist yet; whatever is pinned there is removed."""
    folder = Path(f"/sys/fs/bpf/holdfast_test_{os.getpid()}")
    yield folder
    if folder.exists():
        shutil.rmtree(folder)
