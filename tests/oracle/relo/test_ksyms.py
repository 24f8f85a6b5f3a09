# SPDX-License-Identifier: Apache-2.0
"""Every extern of ``.ksyms`` of real objects against libbpf's own look-up, on the running kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import corpus
from tests.oracle.relo.libbpflog import libbpf_or_skip, relocate, weaken_externs

from holdfast.btf import Btf
from holdfast.btf.types import Datasec, Kind
from holdfast.relo import KsymKind, Target, resolve_ksym

pytestmark = [pytest.mark.oracle, pytest.mark.corpus, pytest.mark.live]

SYSFS = Path("/sys/kernel/btf")
FUNC = re.compile(r"extern \(func ksym\) '(.*)': resolved to (.*) \[(\d+)\]$")
VAR = re.compile(r"extern \(var ksym\) '(.*)': resolved to \[(\d+)\] ")
UNTYPED = re.compile(r"extern \(ksym\) '(.*)': set to 0x([0-9a-f]+)$")
ABSENT = re.compile(r"extern '(.*)' \(weak\): not resolved, defaulting to zero$")


def theirs(log: list[str]) -> dict[str, tuple[str | None, int]]:
    """By name: where it was found (None: nowhere), and its id or address."""
    result: dict[str, tuple[str | None, int]] = {}
    for line in log:
        if found := FUNC.match(line):
            result[found[1]] = found[2], int(found[3])
        elif found := VAR.match(line):
            result[found[1]] = "vmlinux", int(found[2])
        elif found := UNTYPED.match(line):
            result[found[1]] = "kallsyms", int(found[2], 16)
        elif found := ABSENT.match(line):
            result[found[1]] = None, 0
    return result


def test_all_ksyms_equal() -> None:
    lib = libbpf_or_skip()
    vmlinux = Btf.from_bytes((SYSFS / "vmlinux").read_bytes(), origin="vmlinux")
    modules = {
        path.name: Btf.from_bytes(path.read_bytes(), base=vmlinux, origin=path.name)
        for path in sorted(SYSFS.iterdir())
        if path.name != "vmlinux"
    }
    target = Target(vmlinux, modules)
    addresses: dict[str, list[int]] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, _, name = line.split()[:3]
        addresses.setdefault(name, []).append(int(address, 16))
    found = absent = 0
    for path in corpus.objects():
        data = corpus.btf_sections(path).get(".BTF")
        if data is None:
            continue
        local = Btf.from_bytes(data, origin=path.name)
        section = local.find(".ksyms", Kind.DATASEC)
        if section is None:
            continue
        externs = local.type(section)
        assert isinstance(externs, Datasec)
        said = theirs(relocate(lib, weaken_externs(path.read_bytes())).log)
        for extern in externs.variables:
            result = resolve_ksym(
                local, extern.type_id, weak=True, target=target, kallsyms=lambda name: addresses.get(name, ())
            )
            if result.kind is KsymKind.UNTYPED:
                # An ambiguous name makes libbpf give up; what it said before that proves nothing.
                assert result.error or (said[result.name][0] is not None) == result.found, (path.name, result)
            else:
                where = (result.where, result.type_id) if result.found else (None, 0)
                assert said[result.name] == where, (path.name, result)
            found += result.found is True
            absent += result.found is False
    print(f"{found + absent} externs equal: {found} found, {absent} absent")
    assert found + absent > 20
