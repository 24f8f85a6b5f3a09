# SPDX-License-Identifier: Apache-2.0
"""Capabilities by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.sys import capabilities, missing, privilege


def test_capabilities_are_those_of_proc() -> None:
    mask = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
    assert len(capabilities()) == (mask & ((1 << 41) - 1)).bit_count()


def test_sys_admin_stands_for_the_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privilege, "capabilities", lambda: frozenset({"CAP_SYS_ADMIN"}))
    assert not missing(frozenset({"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"}))
    monkeypatch.setattr(privilege, "capabilities", lambda: frozenset({"CAP_BPF"}))
    assert missing(frozenset({"CAP_BPF", "CAP_NET_ADMIN"})) == {"CAP_NET_ADMIN"}


def test_importing_sys_does_not_open_a_library() -> None:
    code = "import holdfast.sys, sys; print('holdfast.libbpf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
