# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from tests.unit.insn.asm import EXIT, call, call_pc, goto, if_, lddw, ldx, mov, mov_reg, st, stx

from holdfast.insn import Instruction
from holdfast.insn.live import (
    ContextAccess,
    MapAddress,
    Origins,
    Pointer,
    PointerAccess,
    Token,
    explore,
    live_slots,
)

RANDOM = call(7)


def test_null_check_of_a_ksym_follows_what_is_known() -> None:
    insns = (*lddw(1), if_(1, "==", 0, 1), call(1), EXIT)
    assert live_slots(insns, {0: 0}) == {0, 1, 2, 4}
    assert live_slots(insns, {0: Token.NON_ZERO}) == {0, 1, 2, 3, 4}
    assert live_slots(insns, {0: Token.UNKNOWN}) == {0, 1, 2, 3, 4}
    inverted = (*lddw(1), if_(1, "!=", 0, 1), call(1), EXIT)
    assert live_slots(inverted, {0: Token.NON_ZERO}) == {0, 1, 2, 4}


def test_pseudo_source_is_not_null() -> None:
    insns = (*lddw(1, 77, src=3), if_(1, "!=", 0, 1), call(1), EXIT)
    assert 3 not in live_slots(insns)
    assert 3 in live_slots(insns, {0: Token.UNKNOWN})


def test_relocated_immediate_of_a_move_and_of_a_comparison() -> None:
    insns = (mov(1, 1), if_(1, "==", 0, 1), call(1), EXIT)
    assert 2 in live_slots(insns)
    assert 2 not in live_slots(insns, {0: 0})
    assert 2 not in live_slots(insns, {1: 1})


def test_guard_survives_calls_and_unknown_branches_in_a_saved_register() -> None:
    insns = (
        mov(6, 0),
        RANDOM,
        if_(0, "==", 1, 1),
        RANDOM,
        if_(6, "==", 0, 1),
        call(1),
        EXIT,
    )
    assert 5 not in live_slots(insns)


def test_argument_registers_do_not_survive_calls() -> None:
    insns = (mov(1, 0), RANDOM, if_(1, "==", 0, 1), call(1), EXIT)
    assert 3 in live_slots(insns)


def test_guard_on_the_stack() -> None:
    insns = (mov(1, 0), stx(10, -8, 1), RANDOM, ldx(2, 10, -8), if_(2, "==", 0, 1), call(1), EXIT)
    assert 5 not in live_slots(insns)


@pytest.mark.parametrize("through", [0, 4])
def test_stack_given_to_a_helper_is_forgotten(through: int) -> None:
    insns = (
        st(10, -8, 0),
        mov_reg(1, 10),
        Instruction(0x07, 1, 0, 0, -8 - through),
        mov(2, 8),
        call(1),
        ldx(3, 10, -8),
        if_(3, "==", 0, 1),
        call(2),
        EXIT,
    )
    assert 7 in live_slots(insns)


def test_stack_beyond_the_size_given_to_a_helper_stays() -> None:
    insns = (
        st(10, -8, 0),
        mov_reg(1, 10),
        Instruction(0x07, 1, 0, 0, -24),
        mov(2, 16),
        call(1),
        ldx(3, 10, -8),
        if_(3, "==", 0, 1),
        call(2),
        EXIT,
    )
    assert 7 not in live_slots(insns)


def test_pointer_to_the_stack_inside_a_struct_given_to_a_helper() -> None:
    insns = (
        st(10, -8, 0),
        mov_reg(1, 10),
        Instruction(0x07, 1, 0, 0, -8),
        stx(10, -16, 1),  # the struct at -16 points to -8
        Instruction(0x07, 1, 0, 0, -8),
        mov(2, 8),
        call(1),
        ldx(3, 10, -8),
        if_(3, "==", 0, 1),
        call(2),
        EXIT,
    )
    assert 9 in live_slots(insns)


def test_store_somewhere_in_the_frame_forgets_all_of_it() -> None:
    insns = (
        st(10, -8, 0),
        RANDOM,
        mov_reg(1, 10),
        Instruction(0x0F, 1, 0, 0, 0),  # r1 += r0
        st(1, -16, 1),
        ldx(3, 10, -8),
        if_(3, "==", 0, 1),
        call(2),
        EXIT,
    )
    assert 7 in live_slots(insns)


