# SPDX-License-Identifier: Apache-2.0
"""Prototypes of global functions."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.rules.era import Era

from holdfast.rules import global_functions
from holdfast.rules.ask import Allowed
from holdfast.terms import ProgramType

YES, NO, UNKNOWN = Allowed.YES, Allowed.NO, Allowed.UNKNOWN


def judged(returns: str, argument: str, release: tuple[int, int]) -> Allowed:
    writer = BtfWriter()
    number = writer.integer("int", 4)
    kinds = {
        "void": 0,
        "int": number,
        "pointer": writer.ptr(number),
        "context": writer.ptr(writer.struct("__sk_buff", 192)),
        "struct": writer.ptr(writer.struct("mine", 8)),
    }
    function = writer.func("f", writer.proto(kinds[returns], ("x", kinds[argument])))
    btf = writer.btf()
    return global_functions.accepted(btf, function, ProgramType.SCHED_CLS, Era(*release)).allowed


@pytest.mark.parametrize(
    ("returns", "argument", "release", "allowed"),
    [
        ("int", "int", (5, 10), YES),
        ("int", "context", (5, 10), YES),
        ("int", "pointer", (5, 10), NO),
        ("int", "struct", (5, 11), NO),
        ("int", "struct", (5, 12), YES),
        ("void", "int", (6, 18), NO),
        ("void", "int", (7, 0), UNKNOWN),
        ("void", "int", (7, 1), YES),
        ("pointer", "int", (7, 1), NO),
    ],
)
def test_prototypes(returns: str, argument: str, release: tuple[int, int], allowed: Allowed) -> None:
    assert judged(returns, argument, release) is allowed
