# SPDX-License-Identifier: Apache-2.0
"""Guards as clang compiles them: the code behind each is live exactly when what it asks for is there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from holdfast.btf import Btf
from holdfast.btf.ext import BtfExt, CoreReloKind
from holdfast.insn import INSN_SIZE, Instruction, decode
from holdfast.insn.live import Immediate, MapAddress, Token, live_slots

pytestmark = pytest.mark.oracle

SOURCE = Path(__file__).with_name("guards.bpf.c")
# By what they lead to, so that plain clang and clang-14 are not the same one twice.
FOUND = {
    str(Path(path).resolve()): name
    for name in ("clang", "clang-14", "clang-19")
    if (path := shutil.which(name))
}
COMPILERS = sorted(FOUND.values()) or ["clang"]
GUARDS = (
    "plain",
    "variable",
    "saved",
    "spilled",
    "state",
    "loop",
    "field",
    "field_and_ksym",
    "version",
    "config",
    "rodata",
    "rodata_switch",
)
R_BPF_64_64 = 1

HAS = {"LINUX_KERNEL_VERSION": 0x60C00, "CONFIG_THING": 1, "enabled": 1, "mode": 2}
LACKS = {"LINUX_KERNEL_VERSION": 0x50A00, "CONFIG_THING": 0, "enabled": 0, "mode": 3}


@pytest.fixture(scope="module", params=[(c, level) for c in COMPILERS for level in (1, 2, 3, 4)], ids=str)
def compiled(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    need_tool: Callable[[str], str],
) -> Path:
    name, level = request.param
    compiler = need_tool(name)
    target = tmp_path_factory.mktemp("guards") / "guards.o"
    command = [
        compiler,
        "-target",
        "bpf",
        f"-mcpu=v{level}",
        "-g",
        "-O2",
        "-c",
        str(SOURCE),
        "-o",
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and level == 4:
        pytest.skip(f"{name} knows no -mcpu=v4")
    assert done.returncode == 0, done.stderr
    return target


def section(path: Path, name: str, present: bool) -> tuple[tuple[Instruction, ...], dict[int, Immediate]]:
    """The section's instructions and what a kernel that has (or lacks) everything puts into them."""
    known: dict[int, Immediate] = {}
    with path.open("rb") as file:
        elf = ELFFile(file)
        name = f"guard/{name}"
        found = elf.get_section_by_name(name)
        insns = list(decode(found.data()))
        symbols = elf.get_section_by_name(".symtab")
        relocations = elf.get_section_by_name(f".rel{name}")
        for relocation in relocations.iter_relocations() if relocations else ():
            slot = relocation["r_offset"] // INSN_SIZE
            symbol = symbols.get_symbol(relocation["r_info_sym"])
            if relocation["r_info_type"] != R_BPF_64_64:
                insns[slot] = insns[slot]._replace(src=2)  # call of the kfunc
            elif symbol.name in HAS:
                known[slot] = MapAddress(symbol.name, 0)
            else:
                known[slot] = Token.NON_ZERO if present else 0
        btf = Btf.from_bytes(elf.get_section_by_name(".BTF").data(), origin="guards")
        ext = BtfExt.from_bytes(elf.get_section_by_name(".BTF.ext").data(), btf, "guards")
        for relo in ext.core_relos.get(name, ()):
            assert relo.kind is CoreReloKind.FIELD_EXISTS
            known[relo.insn_off // INSN_SIZE] = int(present)
    return tuple(insns), known


@pytest.mark.parametrize("present", [True, False], ids=["present", "absent"])
@pytest.mark.parametrize("guard", GUARDS)
def test_guard_decides(compiled: Path, guard: str, present: bool) -> None:
    insns, known = section(compiled, guard, present)
    values = HAS if present else LACKS
    assert known
    live = live_slots(
        insns, known, read=lambda name, offset, size: values[str(name)] if offset == 0 else None
    )
    calls = {insn.imm for slot, insn in enumerate(insns) if insn.is_helper_call and slot in live}
    written = {insn.imm for insn in insns if insn.is_helper_call}
    assert {1001, 1002} <= written
    assert (1001 in calls, 1002 in calls) == (present, not present)
    assert 1000 in calls or 1000 not in written
    kfuncs = [slot for slot, insn in enumerate(insns) if insn.is_kfunc_call]
    assert all((slot in live) is present for slot in kfuncs)
    both = live_slots(insns, dict.fromkeys(known, Token.UNKNOWN))
    assert both == set(range(len(insns)))
