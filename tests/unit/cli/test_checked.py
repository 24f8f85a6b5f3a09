# SPDX-License-Identifier: Apache-2.0
"""The libbpf that ``check`` judges for."""

from __future__ import annotations

import pytest

from holdfast.cli.checked import _release
from holdfast.errors import LibbpfError


def test_a_libbpf_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_LIBBPF", "/nonexistent/libbpf.so")
    with pytest.raises(LibbpfError, match="HOLDFAST_LIBBPF names /nonexistent"):
        _release(None)
    assert _release("1.2") == (1, 2)
