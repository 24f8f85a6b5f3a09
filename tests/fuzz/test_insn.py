# SPDX-License-Identifier: Apache-2.0
"""Instructions: any bytes can be decoded, printed, classified and walked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.inputs import BOUNDED, answer, bounds, damaged

from holdfast.insn import INSN_SIZE, Instruction, decode, encode
from holdfast.insn.features import features, first_slots, isa_level
from holdfast.insn.flow import Graph, back_edges, callee, function_starts, reachable, successors
from holdfast.insn.live import MapAddress, Token, live_slots
from holdfast.insn.text import listing

SEED = bytes.fromhex(
    "bf16000000000000"  # r6 = r1
    "1801000000000000 0000000000000000"  # r1 = 0 ll
    "1501040000000000"  # if r1 == 0 goto pc+4
    "7b1af8ff00000000"  # *(u64 *)(r10 -8) = r1
    "8510000004000000"  # call pc+4
    "79a2f8ff00000000"  # r2 = *(u64 *)(r10 -8)
    "5502fbff00000000"  # if r2 != 0 goto pc-5
    "b700000000000000"  # r0 = 0
    "9500000000000000"  # exit
    "db120000f1000000"  # cmpxchg
    "0600000001000000"  # gotol pc+1
    "e500feff00000000"  # may_goto pc-2
    "9500000000000000".replace(" ", "")
)

registers = st.integers(0, 15)
opcodes = st.one_of(
    st.integers(0, 255),
    st.sampled_from(
        (0x05, 0x06, 0x0D, 0x15, 0x18, 0x55, 0x61, 0x79, 0x7B, 0x85, 0x95, 0xB7, 0xBF, 0xDB, 0xE5)
    ),
)
instructions = st.builds(
    Instruction,
    opcodes,
    registers,
    registers,
    st.one_of(st.integers(-8, 8), st.integers(-(1 << 15), (1 << 15) - 1)),
    st.one_of(st.integers(-8, 8), st.integers(-(1 << 31), (1 << 31) - 1)),
)
streams = st.lists(instructions, max_size=60).map(tuple)
whole_slots = damaged(SEED).map(lambda data: data[: len(data) // INSN_SIZE * INSN_SIZE])


@BOUNDED
@given(whole_slots, st.sampled_from(("little", "big")))
def test_decode_and_encode_are_inverse(data: bytes, byteorder: str) -> None:
    insns = answer(decode, data, byteorder)
    assert encode(insns, byteorder) == data


@BOUNDED
@given(st.one_of(streams, whole_slots.map(decode)))
def test_every_stream_can_be_printed_and_classified(insns: tuple[Instruction, ...]) -> None:
    with bounds():
        lines = dict(listing(insns))
        assert all(line and "\n" not in line and "None" not in line for line in lines.values())
        assert lines.keys() <= set(range(len(insns)))
        found = features(insns)
        assert found == first_slots(insns).keys()
        assert all(0 <= slot < len(insns) for slot in first_slots(insns).values())
        assert 1 <= isa_level(found) <= 4


@BOUNDED
@given(st.one_of(streams, whole_slots.map(decode)))
def test_edges_stay_inside_the_stream(insns: tuple[Instruction, ...]) -> None:
    size = len(insns)
    with bounds():
        for slot in range(size):
            assert all(0 <= follow < size for follow in successors(insns, slot))
            entered = callee(insns, slot)
            assert entered is None or 0 <= entered < size
        assert all(0 <= start < max(size, 1) for start in function_starts(insns))
        assert all(0 <= a < size and 0 <= b < size for a, b in back_edges(insns))


@BOUNDED
@given(
    st.one_of(streams, whole_slots.map(decode)),
    st.dictionaries(
        st.integers(0, 60),
        st.one_of(
            st.integers(-(1 << 63), (1 << 64) - 1), st.sampled_from(Token), st.just(MapAddress("m", 0))
        ),
        max_size=5,
    ),
    st.sets(st.integers(0, 60), max_size=3),
)
def test_live_slots_are_reachable_and_knowing_less_keeps_more(
    insns: tuple[Instruction, ...], known: dict[int, int | Token | MapAddress], static: set[int]
) -> None:
    graph = Graph(insns)
    with bounds():
        live = live_slots(insns, known, static_subprogs=static, read=lambda *_: 3, graph=graph)
        unknown = live_slots(insns, dict.fromkeys(range(len(insns)), Token.UNKNOWN), graph=graph)
    # A gotox has no table here: the walk goes anywhere, the plain search nowhere.
    tables = graph.jump_tables
    assert live <= reachable(insns, jump_tables=tables)
    assert live <= unknown
