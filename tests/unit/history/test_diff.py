# SPDX-License-Identifier: Apache-2.0
"""Two kernels compared: every section, what objects touch, what the verb prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.clang import compile_c
from tests.unit.history.fakes import TC, XDP, Kfunc, Types, kernel

from holdfast.btf.types import Kind
from holdfast.cli.kernels_diff import command
from holdfast.elf import open_object
from holdfast.errors import UsageError
from holdfast.history.change import Effect
from holdfast.history.diff import Difference, How, diff
from holdfast.history.surface import Section
from holdfast.history.touched import touched
from holdfast.kernels import KernelFacts


def surface(*, newer: bool) -> Types:
    """A kernel with one of everything; the newer one differs in each."""
    types = Types()
    void, u32, u64 = types.ids["void *"], types.ids["u32"], types.ids["u64"]
    ops = [("init", void, 0)] + ([("exit", void, 64)] if newer else [("old", void, 64)])
    data = types.struct("foo_ops", 16, *ops)
    types.struct("bpf_struct_ops_foo_ops", 32, ("data", data, 0))
    types.struct("bpf_struct_ops_map", 8, ("data", void, 0))  # not a type that can be filled
    hooks = ["same", "more", "fewer", "other", "nullable", "gone" if not newer else "came"]
    types.union("security_list_options", 8, *[(name, void, 0) for name in hooks])
    params: dict[str, list[tuple[str, int]]] = {name: [("a", u32)] for name in hooks}
    if newer:
        params["more"] = [("a", u32), ("b", u32)]
        params["fewer"] = []
        params["other"] = [("a", void)]
        params["nullable"] = [("a__nullable", u32)]
    for name, row in params.items():
        types.func(f"bpf_lsm_{name}", types.proto(types.ids["int"], *row))
    types.func("bpf_lsm_verify_prog", types.proto(types.ids["int"]))  # no hook
    traces = {"same": [u32], "more": [u32, u32] if newer else [u32], "other": [u64 if newer else u32]}
    for name, args in traces.items():
        proto = types.proto(0, ("", void), *[("", one) for one in args])
        types.typedef(f"btf_trace_{name}", types.ptr(proto))
    for name, members in {
        "task": ["meta", "task"],
        "map": ["meta", "a"] if newer else ["meta", "a", "b"],
    }.items():
        types.struct(f"bpf_iter__{name}", 8, *[(one, void, 0) for one in members])
        types.func(f"bpf_iter_{name}", types.proto(types.ids["int"]))
    types.struct("bpf_iter__half", 8, ("meta", void, 0))  # no function: nothing to attach to
    return types


def enums(*, newer: bool) -> dict[str, dict[str, int]]:
    more = {"BPF_FUNC_two": 2} if newer else {}
    link = {"BPF_LINK_TYPE_UNSPEC": 0, "BPF_LINK_TYPE_XDP": 6} | ({"BPF_LINK_TYPE_TCX": 11} if newer else {})
    return {
        "bpf_func_id": {"BPF_FUNC_unspec": 0, "BPF_FUNC_one": 1} | more | {"__BPF_FUNC_MAX_ID": 2 + newer},
        "bpf_link_type": link,
        "bpf_attach_type": {"BPF_XDP": 37} | ({"BPF_TCX_INGRESS": 46} if newer else {}),
        "bpf_prog_type": {"BPF_PROG_TYPE_XDP": 6} | ({"BPF_PROG_TYPE_NETFILTER": 32} if newer else {}),
        "bpf_map_type": {"BPF_MAP_TYPE_HASH": 1} | ({"BPF_MAP_TYPE_ARENA": 33} if newer else {}),
    }


CONFIG = {"CONFIG_NET": "y", "CONFIG_BPF_JIT": "y"}
OLD = kernel(
    "6.1.1",
    {"bpf_same": Kfunc(), "bpf_gone": Kfunc(), "bpf_moved": Kfunc([("x", "u32")], types=(TC, XDP))},
    config=CONFIG | {"CONFIG_KPROBES": "y", "CONFIG_NF_CONNTRACK": "y"},
    enums=enums(newer=False),
    types=surface(newer=False),
)
NEW = kernel(
    "6.12.1",
    {
        "bpf_same": Kfunc(),
        "bpf_came": Kfunc(module="m"),
        "bpf_moved": Kfunc([("x", "u64")], flags="RET_NULL"),
    },
    config=CONFIG
    | {
        "CONFIG_HID_BPF": "y",
        "CONFIG_BPF_UNPRIV_DEFAULT_OFF": "y",
        "CONFIG_NF_CONNTRACK": "m",
        "CONFIG_LSM": "bpf",
    },
    enums=enums(newer=True),
    types=surface(newer=True),
)


def rows(section: Section, found: Iterable[Difference]) -> set[tuple[str, How, Effect]]:
    return {(one.name, one.how, one.effect) for one in found if one.section is section}


A, R, C = How.ADDED, How.REMOVED, How.CHANGED
BREAKS, TIGHTENS, SILENT = Effect.BREAKS, Effect.TIGHTENS, Effect.SILENT
WIDENS, NEUTRAL = Effect.WIDENS, Effect.NEUTRAL


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            Section.KFUNC,
            {
                ("bpf_gone", R, BREAKS),
                ("bpf_came", A, WIDENS),
                ("bpf_moved", C, SILENT),
                ("bpf_moved", C, TIGHTENS),
                ("bpf_moved", C, BREAKS),
            },
        ),
        (Section.HELPER, {("two", A, WIDENS)}),
        (Section.LINK_TYPE, {("TCX", A, WIDENS)}),
        (Section.ATTACH_TYPE, {("TCX_INGRESS", A, WIDENS)}),
        (Section.STRUCT_OPS, {("foo_ops.exit", A, WIDENS), ("foo_ops.old", R, BREAKS)}),
        (
            Section.LSM_HOOK,
            {
                ("gone", R, BREAKS),
                ("came", A, WIDENS),
                ("more", C, SILENT),
                ("fewer", C, TIGHTENS),
                ("other", C, TIGHTENS),
                ("nullable", C, TIGHTENS),
            },
        ),
        (Section.TRACEPOINT, {("more", C, SILENT), ("other", C, TIGHTENS)}),
        (Section.ITERATOR, {("map", C, BREAKS)}),
        (
            Section.CONFIG,
            {
                ("CONFIG_KPROBES", C, TIGHTENS),
                ("CONFIG_HID_BPF", C, WIDENS),
                ("CONFIG_BPF_UNPRIV_DEFAULT_OFF", C, TIGHTENS),
                ("CONFIG_NF_CONNTRACK", C, NEUTRAL),
                ("CONFIG_LSM", C, WIDENS),
            },
        ),
    ],
)
def test_section(section: Section, expected: set[tuple[str, How, Effect]]) -> None:
    assert rows(section, diff(OLD, NEW).differences) == expected


def test_back_is_the_other_way_round() -> None:
    back = diff(NEW, OLD)
    assert ("bpf_came", R, BREAKS) in rows(Section.KFUNC, back.differences)
    assert ("bpf_gone", A, WIDENS) in rows(Section.KFUNC, back.differences)
    assert ("CONFIG_BPF_UNPRIV_DEFAULT_OFF", C, WIDENS) in rows(Section.CONFIG, back.differences)


def test_a_kernel_is_like_itself() -> None:
    found = diff(OLD, OLD)
    assert found.differences == () and found.untold == ()


def test_what_cannot_be_compared_is_said() -> None:
    bare = kernel("6.6.1", config=None)
    found = diff(OLD, bare)
    assert any("config: debian/6.6.1 does not tell" in one for one in found.untold)
    assert rows(Section.CONFIG, found.differences) == set()
    without = kernel("6.6.1", {"bpf_came": Kfunc(module="m")}, modules=False, config=CONFIG)
    assert any("1 of which one kernel does not tell" in one for one in diff(NEW, without, {}).untold) is False
    doubted = diff(NEW, without, {Section.KFUNC: frozenset({"bpf_came"})})
    assert doubted.differences == () and "1 of which" in doubted.untold[0]


def test_a_hidden_kfunc_says_by_what() -> None:
    has = kernel("6.1.1", {"hid_bpf_get_data": Kfunc()}, config={"CONFIG_HID_BPF": "y"})
    (one,) = [d for d in diff(has, kernel("6.2.1", config=CONFIG)).differences if d.section is Section.KFUNC]
    assert one.how is R and "CONFIG_HID_BPF" in one.what


def test_split_btf_shares_the_strings_of_its_base() -> None:
    """A module's tracepoint whose name vmlinux has as a string is found all the same."""
    facts = kernel("6.12.1", {"btf_trace_x": Kfunc(), "bpf_m": Kfunc(module="m")})
    assert facts.modules["m"].base is facts.vmlinux
    before = diff(kernel("6.1.1"), facts, {Section.TRACEPOINT: frozenset({"x"})})
    assert before.differences == ()  # a FUNC of that name is no tracepoint
    assert facts.vmlinux is not None and facts.vmlinux.find_all("btf_trace_x", Kind.FUNC)


