# SPDX-License-Identifier: Apache-2.0
"""One line of text per kind of instruction, against a table written from disasm.c's formats by hand."""

from __future__ import annotations

import pytest

from holdfast.insn import Instruction, decode
from holdfast.insn.text import Names, listing, text

ALU = {
    0x0: "+=",
    0x1: "-=",
    0x2: "*=",
    0x3: "/=",
    0x4: "|=",
    0x5: "&=",
    0x6: "<<=",
    0x7: ">>=",
    0x9: "%=",
    0xA: "^=",
    0xB: "=",
    0xC: "s>>=",
}
JUMPS = {
    0x1: "==",
    0x2: ">",
    0x3: ">=",
    0x4: "&",
    0x5: "!=",
    0x6: "s>",
    0x7: "s>=",
    0xA: "<",
    0xB: "<=",
    0xC: "s<",
    0xD: "s<=",
}

# bytes in the order of the stream -> text
ROWS = [
    ("b700000000000000", "(b7) r0 = 0"),
    ("b4010000ffffffff", "(b4) w1 = -1"),
    ("bf61000000000000", "(bf) r1 = r6"),
    ("bc61000000000000", "(bc) w1 = w6"),
    ("bf21080000000000", "(bf) r1 = (s8)r2"),
    ("bf21100000000000", "(bf) r1 = (s16)r2"),
    ("bf21200000000000", "(bf) r1 = (s32)r2"),
    ("bc21080000000000", "(bc) w1 = (s8)w2"),
    ("bc21100000000000", "(bc) w1 = (s16)w2"),
    ("bf21010001000000", "(bf) r1 = addr_space_cast(r2, 0, 1)"),
    ("bf21010000000100", "(bf) r1 = addr_space_cast(r2, 1, 0)"),
    ("bf00ffff00000000", "(bf) r0 = &(void __percpu *)(r0)"),
    ("8703000000000000", "(87) r3 = -r3"),
    ("8403000000000000", "(84) w3 = -w3"),
    ("3f21010000000000", "(3f) r1 s/= r2"),
    ("9c21010000000000", "(9c) w1 s%= w2"),
    ("3701010007000000", "(37) r1 s/= 7"),
    ("9701000007000000", "(97) r1 %= 7"),
    ("d402000010000000", "(d4) r2 = le16 r2"),
    ("dc02000040000000", "(dc) r2 = be64 r2"),
    ("d702000020000000", "(d7) r2 = bswap32 r2"),
    ("6112100000000000", "(61) r2 = *(u32 *)(r1 +16)"),
    ("79a3f8ff00000000", "(79) r3 = *(u64 *)(r10 -8)"),
    ("6912000000000000", "(69) r2 = *(u16 *)(r1 +0)"),
    ("7112ffff00000000", "(71) r2 = *(u8 *)(r1 -1)"),
    ("8112040000000000", "(81) r2 = *(s32 *)(r1 +4)"),
    ("8912040000000000", "(89) r2 = *(s16 *)(r1 +4)"),
    ("9112040000000000", "(91) r2 = *(s8 *)(r1 +4)"),
    ("7b1af8ff00000000", "(7b) *(u64 *)(r10 -8) = r1"),
    ("631afcff00000000", "(63) *(u32 *)(r10 -4) = r1"),
    ("620afcff05000000", "(62) *(u32 *)(r10 -4) = 5"),
    ("720affff05000000", "(72) *(u8 *)(r10 -1) = 5"),
    ("6a0afeffffffffff", "(6a) *(u16 *)(r10 -2) = -1"),
    ("7a0af8ff00000000", "(7a) *(u64 *)(r10 -8) = 0"),
    ("c200000000000000", "(c2) nospec"),
    ("db12080000000000", "(db) lock *(u64 *)(r2 +8) += r1"),
    ("c312080050000000", "(c3) lock *(u32 *)(r2 +8) &= r1"),
    ("c312080040000000", "(c3) lock *(u32 *)(r2 +8) |= r1"),
    ("db120800a0000000", "(db) lock *(u64 *)(r2 +8) ^= r1"),
    ("db12080001000000", "(db) r1 = atomic64_fetch_add((u64 *)(r2 +8), r1)"),
    ("c312080001000000", "(c3) r1 = atomic_fetch_add((u32 *)(r2 +8), r1)"),
    ("db12080051000000", "(db) r1 = atomic64_fetch_and((u64 *)(r2 +8), r1)"),
    ("c312080041000000", "(c3) r1 = atomic_fetch_or((u32 *)(r2 +8), r1)"),
    ("db120800a1000000", "(db) r1 = atomic64_fetch_xor((u64 *)(r2 +8), r1)"),
    ("db120800e1000000", "(db) r1 = atomic64_xchg((u64 *)(r2 +8), r1)"),
    ("c3120800e1000000", "(c3) r1 = atomic_xchg((u32 *)(r2 +8), r1)"),
    ("db120800f1000000", "(db) r0 = atomic64_cmpxchg((u64 *)(r2 +8), r0, r1)"),
    ("c3120800f1000000", "(c3) r0 = atomic_cmpxchg((u32 *)(r2 +8), r0, r1)"),
    ("d312080000010000", "(d3) r2 = load_acquire((u8 *)(r1 +8))"),
    ("cb12080010010000", "(cb) store_release((u16 *)(r2 +8), r1)"),
    ("db12080000010000", "(db) r2 = load_acquire((u64 *)(r1 +8))"),
    ("2000000004000000", "(20) r0 = *(u32 *)skb[4]"),
    ("2800000004000000", "(28) r0 = *(u16 *)skb[4]"),
    ("5030000004000000", "(50) r0 = *(u8 *)skb[r3 + 4]"),
    ("0500feff00000000", "(05) goto pc-2"),
    ("0600000070110100", "(06) gotol pc+70000"),
    ("0d03000000000000", "(0d) gotox r3"),
    ("e500050000000000", "(e5) may_goto pc+5"),
    ("9500000000000000", "(95) exit"),
    ("8500000001000000", "(85) call bpf_map_lookup_elem#1"),
    ("8500000063630000", "(85) call unknown#25443"),
    ("8510000005000000", "(85) call pc+5"),
    ("85100000fbffffff", "(85) call pc-5"),
    ("8520000010270000", "(85) call kernel-function#10000"),
    ("5501050001000000", "(55) if r1 != 0x1 goto pc+5"),
    ("2501fbffffffffff", "(25) if r1 > 0xffffffff goto pc-5"),
    ("a6010500ff000000", "(a6) if w1 < 0xff goto pc+5"),
    ("6e21050000000000", "(6e) if w1 s> w2 goto pc+5"),
    ("4d21050000000000", "(4d) if r1 & r2 goto pc+5"),
]


