# SPDX-License-Identifier: Apache-2.0
"""Reads of the context against the prototype of the target."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter
from tests.unit.rules.era import Era

from holdfast.btf import Btf
from holdfast.btf.types import FuncProto, Kind, Struct
from holdfast.rules import arguments
from holdfast.rules.ask import Allowed, Sign
from holdfast.terms import AttachType, ProgramType

YES, NO, UNKNOWN = Allowed.YES, Allowed.NO, Allowed.UNKNOWN


def prototype(*, returns_void: bool = False) -> tuple[Btf, FuncProto]:
    """``int f(void *, struct two_words, int)`` or the same without a result."""
    writer = BtfWriter()
    number = writer.integer("int", 4)
    two = writer.struct("two_words", 16)
    pointer = writer.ptr(0)
    proto = writer.proto(0 if returns_void else number, ("p", pointer), ("two", two), ("n", number))
    btf = writer.btf()
    found = btf.type(proto)
    assert isinstance(found, FuncProto)
    return btf, found


@pytest.mark.parametrize(
    ("offset", "attach_type", "tracepoint", "allowed"),
    [
        (0, AttachType.TRACE_FENTRY, False, YES),
        (16, AttachType.TRACE_FENTRY, False, YES),  # the second word of the struct
        (24, AttachType.TRACE_FENTRY, False, YES),
        (32, AttachType.TRACE_FENTRY, False, NO),
        (32, AttachType.TRACE_FEXIT, False, YES),  # the result
        (40, AttachType.TRACE_FEXIT, False, NO),
        (32, AttachType.LSM_MAC, False, YES),
        (32, None, False, NO),  # struct_ops
        (4, AttachType.TRACE_FENTRY, False, NO),
        (16, AttachType.TRACE_RAW_TP, True, YES),  # a tracepoint's first parameter stays behind
        (24, AttachType.TRACE_RAW_TP, True, NO),
    ],
)
def test_no_argument_beyond_the_last(
    offset: int, attach_type: AttachType | None, tracepoint: bool, allowed: Allowed
) -> None:
    btf, proto = prototype()
    assert arguments.readable(btf, proto, offset, attach_type, tracepoint=tracepoint).allowed is allowed


def test_a_function_without_result_has_none_to_read() -> None:
    btf, proto = prototype(returns_void=True)
    ruling = arguments.readable(btf, proto, 32, AttachType.TRACE_FEXIT, tracepoint=False)
    assert ruling.allowed is NO
    assert "result" in ruling.why


def test_a_moved_context_pointer_is_for_new_kernels() -> None:
    tracing, skb = ProgramType.TRACING, ProgramType.SCHED_CLS
    assert arguments.load_shape(tracing, 0, Era(5, 10)).allowed is YES
    assert arguments.load_shape(tracing, 8, Era(5, 10)).allowed is NO
    assert arguments.load_shape(tracing, 8, Era(6, 18)).allowed is NO
    assert arguments.load_shape(tracing, 8, Era(7, 0)).allowed is UNKNOWN
    assert arguments.load_shape(tracing, 8, Era(7, 1)).allowed is YES
    assert arguments.load_shape(skb, 8, Era(7, 1)).allowed is NO


def test_a_context_that_grew_is_shorter_in_older_kernels() -> None:
    writer = BtfWriter()
    number = writer.integer("u32", 4)
    writer.struct("__sk_buff", 16, ("len", number, 0), ("mark", number, 32), ("hash", number, 96))
    btf = writer.btf()
    skb = btf.type(btf.find_all("__sk_buff", Kind.STRUCT)[0])
    assert isinstance(skb, Struct)
    for offset, allowed in ((0, YES), (5, YES), (8, NO), (12, YES), (16, NO), (-4, NO)):
        ruling = arguments.inside(ProgramType.SCHED_CLS, btf, skb, offset, None)
        assert ruling.allowed is allowed, offset


def test_the_outgoing_interface_is_for_programs_in_a_devmap() -> None:
    writer = BtfWriter()
    number = writer.integer("u32", 4)
    names = ("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex")
    writer.struct("xdp_md", 24, *((name, number, 32 * at) for at, name in enumerate(names)))
    btf = writer.btf()
    md = btf.type(btf.find_all("xdp_md", Kind.STRUCT)[0])
    assert isinstance(md, Struct)
    xdp = ProgramType.XDP
    assert arguments.inside(xdp, btf, md, 20, AttachType.XDP).allowed is NO
    assert arguments.inside(xdp, btf, md, 20, AttachType.XDP_DEVMAP).allowed is YES
    assert arguments.inside(xdp, btf, md, 16, AttachType.XDP).allowed is YES


def test_who_may_write_to_the_context() -> None:
    new = Era(6, 18, extra=(Sign.member("bpf_prog_aux", "kprobe_write_ctx"),))
    assert arguments.writable(ProgramType.TRACING, new).allowed is NO
    assert arguments.writable(ProgramType.SCHED_CLS, Era(5, 10)).allowed is YES
    assert arguments.writable(ProgramType.KPROBE, Era(6, 12)).allowed is NO
    assert arguments.writable(ProgramType.KPROBE, new).allowed is YES


@pytest.mark.parametrize(
    ("what", "era", "allowed"),
    [
        (arguments.Pointee.BYTE, Era(5, 10), YES),
        (
            arguments.Pointee.NUMBER,
            Era(5, 10),
            NO,
        ),
        (arguments.Pointee.NUMBER, Era(6, 1), YES),
        (arguments.Pointee.VOID, Era(6, 12), NO),
        (arguments.Pointee.VOID, Era(6, 16), YES),
        (arguments.Pointee.OTHER, Era(6, 18), NO),
        (arguments.Pointee.OTHER, Era(7, 0), UNKNOWN),
        (arguments.Pointee.OTHER, Era(7, 1), YES),
    ],
)
def test_pointers_to_other_things_than_structs(what: arguments.Pointee, era: Era, allowed: Allowed) -> None:
    assert arguments.pointer_readable(what, era).allowed is allowed


def test_what_an_argument_points_to() -> None:
    writer = BtfWriter()
    number, char = writer.integer("int", 4), writer.integer("char", 1)
    struct = writer.struct("s", 8)
    targets = (0, writer.const(char), number, writer.const(0), writer.ptr(struct), writer.fwd("f"), struct)
    pointers = [writer.ptr(target) for target in targets]
    btf = writer.btf()
    P = arguments.Pointee
    assert [arguments.pointee(btf, one) for one in pointers] == [
        None,
        P.BYTE,
        P.NUMBER,
        P.VOID,
        P.OTHER,
        P.OTHER,
        None,
    ]
    assert arguments.pointee(btf, number) is None
