# SPDX-License-Identifier: Apache-2.0
"""Calls that register sets, in code of many shapes."""

from __future__ import annotations

from tests.x86code import Code

from holdfast.kernels.registered.calls import Door, Found, find
from holdfast.kernels.registered.disasm import X86Reader
from holdfast.kernels.registered.sites import calls_of
from holdfast.kernels.registered.space import Names, Segment, Space

TEXT = 0xFFFFFFFF81000000
DATA = 0xFFFFFFFF82000000
REGISTER = 0xFFFFFFFF80F00000
FMOD_RET = REGISTER + 0x100
OTHER = REGISTER + 0x200
A, B = DATA + 0x1000, DATA + 0x1100


def space_of(code: Code, data: bytes = b"", **starts: int) -> Space:
    """Code with its functions' names, and .rodata."""
    rows = sorted((at, name) for name, at in {"init": code.base, **starts, "end": code.here + 1}.items())
    segments = [
        Segment(".init.text", code.base, code.bytes(), code=True),
        Segment(".rodata", DATA, data, fixed=True),
    ]
    return Space(
        segments, Names([at for at, _ in rows], [name.replace("_cold", ".cold") for _, name in rows])
    )


def found(code: Code, data: bytes = b"", **starts: int) -> Found:
    space = space_of(code, data, **starts)
    return find(space, X86Reader(space), {Door.KFUNC: REGISTER, Door.FMOD_RET: FMOD_RET})


def pairs(result: Found) -> set[tuple[int, int | None]]:
    return {(call.kset, call.program_type) for call in result.calls}


def test_a_chain_of_calls_stops_at_the_first_error() -> None:
    code = Code(TEXT).raw("f30f1efa").call(OTHER)  # endbr64, __fentry__
    code.address("esi", A).mov("edi", 26).call(REGISTER)
    code.test("eax").jne("out").address("esi", A).mov("edi", 3).call(REGISTER)
    code.test("eax").jne("out").lea("esi", B).xor("edi").jmp(REGISTER)
    code.label("out").ret()
    result = found(code)
    assert pairs(result) == {(A, 26), (A, 3), (B, 0)}
    assert result.gaps == ()
    assert {call.function for call in result.calls} == {"init"}


def test_arguments_kept_in_saved_registers_and_on_the_stack() -> None:
    code = Code(TEXT).push("ebx").address("ebx", A).mov("edi", 6).copy("esi", "ebx").push("ebx")
    code.call(REGISTER).call(OTHER).pop("esi").mov("edi", 3).call(REGISTER)
    code.copy("esi", "ebx").mov("edi", 31).call(REGISTER).pop("ebx").ret()
    assert pairs(found(code)) == {(A, 6), (A, 3), (A, 31)}


def test_a_tail_that_two_ways_share_keeps_their_arguments_together() -> None:
    code = Code(TEXT).call(OTHER).test("eax").jne("second")
    code.address("esi", A).mov("edi", 6).jmp("tail")
    code.label("second").address("esi", B).mov("edi", 3)
    code.label("tail").call(REGISTER).ret()
    assert pairs(found(code)) == {(A, 6), (B, 3)}


def test_a_loop_over_a_table() -> None:
    table = b"".join(number.to_bytes(4, "little") for number in (3, 6, 26))
    code = Code(TEXT).xor("ebx").address("ebp", DATA)
    code.label("next").raw("8b7c9d00")  # mov 0x0(%rbp,%rbx,4),%edi
    code.address("esi", A).call(REGISTER).test("eax").jne("out")
    code.raw("48ffc3").raw("4883fb03").jne("next")  # inc %rbx; cmp $3,%rbx
    code.label("out").ret()
    result = found(code, table)
    assert pairs(result) == {(A, 3), (A, 6), (A, 26)}
    assert result.gaps == ()


def test_a_function_that_passes_on_what_it_is_given() -> None:
    code = Code(TEXT)
    code.call(OTHER).address("edi", A).call("both").address("edi", B).call("both").ret()
    start = code.here
    code.label("both").push("ebx").copy("ebx", "edi").copy("esi", "edi").mov("edi", 6).call(REGISTER)
    code.copy("esi", "ebx").mov("edi", 3).call(REGISTER).pop("ebx").ret()
    result = found(code, both=start)
    assert pairs(result) == {(A, 6), (A, 3), (B, 6), (B, 3)}
    assert result.gaps == ()


def test_a_part_that_was_moved_away() -> None:
    code = Code(TEXT).address("esi", A).call(OTHER).test("eax").jne("cold").ret()
    start = code.here
    code.label("cold").address("esi", A).mov("edi", 6).call(REGISTER).ret()
    result = found(code, init_cold=start)
    assert pairs(result) == {(A, 6)}
    assert result.gaps == ()


def test_fmod_ret_takes_the_set_first() -> None:
    result = found(Code(TEXT).address("edi", A).call(FMOD_RET).ret())
    (call,) = result.calls
    assert (call.door, call.kset, call.program_type) == (Door.FMOD_RET, A, None)


