# SPDX-License-Identifier: Apache-2.0
"""BTF of modules is found by going through all BTF of the machine, which others load and unload meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import sys
from holdfast.kernels.probe.loader import Loader

NAMES = {1: "vmlinux", 2: "", 4: "tun", 5: "nf_nat"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """By descriptor, the number of what it is of; 3 goes away while it is asked for."""
    opened: dict[int, int] = {}

    def ids(_kind: str) -> Iterator[int]:
        return iter((1, 2, 3, 4, 5))

    def fd_by_id(_kind: str, number: int) -> sys.OwnedFd:
        if number not in NAMES:
            raise FileNotFoundError(2, "No such file or directory")
        owned = sys.OwnedFd(os.open("/dev/null", os.O_RDONLY))
        opened[owned.fileno()] = number
        return owned

    def btf_info(fd: int) -> sys.BtfInfo:
        number = opened[fd]
        return sys.BtfInfo(number, 0, NAMES[number], NAMES[number] != "")

    monkeypatch.setattr(sys, "ids", ids)
    monkeypatch.setattr(sys, "fd_by_id", fd_by_id)
    monkeypatch.setattr(sys, "btf_info", btf_info)
    return opened


def test_what_goes_away_meanwhile_hides_no_module(machine: dict[int, int]) -> None:
    modules: Any = {"tun": None, "nf_nat": None}
    loader = Loader(None, modules)
    fds = [loader.module_btf(name) for name in ("tun", "nf_nat", "vmlinux")]
    assert [machine.get(fd or 0) for fd in fds] == [4, 5, None]
    loader.close()
    for fd in fds[:2]:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd or -1)
