# SPDX-License-Identifier: Apache-2.0
"""Programs and the subprograms that they reach, laid out as libbpf does; oracle tests compare real ones."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter
from tests.elfwriter import CALL_LOCAL, LOCAL, NOBITS, RETURN_0, SECTION, WEAK, ElfWriter, insn

from holdfast.elf import ObjectSpec, object_from_bytes
from holdfast.elf.spec import ReferenceKind
from holdfast.errors import ObjectFileError

LDDW = insn(0x18) + insn(0)
EXIT = insn(0x95)
ORDERS = pytest.mark.parametrize("byteorder", ["little", "big"])


def read(elf: ElfWriter) -> ObjectSpec:
    return object_from_bytes(elf.bytes(), "x.o")


def local_call(imm: int = -1, byteorder: str = "little") -> bytes:
    return insn(0x85, 0, 1, 0, imm, byteorder)


def calling(elf: ElfWriter, name: str, section: str, *callees: int) -> int:
    """A program that calls functions by the numbers of their symbols."""
    number = elf.program(name, section, local_call(-1, elf.byteorder) * len(callees) + EXIT)
    start = len(elf.sections[number - 1].data) - 8 * (len(callees) + 1)
    for at, callee in enumerate(callees):
        elf.relocation(number, start + 8 * at, callee, 10)
    return number


@ORDERS
def test_subprograms_follow_in_the_order_of_the_first_call(byteorder: str) -> None:
    """Depth first: what a callee calls comes before the caller's next callee."""
    elf = ElfWriter(byteorder)
    elf.program("leaf", ".text", RETURN_0)
    calling(elf, "middle", ".text", 1)
    elf.program("other", ".text", RETURN_0)
    calling(elf, "main", "socket", 2, 3, 1)
    (program,) = read(elf).programs
    assert [part.name for part in program.parts] == ["main", "middle", "leaf", "other"]
    starts = {part.name: part.start for part in program.parts}
    assert starts == {"main": 0, "middle": 4, "leaf": 6, "other": 8}
    calls = [(r.slot, r.name) for r in program.references if r.kind is ReferenceKind.SUBPROG_CALL]
    assert calls == [(0, "middle"), (1, "other"), (2, "leaf"), (4, "leaf")]
    for slot, name in calls:
        assert slot + program.insns[slot].imm + 1 == starts[name]


def test_programs_share_subprograms_and_have_their_own_copy() -> None:
    elf = ElfWriter()
    elf.program("shared", ".text", RETURN_0)
    calling(elf, "first", "socket", 1)
    calling(elf, "second", "?xdp", 1)
    spec = read(elf)
    assert [(p.name, p.section, p.autoload) for p in spec.programs] == [
        ("first", "socket", True),
        ("second", "xdp", False),
    ]
    assert all([part.name for part in p.parts] == [p.name, "shared"] for p in spec.programs)


def test_static_callee_is_named_by_its_section() -> None:
    """A relocation against STT_SECTION, and the instruction counts from there."""
    elf = ElfWriter()
    elf.program("zero", ".text", RETURN_0, bind=LOCAL)
    elf.program("one", ".text", RETURN_0, bind=LOCAL)
    text = elf.symbol("", 1, bind=LOCAL, kind=SECTION)
    number = elf.program("main", "socket", local_call(1) + EXIT)
    elf.relocation(number, 0, text, 10)
    (program,) = read(elf).programs
    assert [part.name for part in program.parts] == ["main", "one"]


def test_call_inside_text_needs_no_relocation() -> None:
    elf = ElfWriter()
    elf.program("leaf", ".text", RETURN_0, bind=LOCAL)
    elf.program("middle", ".text", local_call(-3) + EXIT, bind=LOCAL)
    calling(elf, "main", "socket", 2)
    (program,) = read(elf).programs
    assert [part.name for part in program.parts] == ["main", "middle", "leaf"]


def test_functions_that_call_each_other_come_once() -> None:
    elf = ElfWriter()
    calling(elf, "even", ".text", 2)
    calling(elf, "odd", ".text", 1)
    calling(elf, "main", "socket", 1)
    (program,) = read(elf).programs
    assert [part.name for part in program.parts] == ["main", "even", "odd"]


def test_two_static_functions_of_one_name() -> None:
    """``bpftool gen object`` puts several files' statics into one .text."""
    elf = ElfWriter()
    for number in (1, 2):
        elf.program("same", ".text", insn(0xB7, imm=number) + EXIT, bind=LOCAL)
    calling(elf, "main", "socket", 1, 2)
    (program,) = read(elf).programs
    assert [(part.name, part.start) for part in program.parts] == [("main", 0), ("same", 3), ("same", 5)]
    assert [i.imm for i in program.insns if i.opcode == 0xB7] == [1, 2]


def test_hidden_functions_count_as_static() -> None:
    elf = ElfWriter()
    elf.program("hidden", ".text", RETURN_0, visibility=2)
    elf.program("weak", ".text", RETURN_0, bind=WEAK)
    calling(elf, "main", "socket", 1, 2)
    (program,) = read(elf).programs
    assert {part.name: part.is_global for part in program.parts} == {
        "main": True,
        "hidden": False,
        "weak": True,
    }


def test_static_program_is_refused_in_libbpfs_words() -> None:
    """The object is, so every program of it is to get that verdict: none may be lost."""
    elf = ElfWriter()
    elf.program("prog", "socket", bind=LOCAL)
    elf.program("other", "xdp")
    spec = read(elf)
    assert [p.name for p in spec.programs] == ["prog", "other"]
    (problem,) = spec.problems
    assert problem.message == "sec 'socket': program 'prog' is static and not supported"
    assert problem.hint == "make the program global"


