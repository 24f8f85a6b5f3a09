# SPDX-License-Identifier: Apache-2.0
"""Objects compiled once, and a look at what the kernel holds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.load import objects


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Objects by name: good, mixed, pinned, struct_ops."""
    clang = shutil.which("clang")
    if clang is None:
        if os.environ.get("CI") == "true":
            pytest.fail("clang is not installed")
        pytest.skip("clang is not installed")
    folder = tmp_path_factory.mktemp("objects")
    sources = {
        "good": objects.GOOD,
        "mixed": objects.MIXED,
        "pinned": objects.PINNED,
        "struct_ops": objects.STRUCT_OPS,
    }
    return {name: objects.compile_object(clang, text, folder, name) for name, text in sources.items()}


@pytest.fixture
def pin_folder(live: object) -> Iterator[Path]:
    """A folder on the bpf file system that does not exist yet; whatever is pinned there is removed."""
    folder = Path(f"/sys/fs/bpf/holdfast_test_{os.getpid()}")
    yield folder
    if folder.exists():
        shutil.rmtree(folder)


@pytest.fixture
def leaves_nothing(live: object) -> Iterator[None]:
    """Fails the test when BPF descriptors of this process or pins are left over.

    Ids of the whole kernel are no measure: other processes load programs as well.
    """
    before = held()
    yield
    assert held() == before


def held() -> tuple[set[str], set[str]]:
    """What this process has open that is BPF, and what is pinned at the root of the bpf file system."""
    open_files = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the descriptor that lists the folder
            continue
        if "bpf" in target or "btf" in target:
            open_files.add(f"{link.name} {target}")
    return open_files, {path.name for path in Path("/sys/fs/bpf").iterdir()}
