# SPDX-License-Identifier: Apache-2.0
"""``holdfast kfunc``: one life, a list, and names that nobody has."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from tests.unit.history.fakes import TC, XDP, Kfunc, kernel

import holdfast.kernels.select
from holdfast.cli.kfunc import command
from holdfast.errors import UsageError
from holdfast.kernels import KernelFacts

SLICE = Kfunc([("p", "const struct bpf_dynptr *"), ("offset", "u32")], returns="void *", types=(TC, XDP))
WIDE = Kfunc([("p", "const struct bpf_dynptr *"), ("offset", "u64")], returns="void *", types=(TC, XDP))
CT = Kfunc([("x", "u32")], returns="void", flags="RELEASE", types=(XDP,), module="nf_conntrack")
HAS, LACKS = {"CONFIG_NF_CONNTRACK": "m"}, {"CONFIG_NET": "y"}
KERNELS = [
    kernel(
        "6.1.0-50-amd64", {"bpf_ct_release": CT}, config=HAS, enums={"bpf_func_id": {"BPF_FUNC_redirect": 23}}
    ),
    kernel("6.12.107-amd64", {"bpf_ct_release": CT, "bpf_dynptr_slice": SLICE}, config=HAS),
    kernel("6.12.107-cloud-amd64", {"bpf_dynptr_slice": SLICE}, config=LACKS),
    kernel("6.17.1-amd64", {"bpf_ct_release": CT, "bpf_dynptr_slice": SLICE}, config=HAS),
    kernel("6.18.15-amd64", {"bpf_ct_release": CT, "bpf_dynptr_slice": SLICE}, config=HAS),
    kernel("7.0.13-amd64", {"bpf_ct_release": CT, "bpf_dynptr_slice": WIDE}, config=HAS),
]


@pytest.fixture
def kfunc(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def select(names: tuple[str, ...], **_: object) -> list[KernelFacts]:
        return KERNELS if names == ("all",) else [one for one in KERNELS if one.id in names]

    monkeypatch.setattr(holdfast.kernels.select, "select", select)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, arguments, standalone_mode=False)

    return run


def test_one_life(kfunc: Callable[..., Result]) -> None:
    result = kfunc("bpf_dynptr_slice")
    assert result.exception is None and result.return_value == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "bpf_dynptr_slice"
    assert lines[1].startswith("  grade      settled: no hard change in 4 series, 2 of them longterm")
    assert lines[2] == "  where                   6.1  6.12 6.17 6.18 7.0"
    assert lines[3] == "             amd64        .    #    #    #    #"
    assert lines[4] == "             cloud-amd64       #"
    assert "  prototype  6.12-6.18  void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset)" in lines
    assert "             7.0        void *bpf_dynptr_slice(const struct bpf_dynptr *p, u64 offset)" in lines
    assert "  callable   6.12-7.0   SCHED_CLS XDP" in lines
    assert any(line.startswith("  changes    7.0        silent: parameter offset") for line in lines)
    assert any(line.startswith("  contract   linux/net: best effort, from 6.4 on") for line in lines)
    assert lines[-1] == "  evidence   btf btf_ids init_code"
    assert max(map(len, lines)) <= 100


def test_modules_and_configuration(kfunc: Callable[..., Result]) -> None:
    text = kfunc("bpf_ct_release").stdout
    assert "amd64        m    m    m    m    m" in text
    assert "cloud-amd64       -" in text
    assert "module     nf_conntrack must be loaded" in text
    assert "config     CONFIG_NF_CONNTRACK (net/netfilter/Makefile); 1 of these kernels are built" in text


def test_json_of_one(kfunc: Callable[..., Result]) -> None:
    document = json.loads(kfunc("bpf_ct_release", "--format", "json").stdout)
    assert document["schema_version"] == 1 and len(document["kernels"]) == len(KERNELS)
    (row,) = document["kfuncs"]
    assert (row["name"], row["grade"], row["first"], row["last"]) == (
        "bpf_ct_release",
        "settled",
        "6.1",
        "7.0",
    )
    assert row["config"] == {"option": "CONFIG_NF_CONNTRACK", "source": "net/netfilter/Makefile"}
    assert [one["presence"] for one in row["kernels"]].count("absent") == 1
    absent = next(one for one in row["kernels"] if one["presence"] == "absent")
    assert absent["hidden_by"] == "CONFIG_NF_CONNTRACK"
    assert row["kernels"][0]["flags"] == ["RELEASE"] and row["kernels"][0]["module"] == "nf_conntrack"
    assert row["kernels"][0]["program_types"] == ["XDP"] and row["changes"] == []
    assert row["contracts"][0]["contract"] == "linux/net"


def test_json_of_a_glob_is_short(kfunc: Callable[..., Result]) -> None:
    document = json.loads(kfunc("bpf_*", "--format", "json").stdout)
    assert [row["name"] for row in document["kfuncs"]] == ["bpf_ct_release", "bpf_dynptr_slice"]
    assert "kernels" not in document["kfuncs"][0]


def test_a_glob_lists_one_line_each(kfunc: Callable[..., Result]) -> None:
    lines = kfunc("bpf_*").stdout.splitlines()
    assert lines[1].split() == ["settled", "6.1", "7.0", "bpf_ct_release", "XDP", "[module", "nf_conntrack]"]
    assert lines[2].split()[:4] == ["settled", "6.12", "7.0", "bpf_dynptr_slice"]
    assert lines[-1] == "2 kfuncs in 6 kernels"


def test_selected_kernels_alone(kfunc: Callable[..., Result]) -> None:
    text = kfunc("bpf_dynptr_slice", "--kernel", KERNELS[1].id, "--kernel", KERNELS[5].id).stdout
    assert "6.12 7.0" in text and "6.17" not in text
    assert "grade      unknown: the kernels here are too few to tell" in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bpf_dynptr_slic", "did you mean bpf_dynptr_slice"),
        ("bpf_redirect", "it is a helper"),
        ("scx_bpf_consume", "it became scx_bpf_dsq_move_to_local in 6.13"),
        ("hid_bpf_foo", "it hangs on CONFIG_HID_BPF"),
        ("zzz", "holdfast kfunc '*'"),
        ("zzz*", "holdfast kfunc '*'"),
    ],
)
def test_unknown_names(kfunc: Callable[..., Result], name: str, hint: str) -> None:
    error = kfunc(name).exception
    assert isinstance(error, UsageError) and error.exit_status == 2
    assert hint in (error.hint or "") and "the 6 kernels here have no kfunc" in error.message
