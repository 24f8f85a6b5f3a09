# SPDX-License-Identifier: Apache-2.0
"""What `rss attach` says where nothing runs, and of settings that may surprise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.errors import KernelAccessError, PrivilegeError, UsageError
from holdfast.rss.attach import _judged, _nothing_runs
from holdfast.rss.config import RssConfig
from holdfast.rss.tc import TcRule
from holdfast.rss.tc_messages import Device, Tun
from holdfast.rss.terms import HashType
from holdfast.rss.vectors import KEY


def outcome(**step: Any) -> Any:
    told = {"reasons": (), "words": None, "hint": None, "error": None} | step
    return SimpleNamespace(bundle="net/rss-tunnel", steps=[SimpleNamespace(**told)])


def tap(attached: int) -> Device:
    return Device("tap0", 3, 256, "tun", Tun(True, False, False, True, True, attached))


def test_a_kernel_that_refuses_tunnels_is_told_what_is_left() -> None:
    error = _nothing_runs("tap0", outcome(words="the verifier rejected it"), tunnels=True)
    assert isinstance(error, KernelAccessError)
    assert error.message == "tap0: no variant of net/rss-tunnel runs here: the verifier rejected it"
    assert error.hint is not None and "without --tunnel" in error.hint
    plain = _nothing_runs("tap0", outcome(words="the verifier rejected it", hint="h"), tunnels=False)
    assert plain.hint == "h"


def test_what_a_capability_would_help_is_a_matter_of_privilege() -> None:
    reason = SimpleNamespace(code="CAPABILITY_MISSING", line="no CAP_BPF", hint="another")
    for tunnels in (True, False):
        error = _nothing_runs("tap0", outcome(reasons=(reason,)), tunnels=tunnels)
        assert isinstance(error, PrivilegeError)
        assert error.message.endswith("no CAP_BPF") and error.hint is not None and "root" in error.hint
        error = _nothing_runs("tap0", outcome(words="no", error="PrivilegeError", hint="h"), tunnels=tunnels)
        assert isinstance(error, PrivilegeError) and error.hint == "h"


def test_queues_beyond_the_device_are_refused() -> None:
    for settings in (
        RssConfig(KEY, table=(0, 256)),
        RssConfig(KEY, unclassified=256),
        TcRule(1, KEY, (256,)),
        TcRule(1, KEY, (0,), unclassified=300),
    ):
        with pytest.raises(UsageError, match=r"tap0: queue (256|300) is named"):
            _judged(tap(0), settings)


def test_queues_that_nobody_has_open_are_noted() -> None:
    assert _judged(tap(0), RssConfig(KEY, table=(0, 255))) == ()
    assert _judged(tap(4), RssConfig(KEY, table=(0, 3))) == ()
    (note,) = _judged(tap(4), RssConfig(KEY, table=(0, 4)))
    assert "modulo 4" in note
    (note,) = _judged(tap(4), TcRule(1, KEY, (0, 4)))
    assert "lost" in note
    (note,) = _judged(tap(4), RssConfig(KEY, HashType.NONE, unclassified=2))
    assert note == "no hash types: every frame goes to queue 2"
