# SPDX-License-Identifier: Apache-2.0
"""The BTF reader against ``bpftool btf dump``: all types of the running kernel and of every object equal."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests import corpus

from holdfast.btf import Btf
from holdfast.btf.types import (
    Array,
    BtfType,
    Composite,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Modifier,
    Var,
)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed"),
]

VMLINUX = Path("/sys/kernel/btf/vmlinux")
ENCODING = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}
LINKAGE = ("static", "global", "extern")


def named(name: str) -> str:
    return name or "(anon)"


def as_bpftool(type_id: int, found: BtfType) -> dict[str, Any]:
    """The JSON object that bpftool prints for this type."""
    row: dict[str, Any] = {"id": type_id, "kind": found.kind.name, "name": named(found.name)}
    match found:
        case Int():
            row |= {"size": found.size, "bits_offset": found.bit_offset, "nr_bits": found.bits}
            row |= {"encoding": ENCODING[found.encoding]}
        case Modifier():
            row |= {"type_id": found.type_id}
        case Array():
            row |= {"type_id": found.type_id, "index_type_id": found.index_type_id, "nr_elems": found.nelems}
        case Composite():
            members = [
                {"name": named(m.name), "type_id": m.type_id, "bits_offset": m.bit_offset}
                | ({"bitfield_size": m.bitfield_size} if m.bitfield_size else {})
                for m in found.members
            ]
            row |= {"size": found.size, "vlen": len(members), "members": members}
        case Enum():
            values = [{"name": named(v.name), "val": v.value} for v in found.values]
            row |= {"encoding": "SIGNED" if found.signed else "UNSIGNED", "size": found.size}
            row |= {"vlen": len(values), "values": values}
        case Fwd():
            row |= {"fwd_kind": "union" if found.is_union else "struct"}
        case Func():
            row |= {"type_id": found.type_id, "linkage": LINKAGE[found.linkage]}
        case FuncProto():
            params = [{"name": named(p.name), "type_id": p.type_id} for p in found.params]
            row |= {"ret_type_id": found.return_type_id, "vlen": len(params), "params": params}
        case Var():
            row |= {"type_id": found.type_id, "linkage": LINKAGE[found.linkage]}
        case Datasec():
            rows = [{"type_id": v.type_id, "offset": v.offset, "size": v.size} for v in found.variables]
            row |= {"size": found.size, "vlen": len(rows), "vars": rows}
        case Float():
            row |= {"size": found.size}
        case DeclTag():
            row |= {"type_id": found.type_id, "component_idx": found.component}
    return row


def dump(path: Path) -> list[dict[str, Any]]:
    command = ["bpftool", "--json", "btf", "dump", "file", str(path)]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    types: list[dict[str, Any]] = json.loads(output)["types"]
    for row in types:
        for member in row.get("members", ()):  # kind_flag makes bpftool print a size of 0 too
            if not member.get("bitfield_size", 1):
                del member["bitfield_size"]
        if row["kind"] == "ENUM" and row["encoding"] == "UNSIGNED":
            for value in row["values"]:  # bpftool 7.1 extends the sign in JSON, not in text
                value["val"] &= 0xFFFFFFFF
    return types


def test_running_kernel() -> None:
    if not VMLINUX.exists():
        pytest.skip("the running kernel shows no BTF")
    theirs = dump(VMLINUX)
    ours = Btf.from_bytes(VMLINUX.read_bytes(), origin="vmlinux")
    count = 0
    for row, (type_id, found) in zip(theirs, ours, strict=True):
        assert as_bpftool(type_id, found) == row
        count += 1
    print(f"{count} types of the running kernel equal")
    assert count > 10_000


@pytest.mark.corpus
def test_objects() -> None:
    count = files = 0
    for path in corpus.objects():
        data = corpus.btf_sections(path).get(".BTF")
        if data is None:
            continue
        ours = Btf.from_bytes(data, origin=path.name)
        for row, (type_id, found) in zip(dump(path), ours, strict=True):
            assert as_bpftool(type_id, found) == row, path.name
            count += 1
        files += 1
    print(f"{count} types of {files} objects equal")
    assert count > 1_000
