# SPDX-License-Identifier: Apache-2.0
"""Printed instructions against ``bpftool prog dump xlated`` of every real object that loads here."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.insn import Instruction, decode
from holdfast.insn.text import listing

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.live,
    pytest.mark.corpus,
    pytest.mark.slow,
]

BPFFS = Path("/sys/fs/bpf")
LINE = re.compile(r"^\s*(\d+): (\([0-9a-f]{2}\) .*|BUG_\S+)$")
ANNOTATED = re.compile(r"map\[(?:id|idx):|subprog\[|btf_id|0x")


@pytest.fixture
def pins() -> Iterator[Path]:
    folder = BPFFS / f"holdfast-test-{os.getpid()}"
    yield folder
    if folder.exists():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def newer_than_tool(insn: Instruction) -> bool:
    """bpftool 7.1 (of 6.1) has no words for these, or prints them as what they looked like in its time.

    Goes away when the oldest distribution that we test on ships bpftool 7.4.
    """
    op, _, _, off, _ = insn
    return (
        (op in (0xBF, 0xBC) and off != 0)
        or op in (0xD7, 0x06, 0xE5, 0xC2, 0x0D)
        or (op & 0x07 == 1 and op & 0xE0 == 0x80)
        or (op & 0xF0 in (0x30, 0x90) and op & 0x07 in (4, 7) and off == 1)
        or (op & 0xE7 == 0xC3 and insn.imm in (0x100, 0x110))
    )


def equal(insn: Instruction, ours: str, theirs: str) -> bool:
    if insn.opcode == 0x85:  # names are from kallsyms; the number after # is the instruction's
        if insn.src == 1:  # once compiled, off is the distance and imm the number of the subprogram
            distance = insn.off or insn.imm
            return theirs.startswith(f"(85) call pc{distance:+d}#") and ours == f"(85) call pc{insn.imm:+d}"
        return theirs.rpartition("#")[2] == ours.rpartition("#")[2] and theirs.startswith("(85) call ")
    if insn.opcode == 0x18:
        left, right = ours.partition(" = "), theirs.partition(" = ")
        if insn.src == 0:
            return ours == theirs
        return left[0] == right[0] and ANNOTATED.match(right[2]) is not None
    return ours == theirs


def test_real_programs_print_as_bpftool_prints_them(
    pins: Path, corpus: list[Path], need_tool: Callable[[str], str]
) -> None:
    tool = need_tool("bpftool")

    def bpftool(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)

    compared = programs = refused = newer = 0
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch, "xlated")
        for path in corpus:
            if bpftool("prog", "loadall", str(path), str(pins)).returncode != 0:
                refused += 1
                continue
            for pin in sorted(pins.iterdir()):
                dump = bpftool("prog", "dump", "xlated", "pinned", str(pin))
                to_file = bpftool("prog", "dump", "xlated", "pinned", str(pin), "file", str(raw))
                pin.unlink()
                assert dump.returncode == to_file.returncode == 0, dump.stderr + to_file.stderr
                insns = decode(raw.read_bytes())
                theirs = {int(m[1]): m[2] for m in map(LINE.match, dump.stdout.splitlines()) if m}
                programs += 1
                for slot, ours in listing(insns):
                    if newer_than_tool(insns[slot]):
                        newer += 1
                        continue
                    compared += 1
                    line = theirs.get(slot, "nothing")
                    if not equal(insns[slot], ours, line):
                        wrong.append(f"{path.name} {pin.name} {slot}: bpftool {line!r}, here {ours!r}")
            pins.rmdir()
    print(
        f"{compared} instructions of {programs} programs compared with bpftool's text "
        f"({newer} too new for it; {refused} objects do not load here)"
    )
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:20])
    assert programs > 0
    assert newer < compared // 20