def test_overlapping_store_forgets() -> None:
    insns = (st(10, -8, 0), st(10, -4, 1, op=0x62), ldx(3, 10, -8), if_(3, "==", 0, 1), call(2), EXIT)
    assert 4 in live_slots(insns)


def test_state_variable_keeps_a_few_values() -> None:
    insns = (
        mov(6, 0),
        RANDOM,
        if_(0, "==", 0, 1),
        mov(6, 1),
        if_(6, "==", 2, 1),  # 6 is 0 or 1
        EXIT,
        call(1),
        EXIT,
    )
    assert 6 not in live_slots(insns)


def test_comparison_teaches_both_edges() -> None:
    insns = (RANDOM, if_(0, "!=", 5, 2), if_(0, "==", 5, 1), call(1), EXIT)
    assert 3 not in live_slots(insns)


def test_frozen_map_value() -> None:
    insns = (*lddw(1), ldx(2, 1, 4, op=0x61), if_(2, ">", 0x60000, 1), call(1), EXIT)
    where = {0: MapAddress("kconfig", 0)}

    def version(value: int) -> frozenset[int]:
        return live_slots(insns, where, read=lambda map_, offset, size: value if offset == 4 else None)

    assert 4 not in version(0x60C00)
    assert 4 in version(0x50A00)
    assert 4 in live_slots(insns, where)
    assert 4 not in live_slots(insns, known_loads=lambda slot: 0x60C00 if slot == 2 else None)


def test_signed_load_of_a_frozen_value() -> None:
    insns = (*lddw(1), ldx(2, 1, 0, op=0x91), if_(2, "s<", 0, 1), call(1), EXIT)
    assert 4 not in live_slots(insns, {0: MapAddress("rodata", 0)}, read=lambda *_: 0xFF)


def test_32_bit_comparison_looks_at_the_low_half() -> None:
    insns = (*lddw(1, 0x1_0000_0000), Instruction(0x16, 1, 0, 1, 0), call(1), EXIT)
    assert 3 not in live_slots(insns)


def test_static_function_gives_its_constant_back_and_global_does_not() -> None:
    insns = (
        call_pc(4),  # 0 -> 5
        if_(0, "==", 0, 1),  # 1
        call(1),  # 2
        mov(0, 0),  # 3
        EXIT,  # 4
        mov(0, 0),  # 5
        EXIT,  # 6
    )
    assert live_slots(insns) == set(range(7))
    assert live_slots(insns, static_subprogs={5}) == {0, 1, 3, 4, 5, 6}


def test_static_function_sees_its_callers_arguments() -> None:
    insns = (
        mov(1, 3),  # 0
        call_pc(2),  # 1 -> 4
        mov(0, 0),  # 2
        EXIT,  # 3
        if_(1, "==", 3, 1),  # 4
        call(1),  # 5
        EXIT,  # 6
    )
    assert 5 in live_slots(insns)
    assert 5 not in live_slots(insns, static_subprogs={4})


def test_function_that_only_dead_code_calls_is_dead_unless_named() -> None:
    insns = (mov(1, 0), if_(1, "==", 0, 1), call_pc(1), EXIT, mov(0, 0), EXIT)
    assert live_slots(insns) == {0, 1, 3}
    assert live_slots(insns, entries=(0, 4)) == {0, 1, 3, 4, 5}


def test_callback_is_live_with_its_load() -> None:
    insns = (*lddw(2, 2, src=4), EXIT, mov(0, 0), EXIT)
    assert live_slots(insns) == {0, 1, 2, 3, 4}
    guarded = (mov(1, 0), if_(1, "==", 0, 2), *lddw(2, 2, src=4), EXIT, mov(0, 0), EXIT)
    assert live_slots(guarded) == {0, 1, 4}


def test_gotox_without_its_table_may_go_anywhere_in_the_function() -> None:
    insns = (Instruction(0x0D, 1, 0, 0, 0), call(1), EXIT)
    assert live_slots(insns) == {0, 1, 2}
    assert live_slots(insns, jump_tables={0: (2,)}) == {0, 2}


def test_counting_loop_ends_and_covers_the_exit() -> None:
    insns = (mov(6, 0), Instruction(0x07, 6, 0, 0, 1), if_(6, "<", 100_000, -2), call(1), EXIT)
    assert live_slots(insns) == {0, 1, 2, 3, 4}