# -- with objects -------------------------------------------------------------------------------------------

SOURCE = """
struct { __uint(type, 1); __type(key, __u32); __type(value, __u32); __uint(max_entries, 1); } m SEC(".maps");
extern int bpf_moved(__u32 x) __ksym;
extern int CONFIG_NET __kconfig;
SEC("tc") int prog(void *ctx) { __u32 k = CONFIG_NET; bpf_map_lookup_elem(&m, &k); return bpf_moved(1); }
SEC("lsm/more") int hook(void *ctx) { return 0; }
SEC("tp_btf/same") int trace(void *ctx) { return 0; }
SEC("fentry/bpf_same") int entry(void *ctx) { return 0; }
"""


@pytest.fixture
def obj(need_tool: Callable[[str], str], tmp_path: Path) -> Path:
    return compile_c(need_tool("clang"), SOURCE, tmp_path)


def test_what_an_object_touches(obj: Path) -> None:
    found = touched([open_object(obj)])
    assert found[Section.KFUNC] == {"bpf_moved"}
    assert found[Section.HELPER] == {"map_lookup_elem"}
    assert found[Section.MAP_TYPE] >= {"HASH"}
    assert found[Section.LSM_HOOK] == {"more"} and found[Section.TRACEPOINT] == {"same"}
    assert found[Section.FUNCTION] == {"bpf_same"} and found[Section.CONFIG] == {"CONFIG_NET"}
    assert found[Section.PROGRAM_TYPE] >= {"SCHED_CLS", "LSM"}
    only = diff(OLD, NEW, found).differences
    assert {one.name for one in only} == {"bpf_moved", "more"}


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    import holdfast.kernels.select

    def select(names: list[str], **_: object) -> list[KernelFacts]:
        return {"old": [OLD], "new": [NEW], "both": [OLD, NEW]}[names[0]]

    monkeypatch.setattr(holdfast.kernels.select, "select", select)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, arguments, standalone_mode=False)

    return run


