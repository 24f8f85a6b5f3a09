# SPDX-License-Identifier: Apache-2.0
"""Every CO-RE relocation of real objects against libbpf's own, on the running kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests import corpus
from tests.oracle.relo.compare import as_said
from tests.oracle.relo.libbpflog import libbpf_or_skip, relocate, weaken_externs

from holdfast.btf import Btf
from holdfast.btf.ext import BtfExt
from holdfast.insn import INSN_SIZE, decode
from holdfast.relo import Relocator, Target

pytestmark = [pytest.mark.oracle, pytest.mark.corpus, pytest.mark.live]

VMLINUX = Path("/sys/kernel/btf/vmlinux")


@pytest.fixture(scope="module")
def kernel() -> Target:
    folder = VMLINUX.parent
    vmlinux = Btf.from_bytes(VMLINUX.read_bytes(), origin="vmlinux")
    modules = {
        path.name: Btf.from_bytes(path.read_bytes(), base=vmlinux, origin=path.name)
        for path in sorted(folder.iterdir())
        if path.name != "vmlinux"
    }
    return Target(vmlinux, modules)


def functions(path: Path) -> dict[str, dict[int, str]]:
    """By section: (offset in bytes -> name) of its functions."""
    result: dict[str, dict[int, str]] = {}
    with path.open("rb") as file:
        elf = ELFFile(file)
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC" and isinstance(symbol["st_shndx"], int):
                section = elf.get_section(symbol["st_shndx"]).name
                result.setdefault(section, {})[symbol["st_value"]] = symbol.name
    return result


def test_all_relocations_equal(kernel: Target) -> None:
    lib = libbpf_or_skip()
    equal = patched = poisoned = objects = slots = 0
    for path in corpus.objects():
        sections = corpus.btf_sections(path)
        if ".BTF" not in sections or ".BTF.ext" not in sections:
            continue
        local = Btf.from_bytes(sections[".BTF"], origin=path.name)
        ext = BtfExt.from_bytes(sections[".BTF.ext"], local, path.name)
        if not ext.core_relos:
            continue
        session = relocate(lib, weaken_externs(path.read_bytes()))
        names = functions(path)
        relocator = Relocator(local, kernel)
        for section, relos in ext.core_relos.items():
            insns = decode(sections[section])
            for number, relo in enumerate(relos):
                slot = relo.insn_off // INSN_SIZE
                start = max(offset for offset in names[section] if offset <= relo.insn_off)
                at = slot - start // INSN_SIZE
                following = insns[slot + 1] if slot + 1 < len(insns) else None
                result = relocator.resolve(relo, insns[slot], following)
                where = (path.name, section, number)
                said = session.said.get((section, number))
                assert said, (where, session.log[-5:])
                program = names[section][start]
                assert as_said(result, insns[slot], following, at, program) == said, where
                assert not result.error
                held = session.insns.get(program)
                if held:  # a subprogram's instructions are not shown on their own
                    assert held[at : at + len(result.patched)] == result.patched, where
                    slots += len(result.patched)
                equal += 1
                patched += not result.poison
                poisoned += result.poison
        assert len(session.said) == sum(map(len, ext.core_relos.values()))
        objects += 1
    print(
        f"{equal} relocations of {objects} objects equal: {patched} patched, {poisoned} poisoned; "
        f"{slots} instruction slots equal"
    )
    assert equal > 100
    assert patched and poisoned