def test_work_is_bounded_where_values_keep_changing() -> None:
    """Ten nested loops that count in nine places: each block is visited a small number of times."""
    visits = 0

    def count(slot: int) -> None:
        nonlocal visits
        visits += 1

    body: list[Instruction] = [mov(6, 0), *(st(10, -8 * number, 0) for number in range(1, 9))]
    first = len(body)
    body.append(ldx(1, 6, 0))
    for number in range(10):
        slot = -8 * (number % 8 + 1)
        body += [ldx(2, 10, slot), Instruction(0x07, 2, 0, 0, 1), stx(10, slot, 2)]
        body += [RANDOM, if_(0, ">", number, first - len(body) - 2)]
    insns = (*body, EXIT)
    live = live_slots(insns, known_loads=count)
    assert live == set(range(len(insns)))
    assert visits < 11 * 100


def test_loads_from_the_context_are_told_apart_from_others() -> None:
    moved = Instruction(0x07, 2, 0, 0, 8)
    insns = (
        ldx(3, 1, 8),
        mov_reg(2, 1),
        moved,
        ldx(3, 2, 16),
        mov_reg(6, 1),
        RANDOM,
        ldx(3, 1, 0),  # a call takes r1
        ldx(3, 6, 24),
        EXIT,
    )
    loads = explore(insns).context_loads
    assert loads == {0: ContextAccess(0, 8, 8), 3: ContextAccess(8, 16, 8), 7: ContextAccess(0, 24, 8)}


def test_a_pointer_that_is_not_always_the_context_is_none() -> None:
    insns = (mov_reg(6, 1), RANDOM, if_(0, "==", 0, 1), mov_reg(6, 0), ldx(3, 6, 24), EXIT)
    assert explore(insns).context_loads == {}
    two_places = (
        mov_reg(6, 1),
        RANDOM,
        if_(0, "==", 0, 1),
        Instruction(0x07, 6, 0, 0, 8),
        ldx(3, 6, 0),
        EXIT,
    )
    assert explore(two_places).context_loads == {}


def test_the_verifier_does_not_know_that_the_context_is_not_null() -> None:
    insns = (if_(1, "!=", 0, 1), call(1), EXIT)
    assert 1 in live_slots(insns)


def test_stores_to_the_context_are_told() -> None:
    insns = (mov_reg(6, 1), mov(2, 0), stx(6, 80, 2), st(1, 8, 7), stx(10, -8, 2), EXIT)
    assert explore(insns).context_stores == {2: ContextAccess(0, 80, 8), 3: ContextAccess(0, 8, 8)}


def test_pointers_are_followed_from_their_origin() -> None:
    insns = (ldx(6, 1, 8), ldx(2, 6, 16), mov_reg(3, 2), ldx(0, 3, 4), st(6, 24, 1), EXIT)
    origins = Origins(True, {})
    reached = explore(insns, origins=origins)
    argument = Pointer(8)
    assert reached.pointer_loads == {
        1: PointerAccess(argument, 8),
        3: PointerAccess(Pointer(8, ((1, 0),)), 8),
    }
    assert [one.pointer for one in reached.pointer_stores.values()] == [argument]
    assert explore(insns).pointer_loads == {}


def test_a_pointer_that_may_be_null_is_the_pointer_where_it_is_read_through() -> None:
    # r6 = 0; if (random) r6 = call; if (r6) *r6
    insns = (
        mov(6, 0),
        RANDOM,
        if_(0, "==", 1, 2),
        call(137),
        mov_reg(6, 0),
        if_(6, "==", 0, 1),
        ldx(0, 6, 4),
        EXIT,
    )
    reached = explore(insns, origins=Origins(False, {3: "tp"}))
    assert reached.pointer_loads == {6: PointerAccess(Pointer("tp"), 8)}
    assert 7 in reached.slots


def test_two_pointers_at_one_load_are_none() -> None:
    insns = (RANDOM, if_(0, "==", 1, 2), ldx(6, 1, 0), goto(1), ldx(6, 1, 8), ldx(0, 6, 4), EXIT)
    assert explore(insns, origins=Origins(True, {})).pointer_loads == {}
