# SPDX-License-Identifier: Apache-2.0
"""``holdfast run``: what needs no kernel."""

from __future__ import annotations

import os
import signal
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.cli import run


def test_a_signal_while_the_command_is_started_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        os.kill(os.getpid(), signal.SIGTERM)
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    outcome: Any = SimpleNamespace(
        bundle="a/b", variant="v", is_fallback=False, programs={}, maps={}, links={}
    )
    assert run._run_command(outcome, ["sleep", "60"]) == 128 + signal.SIGTERM