def test_what_a_call_changes_is_not_believed() -> None:
    code = Code(TEXT).call(OTHER).address("esi", A).mov("edi", 6).call(OTHER).call(REGISTER).ret()
    result = found(code)
    assert result.calls == ()
    assert result.gaps == ("init registers a set that its code does not name",)


def test_a_type_that_is_not_known() -> None:
    code = Code(TEXT).call(OTHER).address("esi", A).copy("edi", "ebx").call(REGISTER).ret()
    assert pairs(found(code)) == {(A, None)}


def test_data_that_can_change_are_not_believed() -> None:
    code = Code(TEXT).call(OTHER).address("ebp", TEXT + 0x10000).raw("8b7d00")  # mov 0x0(%rbp),%edi
    code.address("esi", A).call(REGISTER).ret()
    space = space_of(code)
    written = Segment(".data", TEXT + 0x10000, (6).to_bytes(8, "little"))
    space = Space([*space.segments, written], space.names)
    result = find(space, X86Reader(space), {Door.KFUNC: REGISTER})
    assert pairs(result) == {(A, None)}


def test_ro_after_init_can_change() -> None:
    names = Names([DATA + 8, DATA + 16], ["__start_ro_after_init", "__end_ro_after_init"])
    space = Space([Segment(".rodata", DATA, bytes(24), fixed=True)], names)
    assert [space.fixed(DATA + at, 4) for at in (0, 4, 8, 12, 16, 20)] == [0, 0, None, None, 0, 0]
    assert space.fixed(DATA + 4, 8) is None


def test_a_call_that_no_way_leads_to_is_a_gap() -> None:
    code = Code(TEXT).ret().address("esi", A).mov("edi", 6).call(REGISTER).ret()
    result = found(code)
    assert result.calls == ()
    assert len(result.gaps) == 1 and "no way was found to the call" in result.gaps[0]


def test_an_indirect_jump_is_a_gap() -> None:
    code = Code(TEXT).address("esi", A).mov("edi", 6).call(REGISTER).raw("ffe0").ret()  # jmp *%rax
    result = found(code)
    assert pairs(result) == {(A, 6)}
    assert result.gaps == ("not all of init could be followed",)


def test_endless_growth_is_given_up() -> None:
    code = Code(TEXT).xor("ebx").label("next").raw("48ffc3")  # inc %rbx
    code.address("esi", A).mov("edi", 6).call(REGISTER).test("eax").jne("next").ret()
    assert "not all of init could be followed" in found(code).gaps


def test_an_equality_tells_a_register() -> None:
    code = Code(TEXT).call(OTHER).copy("ebx", "eax", wide=False).raw("83fb06").jne("out")  # cmp $6,%ebx
    code.address("esi", A).copy("edi", "ebx", wide=False).call(REGISTER).label("out").ret()
    assert pairs(found(code)) == {(A, 6)}


def test_every_call_is_found_wherever_it_stands() -> None:
    """Around the borders of the chunks that are searched, for targets before and behind."""
    for target in (REGISTER, TEXT + 0x40000, TEXT + 0x12):
        data = bytearray(0x20000)
        places = [0, 5, 0xFFF0, 0xFFF8, 0xFFFD, 0x10003, 0x1000A, 0x1FFFB]
        for place in places:
            data[place : place + 5] = Code(TEXT + place).call(target).bytes()
        space = Space([Segment(".text", TEXT, bytes(data), code=True)], Names([], []))
        assert calls_of(space, target) == [TEXT + place for place in places]


def test_conditional_tail_calls_are_found() -> None:
    code = Code(TEXT).call(OTHER).test("eax").address("esi", A).mov("edi", 6).je(REGISTER).ret()
    assert pairs(found(code)) == {(A, 6)}


def test_what_hangs_on_one_condition_stays_together() -> None:
    code = Code(TEXT).call(OTHER).test("eax").address("esi", A).address("ecx", B).raw("480f45f1")  # cmovne
    code.mov("edi", 3).mov("edx", 6).raw("0f45fa").call(REGISTER).ret()  # cmovne %edx,%edi
    result = found(code)
    assert pairs(result) == {(A, 3), (B, 6)}
    assert result.gaps == ()


def test_a_condition_as_a_number() -> None:
    code = Code(TEXT).call(OTHER).test("eax").raw("0f95c0").raw("0fb6f8")  # setne %al; movzbl %al,%edi
    code.address("esi", A).raw("83c706").call(REGISTER).ret()  # add $6,%edi
    assert pairs(found(code)) == {(A, 6), (A, 7)}


def test_sets_and_types_that_hang_on_two_conditions_are_not_matched() -> None:
    code = Code(TEXT).call(OTHER).test("eax").address("esi", A).address("ecx", B).raw("480f45f1")
    code.test("ebx").mov("edi", 3).mov("edx", 6).raw("0f45fa").call(REGISTER).ret()
    assert pairs(found(code)) == {(A, None), (B, None)}
