# SPDX-License-Identifier: Apache-2.0
"""Program types, attach types, sleepable, instructions and iterators against the running kernel."""

from __future__ import annotations

import os
import struct

import pytest
from tests import liverules

from holdfast import sys as kernel
from holdfast.insn.features import InsnFeature
from holdfast.rules import instructions, iterators, program_types
from holdfast.rules.ask import Allowed
from holdfast.terms import AttachType, ProgramType

pytestmark = [pytest.mark.oracle, pytest.mark.live, pytest.mark.usefixtures("live")]

EXIT = bytes.fromhex("9500000000000000")
LOADABLE = [kind for kind in ProgramType if kind and not program_types.rule(kind).target]


def load(kind: ProgramType, insns: bytes, attach: int = 0, *, sleepable: bool = False) -> tuple[bool, str]:
    result = kernel.prog_load(
        kind,
        insns,
        expected_attach_type=attach,
        flags=int(kernel.ProgFlag.SLEEPABLE) if sleepable else 0,
        log_level=1,
        kern_version=liverules.version_code(),
    )
    if result.fd is not None:
        result.fd.close()
    return result.fd is not None, result.log


def returning(value: int) -> bytes:
    return struct.pack("=BBhi", 0xB7, 0, 0, value) + EXIT


@pytest.mark.parametrize("kind", LOADABLE, ids=lambda kind: kind.name)
def test_types_attach_types_and_sleepable(kind: ProgramType) -> None:
    ask = liverules.ask()
    present = program_types.compiled_in(kind, ask).allowed
    assert present is not Allowed.UNKNOWN
    wrong = []
    for attach in AttachType:
        # At load the kernel looks at the number only, so a number beyond its own enumeration may pass, too.
        if program_types.rule(kind).attach_types is None:
            continue
        for sleepable in (False, True):
            rulings = (
                program_types.attach_type_accepted(kind, attach if attach else None, ask),
                program_types.sleepable_accepted(kind, attach, sleepable, ask),
            )
            expected = present is Allowed.YES and all(ruling.allowed is Allowed.YES for ruling in rulings)
            span = program_types.return_range(kind, attach, ask) or (0, 0)
            found, log = load(kind, returning(span[1]), attach, sleepable=sleepable)
            if found != expected:
                wrong.append(f"{attach.name} {sleepable=}: kernel {found} {log[-120:]}, {rulings}")
    for sleepable in (False, True):
        ruling = program_types.sleepable_accepted(kind, None, sleepable, ask)
        default = program_types.attach_type_accepted(kind, None, ask)
        expected = present is default.allowed is ruling.allowed is Allowed.YES
        found, log = load(kind, returning(0), sleepable=sleepable)
        if found != expected:
            wrong.append(f"no attach type {sleepable=}: kernel {found} {log[-120:]}, {ruling}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", LOADABLE, ids=lambda kind: kind.name)
def test_return_ranges(kind: ProgramType) -> None:
    ask = liverules.ask()
    if program_types.compiled_in(kind, ask).allowed is Allowed.NO:
        assert not load(kind, returning(0))[0]
        return
    row = program_types.rule(kind)
    tried = 0
    for attach in row.attach_types or (None,):
        if program_types.attach_type_accepted(kind, attach, ask).allowed is not Allowed.YES:
            continue
        span = program_types.return_range(kind, attach, ask)
        for value in (-1, 0, 1, 2, 3, 4):
            expected = span is None or span[0] <= value <= span[1]
            found, log = load(kind, returning(value), attach or 0, sleepable=kind is ProgramType.SYSCALL)
            assert found == expected, f"{attach} returns {value}: {log[-200:]}"
            tried += 1
    assert tried


# feature -> a whole program that has nothing but it
PROGRAMS = {
    InsnFeature.ATOMIC_FETCH: "7a0af8ff00000000 b701000001000000 db1af8ff01000000",
    InsnFeature.ATOMIC_XCHG: "7a0af8ff00000000 b701000001000000 db1af8ffe1000000",
    InsnFeature.LDSX: "7a0af8ff00000000 91a1f8ff00000000",
    InsnFeature.MOVSX: "b702000001000000 bf21080000000000",
    InsnFeature.BSWAP: "b701000001000000 d701000010000000",
    InsnFeature.SDIV_SMOD: "b701000008000000 3701010002000000",
    InsnFeature.GOTOL: "0600000000000000",
    InsnFeature.MAY_GOTO: "e500000000000000",
    InsnFeature.LOAD_ACQUIRE: "7a0af8ff00000000 dba1f8ff00010000",
    InsnFeature.STORE_RELEASE: "b701000001000000 db1af8ff10010000",
}


@pytest.mark.parametrize("feature", PROGRAMS, ids=lambda feature: feature.name)
def test_instructions(feature: InsnFeature) -> None:
    ruling = instructions.accepted(feature, liverules.ask(), arch=os.uname().machine, jit=True)
    insns = bytes.fromhex(PROGRAMS[feature].replace("7a0a", "7a0a")) + returning(0)
    found, log = load(ProgramType.SOCKET_FILTER, insns)
    assert (ruling.allowed is Allowed.YES) == found, (ruling, log)


def test_iterators_of_the_running_kernel_are_known() -> None:
    ask = liverules.ask()
    assert ask.vmlinux is not None
    contexts = {
        name.removeprefix("bpf_iter__")
        for name in (ask.vmlinux.name(type_id) for type_id in ask.vmlinux.own_ids())
        if name.startswith("bpf_iter__") and not name.endswith("__safe_trusted")
    }
    assert contexts
    assert contexts <= iterators.ITERATORS
    for name in iterators.ITERATORS:
        assert (iterators.exists(name, ask).allowed is Allowed.YES) == (name in contexts), name
