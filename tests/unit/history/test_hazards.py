# SPDX-License-Identifier: Apache-2.0
"""Findings of a program: what its kernel's history does not carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clang import compile_c
from tests.unit.history.fakes import TC, XDP, Kfunc, Types, kernel

from holdfast.btf import Btf
from holdfast.elf import open_object
from holdfast.elf.spec import ObjectSpec
from holdfast.history import Lives
from holdfast.history.contract import read_contract
from holdfast.history.hazards import Finding, FindingCode, Hazards, hazards
from holdfast.history.known import KNOWN
from holdfast.kernels import KernelFacts
from holdfast.needs.collect import needs_of_object

OLD = [kernel(f"{one}.1", {"bpf_foo": Kfunc([("x", "u32")])}) for one in ("6.1", "6.6", "6.12", "6.18")]
TIGHT = kernel("7.3.1", {"bpf_foo": Kfunc([("x", "u32")], flags="PERFMON")})
GONE = kernel("7.3.1")

CALL = """
{opts}
extern int {name}(__u32 x) __ksym {weak};
SEC("tc") int prog(void *ctx) {{ {guard} return {name}(1); }}
"""


@pytest.fixture
def program(need_tool: Callable[[str], str], tmp_path: Path) -> Callable[..., ObjectSpec]:
    def build(name: str = "bpf_foo", guard: bool = False, opts: str = "") -> ObjectSpec:
        text = CALL.format(
            name=name,
            weak="__weak" if guard else "",
            guard=f"if (!bpf_ksym_exists({name})) return 0;" if guard else "",
            opts=opts,
        )
        return open_object(compile_c(need_tool("clang"), text, tmp_path))

    return build


def findings(spec: ObjectSpec, facts: KernelFacts, lives: Lives, local: Btf | None = None) -> list[Finding]:
    (one,) = needs_of_object(spec).programs
    return hazards(one, facts, lives, local=local)


def codes(found: list[Finding]) -> list[FindingCode]:
    return [one.code for one in found]


def test_a_settled_kfunc_is_no_hazard(program: Callable[..., ObjectSpec]) -> None:
    assert findings(program(), OLD[0], Lives(OLD)) == []


def test_what_newer_kernels_ask_more(program: Callable[..., ObjectSpec]) -> None:
    lives = Lives([*OLD, TIGHT])
    found = findings(program(), OLD[0], lives)
    assert codes(found) == [FindingCode.GRADE, FindingCode.TIGHTENED]
    assert "moving" in found[0].message and "7.3 gained KF_PERFMON" in found[1].message
    assert all(one.need == "kfunc bpf_foo" and one.hint for one in found)
    assert codes(findings(program(), TIGHT, lives)) == [FindingCode.GRADE]  # nothing is ahead of the newest


def test_what_concerns_other_program_types_is_not_told(program: Callable[..., ObjectSpec]) -> None:
    both = {"bpf_foo": Kfunc([("x", "u32")], types=(TC, XDP))}
    old = [kernel(f"{one}.1", both) for one in ("6.1", "6.6", "6.12", "6.18")]
    for types, expected in ((TC,), []), ((XDP,), [FindingCode.TIGHTENED]):
        newest = kernel("7.3.1", {"bpf_foo": Kfunc([("x", "u32")], types=types)})
        found = findings(program(), old[0], Lives([*old, newest]))
        assert codes(found)[1:] == expected


def test_gone_ahead_and_a_guard(program: Callable[..., ObjectSpec]) -> None:
    lives = Lives([*OLD, GONE])
    (found,) = findings(program(), OLD[0], lives)
    assert found.code is FindingCode.GRADE and "deprecated: gone in 7.3" in found.message
    assert findings(program(guard=True), OLD[0], lives) == []
    assert findings(program(), GONE, lives) == []  # the verdict says that it is missing


def test_a_kernel_outside_the_catalogue(program: Callable[..., ObjectSpec]) -> None:
    mine = kernel("6.8.0-31-generic", {"bpf_foo": Kfunc([("x", "u32")])}, source="file")
    assert codes(findings(program(), mine, Lives([*OLD, TIGHT]))) == [
        FindingCode.GRADE,
        FindingCode.TIGHTENED,
    ]
    (found,) = findings(program(), mine, Lives([*OLD, GONE]))
    assert "deprecated" in found.message


def test_contracts(program: Callable[..., ObjectSpec], tmp_path: Path) -> None:
    file = tmp_path / "contract.toml"
    head = '[contract]\nname = "x"\nversion = "1"\npromised_by = "us"\nsource = "s"\nstrength = "{}"\n'
    stable = '[[stable]]\nkind = "kfunc"\nname = "bpf_foo"\nuntil = "7.4"\nreplaced_by = "bpf_bar"\n'
    (needs,) = needs_of_object(program()).programs
    lives = Lives([*OLD, TIGHT])

    file.write_text(head.format("binding") + stable)
    found = Hazards(lives, [read_contract(file)]).of(needs, OLD[0])
    assert codes(found) == [FindingCode.CONTRACT, FindingCode.TIGHTENED]  # the promise silences the grade
    assert found[0].hint == "move to bpf_bar" and "line 7" in found[0].message

    file.write_text(head.format("best effort") + stable)
    found = Hazards(lives, [read_contract(file)]).of(needs, OLD[0])
    assert codes(found) == [FindingCode.CONTRACT, FindingCode.GRADE, FindingCode.TIGHTENED]

    file.write_text(head.format("binding") + '[[stable]]\nkind = "kfunc"\nname = "bpf_foo"\nsince = "7.0"\n')
    found = Hazards(lives, [read_contract(file)]).of(needs, OLD[0])
    assert codes(found) == [FindingCode.CONTRACT, FindingCode.GRADE, FindingCode.TIGHTENED]
    assert "promised from 7.0 on, not for 6.1" in found[0].message


def test_btf_that_shows_implicit_parameters(program: Callable[..., ObjectSpec]) -> None:
    row = Kfunc([("x", "u32"), ("aux", "struct bpf_prog_aux *")], flags="IMPLICIT_ARGS")
    facts = kernel("7.2.12", {"bpf_foo": row})
    assert FindingCode.BTF_BROKEN in codes(findings(program(), facts, Lives([facts])))


def test_known_wrong_in_a_range(program: Callable[..., ObjectSpec]) -> None:
    spec = program("scx_bpf_dsq_peek")
    kernels = [
        kernel(f"{one}.1", {"scx_bpf_dsq_peek": Kfunc([("x", "u32")])}) for one in ("6.19", "7.0", "7.1")
    ]
    wrong = [FindingCode.KNOWN_WRONG in codes(findings(spec, one, Lives(kernels))) for one in kernels]
    assert wrong == [True, True, False]


def test_options_of_conntrack_that_the_kernel_does_not_know(program: Callable[..., ObjectSpec]) -> None:
    sizes = {12: "int a[3];", 16: "int a[4];"}
    opts = "struct bpf_ct_opts {{ {} }}; struct bpf_ct_opts opts;"
    facts = kernel("6.1.1", {"bpf_skb_ct_lookup": Kfunc([("x", "u32")])}, types=Types())
    for size, members in sizes.items():
        spec = program("bpf_skb_ct_lookup", opts=opts.format(members))
        found = findings(spec, facts, Lives([facts]), spec.btf)
        assert (FindingCode.KNOWN_WRONG in codes(found)) is (size == 16)


def test_every_row_has_a_source_and_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "history.md").read_text()
    for row in KNOWN:
        assert row.source and row.hint and (row.sign or any(row.since))
        assert all(f"`{name}`" in text for name in row.names)
    for code in FindingCode:
        assert f"### {code.value}" in text
