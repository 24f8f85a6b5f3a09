# SPDX-License-Identifier: Apache-2.0
"""contract.toml: what is read, what is refused and at which line, what kernels and objects contradict."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import lacks
from tests.unit.history.fakes import TC, XDP, Kfunc, Types, kernel

from holdfast.elf import open_object
from holdfast.errors import HoldfastError
from holdfast.history import Lives
from holdfast.history.contract import Contract, ContractError, Strength, read_contract, shipped_contracts
from holdfast.history.promises import contradictions, layout_contradictions, require
from holdfast.rss.shipped import bundle_path

HEAD = """\
[contract]
name = "net/foo"
version = "1"
promised_by = "us"
source = "a mail"
strength = "binding"

"""
FOO = '[[stable]]\nkind = "kfunc"\nname = "bpf_foo"\n'


def read(tmp_path: Path, text: str) -> Contract:
    file = tmp_path / "contract.toml"
    file.write_text(text)
    return read_contract(file)


def test_all_of_it(tmp_path: Path) -> None:
    text = HEAD + FOO + 'since = "6.5"\nuntil = "7.0"\nreplaced_by = "bpf_bar"\nsource = "another"\n'
    text += 'prototypes = [\n  "int bpf_foo(u32 x)",\n]\nprogram_types = ["XDP"]\nnote = "n"\n'
    contract = read(tmp_path, text)
    (promise,) = contract.promises
    assert (contract.name, contract.version, contract.strength) == ("net/foo", "1", Strength.BINDING)
    assert (promise.line, promise.since, promise.until) == (8, (6, 5), (7, 0))
    assert promise.span == "from 6.5 until 7.0"
    assert [promise.covers(one) for one in [(6, 4), (6, 5), (6, 19), (7, 0)]] == [False, True, True, False]
    assert contract == read_contract(tmp_path)  # the folder will do


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "'contract' is missing"),
        ("[contract]\nname = 'Net Foo'\n", 2, "is no name here"),
        ("[contract]\nname = 'net'\n", 1, "'version' is missing"),
        (HEAD, 1, "promises nothing"),
        (HEAD.replace("binding", "holy") + FOO, 6, "'holy' is not known"),
        (HEAD + "colour = 1\n" + FOO, 8, "unknown key 'colour'"),
        (HEAD + FOO + FOO, 11, "stands there again, after line 8"),
        (HEAD + FOO + "\n[[stable]]\nkind = 'spoon'\nname = 'x'\n", 13, "'spoon' is not known"),
        (HEAD + FOO + "since = '6'\n", 11, "is no release"),
        (HEAD + FOO + "since = 6.5\n", 11, "a string is wanted"),
        (HEAD + FOO + "since = '6.5'\nuntil = '6.5'\n", 12, "ends before it begins"),
        (HEAD + FOO + "program_types = ['TC']\n", 11, "'TC' is no program type"),
        (HEAD + FOO + "prototypes = [1]\n", 11, "an array of strings"),
        (HEAD + FOO + "note = ' '\n", 11, "an empty string"),
        (HEAD + FOO + "size = 4\n", 11, "are for maps"),
        (HEAD + FOO.replace("kfunc", "map"), 8, "a map needs value, size and layout"),
        (HEAD + FOO.replace("kfunc", "helper") + "prototypes = ['x']\n", 11, "only a kfunc"),
        (HEAD + FOO.replace("bpf_foo", "bpf-foo"), 10, "is no name of a kfunc"),
        (HEAD + "stable = 1\n", 8, "unknown key 'stable'"),
        ("stable = 1\n" + HEAD, 1, "an array is wanted, not a number"),
        ("stable = [1]\n" + HEAD, 1, "tables are wanted, not a number"),
        (HEAD + "[other]\n", 8, "unknown key 'other'"),
        (HEAD + FOO + 'layout = ["0 1 a", "0 1 a"]\n', 11, "stands there twice"),
        (HEAD + "[[stable]\n", 8, "not TOML"),
        # a header inside a string is no header
        (HEAD + 'x = """\n[[stable]]\n"""\n' + FOO, 8, "unknown key 'x'"),
        (HEAD + FOO + 'note = """\n[[stable]]\n"""\nuntil = "x"\n', 14, "is no release"),
    ],
)
def test_refused_with_the_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    with pytest.raises(ContractError) as error:
        read(tmp_path, text)
    assert (error.value.place or "").split(",")[0] == f"line {line}"
    assert problem in error.value.problem
    assert isinstance(error.value, HoldfastError) and str(tmp_path) in error.value.message


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="No such file"):
        read_contract(tmp_path / "nowhere.toml")
    (tmp_path / "contract.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ContractError, match="line 1: not UTF-8"):
        read_contract(tmp_path)
    (tmp_path / "contract.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(ContractError):
        read_contract(tmp_path)


# -- against kernels ----------------------------------------------------------------------------------------

GOOD = Kfunc([("x", "u32")], types=(TC, XDP))


def errors(tmp_path: Path, text: str, *rows: tuple[str, Kfunc | None]) -> list[str]:
    lives = Lives(kernel(release, {"bpf_foo": row} if row else {}) for release, row in rows)
    return [error.message for error in contradictions(read(tmp_path, HEAD + FOO + text), lives)]


def test_a_kept_promise(tmp_path: Path) -> None:
    text = 'since = "6.5"\nuntil = "7.0"\nprogram_types = ["XDP"]\nprototypes = ["int bpf_foo(u32 x)"]\n'
    assert errors(tmp_path, text, ("6.1.1", None), ("6.6.1", GOOD), ("6.12.1", GOOD), ("7.0.1", None)) == []


@pytest.mark.parametrize(
    ("text", "row", "problem"),
    [
        ("", None, "does not have it"),
        ('program_types = ["XDP"]\n', Kfunc([("x", "u32")]), "does not let XDP call it"),
        ('prototypes = ["int bpf_foo(u32 x)"]\n', Kfunc([("x", "u64")]), "has `int bpf_foo(u64 x)`"),
        ("", Kfunc(), "changed its prototype: takes 0 parameters"),
    ],
)
def test_a_broken_promise_names_line_and_kernel(
    tmp_path: Path, text: str, row: Kfunc | None, problem: str
) -> None:
    (message,) = errors(tmp_path, text, ("6.6.1", GOOD), ("6.12.1", row))
    assert "line 8: kfunc bpf_foo is promised always, and debian/6.12.1" in message and problem in message
    with pytest.raises(ContractError, match="line 8"):
        lives = Lives([kernel("6.6.1", {"bpf_foo": GOOD}), kernel("6.12.1", {"bpf_foo": row} if row else {})])
        require([read(tmp_path, HEAD + FOO + text)], lives)


def test_a_silent_change_breaks_no_promise(tmp_path: Path) -> None:
    assert errors(tmp_path, "", ("6.6.1", GOOD), ("6.12.1", Kfunc([("x", "u64")]))) == []


def test_a_configuration_and_a_missing_module_break_no_promise(tmp_path: Path) -> None:
    text = HEAD + FOO.replace("bpf_foo", "bpf_ct_release")
    row = {"bpf_ct_release": Kfunc(module="nf_conntrack")}
    kernels = [
        kernel("6.6.1", row, config={"CONFIG_NF_CONNTRACK": "m"}),
        kernel("6.12.1", config={"CONFIG_NET": "y"}),
        kernel("6.18.1", row, modules=False, config={"CONFIG_NF_CONNTRACK": "m"}),
    ]
    assert list(contradictions(read(tmp_path, text), Lives(kernels))) == []
    gone = kernel("7.0.1", config={"CONFIG_NF_CONNTRACK": "m"})
    assert len(list(contradictions(read(tmp_path, text), Lives([*kernels, gone])))) == 1


def test_helpers_and_members_of_struct_ops(tmp_path: Path) -> None:
    types = Types()
    ops = types.struct("foo_ops", 8, ("init", types.ids["void *"], 0))
    types.struct("bpf_struct_ops_foo_ops", 16, ("data", ops, 0))
    facts = kernel("6.12.1", types=types, enums={"bpf_func_id": {"BPF_FUNC_one": 1}})
    rows = [("helper", "one"), ("helper", "two"), ("struct_ops", "foo_ops"), ("struct_ops", "foo_ops.init")]
    rows += [("struct_ops", "foo_ops.exit"), ("struct_ops", "bar_ops")]
    text = HEAD + "".join(f'[[stable]]\nkind = "{kind}"\nname = "{name}"\n' for kind, name in rows)
    found = [error.message for error in contradictions(read(tmp_path, text), Lives([facts]))]
    assert [word for word in ("two", "foo_ops.exit", "bar_ops") for one in found if f" {word} " in one] == [
        "two",
        "foo_ops.exit",
        "bar_ops",
    ]
    assert len(found) == 3


# -- those that ship ----------------------------------------------------------------------------------------


def test_shipped_contracts_are_read() -> None:
    contracts = {one.name: one for one in shipped_contracts()}
    assert set(contracts) >= {
        "linux/net",
        "linux/hid",
        "net/rss",
        "net/rss-tunnel",
        "net/rss-report",
        "net/rss-report-tunnel",
        "net/rss-tc",
        "net/rss-tc-tunnel",
    }
    assert contracts["linux/net"].strength is Strength.BEST_EFFORT  # kfuncs.rst guarantees nothing


@pytest.mark.parametrize(
    "name", ["rss", "rss-tunnel", "rss-report", "rss-report-tunnel", "rss-tc", "rss-tc-tunnel"]
)
def test_the_maps_of_rss_are_laid_out_as_promised(name: str) -> None:
    contract = next(one for one in shipped_contracts() if one.name == f"net/{name}")
    objects = sorted((bundle_path().parent / name).glob("*.bpf.o"))
    if not objects:
        lacks(f"the bundle net/{name} is not compiled (make setup)")
    for path in objects:
        spec = open_object(path)
        assert spec.btf is not None
        assert list(layout_contradictions(contract, spec.btf)) == []
        assert {one.name for one in contract.promises} <= {one.name for one in spec.maps}


def test_a_layout_that_moved_is_told(tmp_path: Path) -> None:
    row = 'kind = "map"\nname = "m"\nvalue = "struct sock"\nsize = 8\nlayout = [\n  "0 8 a",\n]\n'
    contract = read(tmp_path, f"{HEAD}[[stable]]\n{row}")
    kept, moved = Types(), Types()
    moved.ids.clear()
    btf = kernel("6.1.1", types=kept).vmlinux
    assert btf is not None and list(layout_contradictions(contract, btf)) == []
    other = read(tmp_path, f"{HEAD}[[stable]]\n{row}".replace("0 8 a", "0 4 a"))
    (error,) = layout_contradictions(other, btf)
    assert error.place == "line 8" and "there is member `0 8 a`" in error.problem
    absent = read(tmp_path, f"{HEAD}[[stable]]\n{row}".replace("struct sock", "struct nothing"))
    (error,) = layout_contradictions(absent, btf)
    assert "has no struct nothing" in error.problem
