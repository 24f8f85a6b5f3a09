# SPDX-License-Identifier: Apache-2.0
"""Random programs against random kernels: our relocation and libbpf's must agree in every number and error.

libbpf takes any BTF file for the kernel's (``btf_custom_path``), so both relocate the same object against the
same file. libbpf stops at the first error; so does the comparison.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bpfelf import SECTION, bpf_elf
from tests.btfwriter import core_ext
from tests.oracle.relo.compare import as_said
from tests.oracle.relo.libbpflog import Library, Session, libbpf_or_skip, relocate
from tests.oracle.relo.world import World, random_access, random_types, random_version, write

from holdfast.btf import Btf
from holdfast.btf.ext import BtfExt, CoreReloKind
from holdfast.insn import Instruction, encode
from holdfast.insn.instruction import EXIT, JA, LD_IMM64
from holdfast.relo import Relocator, Spec, Target
from holdfast.relo.failure import Refused
from holdfast.relo.value import value_of

pytestmark = [pytest.mark.oracle, pytest.mark.live, pytest.mark.slow]

MOV_K, MOV32_K, MOV_X = 0xB7, 0xB4, 0xBF
LOADS = (0x61, 0x69, 0x71, 0x79, 0x62, 0x7A, 0x63, 0x7B)  # LDX, ST and STX of several sizes
SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
ZERO = Instruction(0, 0, 0, 0, 0)
FIELD = [kind for kind in CoreReloKind if kind <= CoreReloKind.FIELD_RSHIFT_U64]
ENUM = [CoreReloKind.ENUMVAL_EXISTS, CoreReloKind.ENUMVAL_VALUE]
TYPE = [kind for kind in CoreReloKind if kind not in FIELD and kind not in ENUM]


def random_relo(random: Random, world: World) -> tuple[int, str, int]:
    at = random.randrange(len(world.trees))
    tree, type_id = world.trees[at], world.ids[at]
    roll = random.random()
    if roll < 0.25:
        return type_id, "0" if random.random() < 0.98 else "0:0", random.choice(TYPE)
    while tree[0] in ("typedef", "const", "tag"):
        tree = tree[-1]
    kinds = ENUM if tree[0] == "enum" else FIELD
    if roll > 0.99:
        kinds = [*CoreReloKind, 13]
    if roll > 0.985:
        type_id = random.randrange(1, world.writer.next_id)
    return type_id, random_access(random, world.trees[at]), random.choice(kinds)


def load_size(spec: Spec | None) -> int:
    """Bytes that a compiler would load for an access, 0 when it has none."""
    try:
        return value_of(spec).size if spec else 0
    except Refused:
        return 0


def random_insn(random: Random, kind: int, value: int, size: int) -> list[Instruction]:
    """An instruction that holds ``value``, as a compiler would have chosen it for the kind, or nearly so."""
    roll = random.random()
    if random.random() < 0.02:
        value += 1
    low = (value & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    if kind in ENUM or kind in TYPE or roll < 0.1:
        if roll < 0.8:
            upper = (value >> 32 & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
            return [Instruction(LD_IMM64, 1, 0, 0, low), ZERO._replace(imm=upper)]
        return [Instruction(MOV_K, 1, 0, 0, low)]
    if kind == CoreReloKind.FIELD_BYTE_OFFSET and roll < 0.75:
        fitting = [opcode for opcode in LOADS if SIZES[opcode & 0x18] == size]
        opcode = random.choice(fitting if fitting and random.random() < 0.9 else LOADS)
        return [Instruction(opcode, 1, 2, (value & 0xFFFF ^ 1 << 15) - (1 << 15), 0)]
    if roll > 0.99:
        return [random.choice((Instruction(MOV_X, 1, 2, 0, low), Instruction(JA, 0, 0, 0, 0)))]
    return [Instruction(random.choice((MOV_K, MOV32_K)), 1, 0, 0, low)]


class Case:
    """A program with relocations, and a kernel."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        types = random_types(random)
        world = write(types, packed=random.choice((1, 4, 8)))
        kernel = write(random_version(random, types), packed=random.choice((1, 4, 8)))
        if random.random() < 0.3:
            kernel.writer.integer("long unsigned int", random.choice((4, 8)), 0)  # pointers of 32 bits too
        rows = [random_relo(random, world) for _ in range(random.randint(1, 8))]
        self.kernel = kernel.writer.raw()
        target = Target(Btf.from_bytes(self.kernel, origin="kernel"))
        # The numbers that a compiler would have put there: those of a first, blind run.
        ext = BtfExt.from_bytes(
            core_ext(world.writer, {SECTION: [(0, *row) for row in rows]}), world.writer.btf(), "x"
        )
        blind = Relocator(world.writer.btf(), target)
        self.insns: list[Instruction] = []
        placed = []
        for row, relo in zip(rows, ext.core_relos[SECTION], strict=True):
            placed.append((8 * len(self.insns), *row))
            first = blind.resolve(relo, Instruction(MOV_K, 0, 0, 0, 0))
            self.insns += random_insn(random, row[2], first.orig_value, load_size(first.local))
        self.insns += [Instruction(MOV_K, 0, 0, 0, 0), Instruction(EXIT, 0, 0, 0, 0)]
        self.ext = core_ext(world.writer, {SECTION: placed})
        self.btf = world.writer.raw()
        self.target = target

    def libbpf(self, lib: Library, folder: Path) -> Session:
        file = folder / "kernel.btf"
        file.write_bytes(self.kernel)
        return relocate(lib, bpf_elf(encode(tuple(self.insns)), self.btf, self.ext), btf=file)


counts = {"relocations": 0, "errors": 0, "poisoned": 0, "ambiguous": 0, "resized": 0}


SETTINGS = settings(max_examples=600, deadline=None, derandomize=True)


@SETTINGS
@given(seed=st.integers(0, 2**64 - 1))
def check(lib: Library, folder: Path, seed: int) -> None:
    case = Case(seed)
    session = case.libbpf(lib, folder)
    local = Btf.from_bytes(case.btf, origin="object")
    relocator = Relocator(local, case.target)
    for number, relo in enumerate(BtfExt.from_bytes(case.ext, local, "object").core_relos[SECTION]):
        at = relo.insn_off // 8
        following = case.insns[at + 1]
        result = relocator.resolve(relo, case.insns[at], following)
        said = session.said.get((SECTION, number))
        assert said, (relo, result, session.log[-8:])
        expected = as_said(result, case.insns[at], following, at, "prog")
        counts["relocations"] += 1
        if result.error:
            # libbpf has told of the candidates before the one it failed at
            assert (expected.spec, expected.failed) == (said.spec, said.failed), session.log[-8:]
            counts["errors"] += 1
            counts["ambiguous"] += "ambiguity" in result.error.message
            if "ambiguity" in result.error.message:
                assert any(result.error.message in line for line in session.log)
            return
        assert expected == said, session.log
        counts["poisoned"] += result.poison
        counts["resized"] += expected.mem_size is not None
    held = session.insns["prog"]
    assert len(held) == len(case.insns)


def test_random_programs_and_kernels(tmp_path: Path) -> None:
    lib = libbpf_or_skip()
    check(lib, tmp_path)
    print(counts)
    assert min(counts.values()) > 0, "the generator no longer reaches every outcome"
