# SPDX-License-Identifier: Apache-2.0
"""Findings rest on all kernels of the catalogue, and do without one that cannot be read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import holdfast.kernels.catalogue
from holdfast.cli.findings import Findings
from holdfast.errors import KernelFileError


def test_a_kernel_that_cannot_be_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damaged(_cache: object) -> None:
        raise KernelFileError("store", "its blob is gone", place="debian/6.1")

    shelf = SimpleNamespace(entries=lambda: [SimpleNamespace(facts=damaged)])
    fake: Any = SimpleNamespace(open=lambda: shelf)
    monkeypatch.setattr(holdfast.kernels.catalogue, "Shelf", fake)
    Findings()._open()
    said = capsys.readouterr().err
    assert said.startswith("note: store: debian/6.1: its blob is gone; ")
    assert said.count("\n") == 1
