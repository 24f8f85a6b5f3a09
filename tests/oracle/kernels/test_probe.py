# SPDX-License-Identifier: Apache-2.0
"""Probes against bpftool's for types, and against the tables read from kernel sources for helpers.

bpftool's own list of helpers is no oracle: it knows the refusals of some releases by their wording, and takes
any other wording for a yes.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable

import pytest
from tests import liverules

from holdfast.kernels import KernelFacts, live
from holdfast.kernels import probe as probing
from holdfast.kernels.cache import Cache
from holdfast.kernels.probe.contexts import contexts
from holdfast.rules import helpers
from holdfast.rules.ask import Allowed
from holdfast.terms import AttachType, MapType, ProgramType

pytestmark = [pytest.mark.oracle, pytest.mark.live]

# bpftool says no where it may not ask: it loads these for functions that lockdown keeps from it.
NOT_ASKED = {ProgramType.TRACING, ProgramType.LSM, ProgramType.EXT, ProgramType.STRUCT_OPS}


@pytest.fixture(scope="module")
def kernel() -> KernelFacts:
    return live.facts(cache=Cache(None))


def test_types_are_those_that_bpftool_finds(kernel: KernelFacts, need_tool: Callable[[str], str]) -> None:
    command = [need_tool("bpftool"), "--json", "feature", "probe", "kernel"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    asked = probing.probe(probing.all_types(), kernel.vmlinux)
    ours: dict[str, bool | None] = {}
    ours |= {
        f"have_{t.name.lower()}_prog_type": v for t, v in asked.program_types.items() if t not in NOT_ASKED
    }
    ours |= {f"have_{t.name.lower()}_map_type": v for t, v in asked.map_types.items()}
    theirs = found["program_types"] | found["map_types"]
    common = ours.keys() & theirs.keys()
    print(f"{len(common)} types compared")
    assert len(common) > 50
    assert {name: ours[name] for name in common} == {name: theirs[name] for name in common}


def test_helpers_are_those_that_the_sources_allow(kernel: KernelFacts) -> None:
    numbers = [one for one in (kernel.enumerators("bpf_func_id") or {}).values() if kernel.helper_name(one)]
    asked = probing.probe(probing.every_helper(n for n in numbers if n), kernel.vmlinux)
    ask = liverules.ask()
    counts: Counter[str] = Counter()
    wrong = []
    # Lockdown takes this one away; where its level cannot be read, the table gives the benefit of the doubt.
    hidden = {"probe_write_user"} if kernel.host is None or kernel.host.lockdown is None else set()
    for use, value in asked.helpers.items():
        if value is None or use.program_type in NOT_ASKED or kernel.helper_name(use.number) in hidden:
            continue
        rulings = {
            helpers.callable_from(
                use.number,
                use.program_type,
                AttachType(one.attach_type) if one.attach_type else None,
                one.sleepable,
                ask,
            ).allowed
            for one in contexts(use.program_type)
        }
        if Allowed.YES in rulings:
            table = True
        elif Allowed.UNKNOWN in rulings:
            counts["open in the table"] += 1
            continue
        else:
            table = False
        counts["compared"] += 1
        if table is not value:
            wrong.append((kernel.helper_name(use.number), use.program_type.name, value))
    print(dict(counts))
    assert counts["compared"] > 4000
    assert wrong == []


def test_signs_in_btf_agree_with_the_probe(kernel: KernelFacts) -> None:
    asked = probing.probe(probing.all_types(), kernel.vmlinux)
    untold = KernelFacts("x", "", "", "test", kernel.vmlinux)
    kinds: list[ProgramType | MapType] = [*asked.program_types, *asked.map_types]
    compared = 0
    for kind in kinds:
        if isinstance(kind, ProgramType):
            sign, probed = untold.program_type(kind), asked.program_types[kind]
        else:
            sign, probed = untold.map_type(kind), asked.map_types[kind]
        if sign.value is not None and probed is not None:
            compared += 1
            assert sign.value is probed, (kind, sign)
    assert compared > 50
