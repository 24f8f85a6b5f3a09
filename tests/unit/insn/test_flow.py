# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.unit.insn.asm import EXIT, call_pc, goto, if_, lddw, mov

from holdfast.insn import Instruction
from holdfast.insn.flow import Graph, back_edges, callee, function_starts, reachable, successors


def test_edges_of_each_kind_of_jump() -> None:
    insns = (
        if_(1, "==", 0, 2),  # 0
        goto(1),  # 1
        Instruction(0x06, 0, 0, 0, 2),  # 2 gotol
        Instruction(0xE5, 0, 0, -2, 0),  # 3 may_goto
        *lddw(1),  # 4
        EXIT,  # 6
    )
    assert successors(insns, 0) == (1, 3)
    assert successors(insns, 1) == (3,)
    assert successors(insns, 2) == (5,)
    assert successors(insns, 3) == (4, 2)
    assert successors(insns, 4) == (6,)
    assert successors(insns, 6) == ()


def test_edges_that_leave_the_stream_do_not_exist() -> None:
    assert successors((goto(5),), 0) == ()
    assert successors((if_(1, "==", 0, -9),), 0) == ()
    assert callee((call_pc(7),), 0) is None
    assert callee((call_pc(-1),), 0) is None  # not yet relocated


def test_gotox_follows_its_table() -> None:
    insns = (Instruction(0x0D, 1, 0, 0, 0), EXIT, EXIT)
    assert successors(insns, 0) == ()
    assert successors(insns, 0, {0: (2, 1, 99)}) == (2, 1)
    assert reachable(insns, jump_tables={0: (2,)}) == {0, 2}


def test_reachable_enters_callees_and_callbacks_and_keeps_assumptions() -> None:
    insns = (
        if_(1, "!=", 0, 1),  # 0
        call_pc(4),  # 1 -> 6
        *lddw(2, 4, src=4),  # 2 -> 7
        mov(0, 0),  # 4
        EXIT,  # 5
        EXIT,  # 6
        EXIT,  # 7
        EXIT,  # 8: nobody's
    )
    assert function_starts(insns) == (0, 6, 7)
    assert reachable(insns) == set(range(8))
    assert reachable(insns, {0: True}) == {0, 2, 3, 4, 5, 7}
    assert reachable(insns, {0: False}) == set(range(8))


def test_loop_is_a_back_edge_and_a_jump_backwards_alone_is_not() -> None:
    loop = (mov(1, 0), if_(1, "==", 9, 1), goto(-2), EXIT)
    assert back_edges(loop) == ((2, 1),)
    shuffled = (goto(2), mov(0, 0), EXIT, goto(-3))
    assert back_edges(shuffled) == ()


def test_loop_inside_a_callee_is_found() -> None:
    insns = (call_pc(1), EXIT, mov(1, 0), if_(1, "<", 5, -2), EXIT)
    assert back_edges(insns) == ((3, 2),)


def test_blocks_cover_the_stream_without_overlap() -> None:
    insns = (if_(1, "==", 0, 1), mov(0, 1), mov(0, 2), call_pc(1), EXIT, EXIT)
    graph = Graph(insns)
    blocks = [(start, end) for start, end in enumerate(graph.block_end) if end]
    assert blocks == [(0, 1), (1, 2), (2, 4), (4, 5), (5, 6)]
    assert [graph.function_of(slot) for slot in range(6)] == [0, 0, 0, 0, 0, 5]


def test_very_long_chain_needs_no_recursion() -> None:
    insns = (*(if_(1, "==", 0, 0) for _ in range(20_000)), EXIT)
    assert len(reachable(insns)) == 20_001
    assert back_edges(insns) == ()