def helper(number: int) -> str | None:
    return {1: "bpf_map_lookup_elem"}.get(number)


@pytest.mark.parametrize(("code", "expected"), ROWS)
def test_each_form(code: str, expected: str) -> None:
    assert text(decode(bytes.fromhex(code)), 0, Names(helper=helper)) == expected


def test_all_arithmetic() -> None:
    for operation, sign in ALU.items():
        for opclass, width in ((7, "r"), (4, "w")):
            op = operation << 4 | opclass
            assert text([Instruction(op, 3, 0, 0, 9)], 0) == f"({op:02x}) {width}3 {sign} 9"
            op |= 8
            assert text([Instruction(op, 3, 4, 0, 0)], 0) == f"({op:02x}) {width}3 {sign} {width}4"


def test_all_jumps() -> None:
    for operation, sign in JUMPS.items():
        for opclass, width in ((5, "r"), (6, "w")):
            op = operation << 4 | opclass
            assert text([Instruction(op, 3, 0, 2, -2)], 0) == (
                f"({op:02x}) if {width}3 {sign} 0xfffffffe goto pc+2"
            )
            op |= 8
            assert text([Instruction(op, 3, 4, -2, 0)], 0) == (
                f"({op:02x}) if {width}3 {sign} {width}4 goto pc-2"
            )


def test_wide_instruction_is_one_line_and_takes_two_slots() -> None:
    insns = decode(bytes.fromhex("1801000088776655 0000000044332211 9500000000000000".replace(" ", "")))
    assert list(listing(insns)) == [(0, "(18) r1 = 0x1122334455667788"), (2, "(95) exit")]


def test_names_replace_numbers_and_none_keeps_them() -> None:
    insns = (
        Instruction(0x18, 1, 1, 0, 7),
        Instruction(0, 0, 0, 0, 0),
        Instruction(0x85, 0, 2, 0, 99),
        Instruction(0x85, 0, 1, 0, 3),
        Instruction(0x18, 2, 0, 0, 7),
        Instruction(0, 0, 0, 0, 0),
    )
    names = Names(
        wide=lambda slot, insn, value: f"map[id:{value}]" if insn.src == 1 else None,
        call=lambda slot, insn: "bpf_dynptr_from_skb" if insn.src == 2 else None,
    )
    assert [line for _, line in listing(insns, names)] == [
        "(18) r1 = map[id:7]",
        "(85) call bpf_dynptr_from_skb#99",
        "(85) call pc+3",
        "(18) r2 = 0x7",
    ]


@pytest.mark.parametrize("op", [0x00, 0x01, 0x41, 0x99, 0xE7, 0xF5, 0x22, 0x63 | 0x80])
def test_opcode_without_words_says_its_number(op: int) -> None:
    assert text([Instruction(op, 0, 1, 0, 2)], 0) == f"BUG_{op:02x}"