def test_only_text_means_no_programs() -> None:
    elf = ElfWriter()
    elf.program("sub", ".text")
    assert read(elf).programs == ()


def test_unknown_section_has_no_type() -> None:
    elf = ElfWriter()
    elf.program("prog", "mine/x")
    (program,) = read(elf).programs
    assert program.type.name == "UNSPEC"
    assert program.definition is None


def test_call_into_nothing_stops_only_that_program() -> None:
    """libbpf links when it loads, and only programs that it loads."""
    elf = ElfWriter()
    elf.program("leaf", ".text", RETURN_0, bind=LOCAL)
    text = elf.symbol("", 1, bind=LOCAL, kind=SECTION)
    number = elf.program("bad", "socket", local_call(700) + EXIT)
    elf.relocation(number, 0, text, 10)
    elf.program("good", "xdp")
    spec = read(elf)
    assert spec.problems == ()
    assert [p.link_problem for p in spec.programs] == [
        "prog 'bad': no .text section found yet sub-program call exists",
        None,
    ]


@pytest.mark.parametrize(
    ("code", "target", "words"),
    [
        (LDDW + EXIT, "mine", "prog 'bad': bad map relo against 'x' in section 'mine'"),
        (insn(0xB7) + EXIT, "mine", "prog 'bad': invalid relo against 'x' for insns[0].code 0xb7"),
        (CALL_LOCAL + EXIT, "mine", "prog 'bad': bad call relo against 'x' in section 'mine'"),
        (insn(0x85, imm=3) + EXIT, "mine", "prog 'bad': incorrect bpf_call opcode"),
        (LDDW + EXIT, "common", "points to invalid section #65522"),
    ],
)
def test_bad_relocation_refuses_the_object(code: bytes, target: str, words: str) -> None:
    """``bpf_object__collect_relos()`` runs at open, over subprograms that nothing calls as well."""
    elf = ElfWriter()
    section = elf.section("mine", b"12345678")
    symbol = elf.symbol("x", section if target == "mine" else 0xFFF2)
    elf.program("good", "socket")
    number = elf.program("bad", ".text", code)
    elf.relocation(number, 0, symbol)
    spec = read(elf)
    assert [p.rule for p in spec.problems] == ["bpf_program__record_reloc"]
    assert words in spec.problems[0].message
    assert spec.program("good") is not None


def test_relocation_outside_functions_is_nobodys() -> None:
    """What a strong definition has overridden stays in the section without a symbol."""
    elf = ElfWriter()
    section = elf.section("mine", b"12345678")
    symbol = elf.symbol("x", section)
    number = elf.program("good", "socket")
    elf.sections[number - 1].data += LDDW + EXIT
    elf.relocation(number, 16, symbol)
    spec = read(elf)
    assert spec.problems == ()
    assert spec.programs[0].references == ()


def test_references_to_data_and_its_offset() -> None:
    elf = ElfWriter()
    data = elf.section(".data", bytes(32), flags=3)
    bss = elf.section(".bss", kind=NOBITS, size=64)
    x = elf.symbol("x", data, 8, 4)
    section = elf.symbol("", bss, bind=LOCAL, kind=SECTION)
    number = elf.program("prog", "socket", LDDW + insn(0x18, imm=12) + insn(0) + EXIT)
    elf.relocation(number, 0, x)
    elf.relocation(number, 16, section)
    (program,) = read(elf).programs
    found = [(r.slot, r.kind, r.name, r.offset) for r in program.references]
    assert found == [
        (0, ReferenceKind.MAP_VALUE, "x.data", 8),
        (2, ReferenceKind.MAP_VALUE, "x.bss", 12),
    ]


def test_too_many_copies_are_refused() -> None:
    """Each program holds its own copy of a large .text: their sum is bounded."""
    elf = ElfWriter()
    elf.program("large", ".text", insn(0xB7) * 400_000 + EXIT)
    for number in range(60):
        calling(elf, f"p{number}", "socket", 1)
    with pytest.raises(ObjectFileError, match="instructions together"):
        read(elf)


def test_one_program_of_more_than_two_million() -> None:
    elf = ElfWriter()
    for name in ("large", "larger"):
        elf.program(name, ".text", insn(0xB7) * 1_100_000 + EXIT)
    calling(elf, "both", "socket", 1, 2)
    with pytest.raises(ObjectFileError, match="program 'both': more than 2000000 instructions"):
        read(elf)


def exception_object(names: tuple[str, ...], *, hidden: bool = False) -> ObjectSpec:
    btf = BtfWriter()
    integer = btf.integer()
    func = btf.func("main", btf.proto(integer, ("ctx", integer)))
    for name in names:
        btf.decl_tag(f"exception_callback:{name}", func)
    elf = ElfWriter()
    elf.program("handler", ".text", visibility=2 if hidden else 0)
    elf.program("main", "tc")
    elf.program("plain", "tc")
    elf.section(".BTF", btf.raw(), flags=0)
    return read(elf)


def test_exception_callback_is_appended() -> None:
    main, plain = exception_object(("handler",)).programs
    assert [part.name for part in main.parts] == ["main", "handler"]
    assert [part.name for part in plain.parts] == ["plain"]


@pytest.mark.parametrize(
    ("names", "hidden", "problem"),
    [
        (("nobody",), False, "prog 'main': cannot find exception callback 'nobody'"),
        (("handler",), True, "prog 'main': exception callback handler must be a global non-hidden function"),
        (("handler", "handler"), False, None),
    ],
)
def test_exception_callbacks_that_are_not(names: tuple[str, ...], hidden: bool, problem: str | None) -> None:
    main, _ = exception_object(names, hidden=hidden).programs
    assert main.link_problem == problem
    assert [part.name for part in main.parts] == ["main"]
