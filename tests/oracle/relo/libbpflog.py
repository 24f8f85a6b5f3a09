# SPDX-License-Identifier: Apache-2.0
"""Let libbpf relocate an object and read what it did from its debug log.

``bpf_object__prepare()`` (libbpf 1.6) relocates before it makes anything in the kernel; no map is created
here (autocreate is off for all), no program is loaded.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.errors import LibbpfError
from holdfast.insn import INSN_SIZE, Instruction, decode
from holdfast.libbpf import Level, Library, Messages, library
from holdfast.libbpf.prototypes import OpenOpts
from holdfast.terms import ProgramType

__all__ = ["Said", "Session", "libbpf_or_skip", "relocate", "weaken_externs"]

_SECTION = re.compile(r"sec '(.*)': found \d+ CO-RE relocations$")
_RELO = re.compile(r"prog '(.*?)': relo #(\d+): (.*)$")
_MATCHING = re.compile(r"matching candidate #\d+ (.*)$")
_PATCHED = re.compile(r"patched insn #(\d+) \((.*)\) (?:imm|off|imm64) (\d+) -> (\d+)$")
_MEM_SIZE = re.compile(r"patched insn #\d+ \(LDX/ST/STX\) mem_sz (\d+) -> (\d+)$")
_POISONED = re.compile(r"substituting insn #(\d+) w/ invalid insn$")
_FAILED = re.compile(r"failed to (?:relocate|patch insn #\d+): (.*)$")


@dataclass
class Said:
    """What libbpf said about one relocation."""

    program: str
    spec: str = ""
    matching: list[str] = field(default_factory=list)
    patched: tuple[int, int] | None = None  # the number before and after, unsigned 64 bit
    mem_size: tuple[int, int] | None = None  # bytes
    poisoned: list[int] = field(default_factory=list)  # instruction numbers in the program
    failed: str | None = None


@dataclass
class Session:
    """One run: ``said`` by (section, number of the relocation in it); ``log`` is everything."""

    said: dict[tuple[str, int], Said]
    log: list[str]
    insns: dict[str, tuple[Instruction, ...]]


def libbpf_or_skip() -> Library:
    """The bundled libbpf; skips (fails where CI=true) without it, without root, or where it cannot
    prepare.
    """
    try:
        found = library()
        found.require((1, 6), "bpf_object__prepare()")
    except LibbpfError as error:
        problem = str(error)
    else:
        if os.geteuid() == 0:
            return found
        problem = "libbpf asks the kernel before it relocates: root is needed"
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)


def weaken_externs(data: bytes) -> bytes:
    """The object with all undefined symbols weak, so that libbpf goes on to CO-RE whatever the kernel
    lacks.
    """
    result = bytearray(data)
    order = "<" if data[5] == 1 else ">"
    section_table, entry_size, count = (
        struct.unpack_from(order + "Q", data, 0x28)[0],
        *struct.unpack_from(order + "HH", data, 0x3A),
    )
    for at in range(section_table, section_table + entry_size * count, entry_size):
        if struct.unpack_from(order + "I", data, at + 4)[0] != 2:  # SHT_SYMTAB
            continue
        offset, size = struct.unpack_from(order + "QQ", data, at + 0x18)
        for symbol in range(offset + 24, offset + size, 24):
            info, shndx = data[symbol + 4], struct.unpack_from(order + "H", data, symbol + 6)[0]
            if shndx == 0 and info >> 4 == 1:  # undefined and STB_GLOBAL
                result[symbol + 4] = 2 << 4 | info & 0x0F
    return bytes(result)


def relocate(lib: Library, data: bytes, *, btf: Path | None = None) -> Session:
    """Relocate all programs against the running kernel, or against the BTF file ``btf`` (and no module
    then).
    """
    messages = Messages(most=Level.DEBUG)
    options = OpenOpts(sz=ctypes.sizeof(OpenOpts), object_name=b"test")
    if btf:
        options.btf_custom_path = str(btf).encode()
    set_type = ctypes.CDLL(lib.path).bpf_program__set_type
    set_type.argtypes = (ctypes.c_void_p, ctypes.c_int)
    insns: dict[str, tuple[Instruction, ...]] = {}
    with lib.listening(messages):
        handle = lib.call("bpf_object__open_mem", data, len(data), ctypes.byref(options))
        if handle:
            try:
                program = lib.call("bpf_object__next_program", handle, None)
                while program:
                    if lib.call("bpf_program__type", program) == ProgramType.STRUCT_OPS:
                        # libbpf takes these out when no map that uses them is made; CO-RE ignores the type
                        set_type(program, ProgramType.SOCKET_FILTER)
                    lib.call("bpf_program__set_autoload", program, True)
                    program = lib.call("bpf_object__next_program", handle, program)
                a_map = lib.call("bpf_object__next_map", handle, None)
                while a_map:
                    lib.call("bpf_map__set_autocreate", a_map, False)
                    a_map = lib.call("bpf_object__next_map", handle, a_map)
                lib.call("bpf_object__prepare", handle)
                program = lib.call("bpf_object__next_program", handle, None)
                while program:
                    name = lib.call("bpf_program__name", program).decode()
                    size = lib.call("bpf_program__insn_cnt", program) * INSN_SIZE
                    insns[name] = decode(ctypes.string_at(lib.call("bpf_program__insns", program), size))
                    program = lib.call("bpf_object__next_program", handle, program)
            finally:
                lib.call("bpf_object__close", handle)
    log = [message.text for message in messages.kept]
    return Session(_read(log), log, insns)


def _read(log: list[str]) -> dict[tuple[str, int], Said]:
    said: dict[tuple[str, int], Said] = {}
    section = None
    for line in log:
        if found := _SECTION.match(line):
            section = found[1]
        elif " poisoning insn #" in line:
            continue  # an unresolved call or map, after all CO-RE relocations
        elif section is not None and (found := _RELO.match(line)):
            one = said.setdefault((section, int(found[2])), Said(found[1]))
            if not _tell(one, found[3]):
                return said
    return said


def _tell(one: Said, text: str) -> bool:
    """Take in one line; False when the relocations are over."""
    if found := _MATCHING.match(text):
        one.matching.append(found[1])
    elif found := _MEM_SIZE.match(text):
        one.mem_size = int(found[1]), int(found[2])
    elif found := _PATCHED.match(text):
        one.patched = int(found[3]), int(found[4])
    elif found := _POISONED.match(text):
        one.poisoned.append(int(found[1]))
    elif found := _FAILED.match(text):
        one.failed = found[1]
        return False
    elif text.startswith("<") and not one.spec:
        one.spec = text
    return True
