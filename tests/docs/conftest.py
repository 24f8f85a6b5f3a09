# SPDX-License-Identifier: Apache-2.0
"""Grounds of the documents' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import lacks
from tests.docs.documents import ROOT


@pytest.fixture(scope="session")
def built_bundle() -> Path:
    """The bundle that documents use, its objects compiled."""
    folder = ROOT / "bundles/net/rss"
    if not list(folder.glob("*.bpf.o")):
        lacks("the bundle net/rss is not built (make setup)")
    return folder


@pytest.fixture(scope="session")
def kernel_btf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the running kernel's BTF, as one would bring it along from another machine."""
    source = Path("/sys/kernel/btf/vmlinux")
    if not source.exists():
        lacks("this kernel shows no BTF")
    copy = tmp_path_factory.mktemp("kernel") / "vmlinux.btf"
    copy.write_bytes(source.read_bytes())
    return copy