def test_text_tells_breaks_and_keeps_additions_apart(verb: Callable[..., Result]) -> None:
    result = verb("old", "new")
    assert result.exception is None and result.return_value == 0
    text = result.stdout
    assert text.startswith("debian/6.1.1 -> debian/6.12.1: ")
    assert text.index("breaks:") < text.index("tightens:") < text.index("silent:") < text.index("added:")
    assert "- bpf_gone" in text and "bpf_came" not in text and "(--verbose lists" in text
    assert max(map(len, text.splitlines())) <= 100
    verbose = verb("old", "new", "--verbose").stdout
    assert "+ bpf_came" in verbose and "neutral:" in verbose


def test_json_is_complete(verb: Callable[..., Result]) -> None:
    document = json.loads(verb("old", "new", "--format", "json").stdout)
    assert document["schema_version"] == 1
    assert (document["before"], document["after"]) == ("debian/6.1.1", "debian/6.12.1")
    assert len(document["differences"]) == len(diff(OLD, NEW).differences)
    row = next(one for one in document["differences"] if one["name"] == "bpf_gone")
    assert (row["section"], row["how"], row["effect"]) == ("kfuncs", "removed", "breaks")
    assert "turns" not in document


def test_markdown_is_tables(verb: Callable[..., Result]) -> None:
    lines = verb("old", "new", "--format", "markdown").stdout.splitlines()
    assert lines[0] == "## debian/6.1.1 to debian/6.12.1"
    assert "| - | kfuncs | `bpf_gone` |  |" in lines
    assert "| | where | name | what |" in lines


def test_a_verdict_that_turns_sets_the_exit_status(verb: Callable[..., Result], obj: Path) -> None:
    result = verb("old", "new", str(obj), "--format", "json")
    document = json.loads(result.stdout)
    turned = {one["program"]: (one["before"], one["after"]) for one in document["turns"]}
    verdicts = {after for _, after in turned.values()}
    assert result.return_value == 4 * ("FAILS" in verdicts) + 8 * ("UNKNOWN" in verdicts)
    assert {one["name"] for one in document["differences"]} == {"bpf_moved", "more"}
    assert all(set(one) == {"object", "program", "before", "after", "reason"} for one in document["turns"])


@pytest.mark.parametrize("arguments", [("both", "new"), ("old", "old"), ("old", "new", "--libbpf", "0.8")])
def test_usage(verb: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    error = verb(*arguments).exception
    assert isinstance(error, UsageError) and error.hint
