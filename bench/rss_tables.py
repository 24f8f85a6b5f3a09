# SPDX-License-Identifier: Apache-2.0
"""Hashing by tables where the bundle has masks, and the floors: compiled when measured.

bench/rss_table.bpf.c and bench/rss_floor.bpf.c are their sources.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from holdfast import load
from holdfast.errors import HoldfastError
from holdfast.rss import RssConfig
from holdfast.rss.toeplitz import INPUT_BYTES, KEY_BYTES, pack_rows

__all__ = ["FLOORS", "TABLES", "Table", "compile_table", "floor", "open_table"]

TABLES: Final = {"4": "nibble 4.6 KB", "7": "6+7 bit 7.9 KB", "8": "byte 36 KB"}
"""By bits (7: three numbers of 6 and two of 7 for each word, entries of 16 bits): what they are called, and
how large one key's table is.
"""
FLOORS: Final = {"floor-cast": "floor, cast", "floor-helpers": "floor, helpers"}
"""Programs that load the same header bytes and add them up, in the ways of two variants: name and title."""
_ROOT: Final = Path(__file__).resolve().parent.parent


class Table:
    """A loaded program; the object is owned by the stack that it was opened with."""

    def __init__(self, loaded: load.Object, bits: str) -> None:
        self.program = loaded.program("steer")
        self._settings = loaded.map(".bss")
        self._bits = bits

    def configure(self, config: RssConfig) -> None:
        """Writes all settings; no packet may run meanwhile."""
        if self._bits == "1":
            self._settings.update(0, config.pack_slot())
            return
        head = struct.pack("=IIII", config.types, len(config.table) - 1, config.unclassified, 0)
        queues = struct.pack("=512H", *config.table, *(0,) * (512 - len(config.table)))
        self._settings.update(0, head + queues + _rows(config.key, self._bits))


def compile_table(macros: Sequence[str], name: str) -> Path:
    """Compiles the program into build/bench. Raises :class:`~holdfast.errors.HoldfastError`."""
    return _compile("rss_table", macros, name)


def _compile(program: str, macros: Sequence[str], name: str) -> Path:
    clang = os.environ.get("HOLDFAST_CLANG") or shutil.which("clang")
    if clang is None:
        raise HoldfastError("there is no clang", hint="install it, or set HOLDFAST_CLANG")
    folder = _ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{program}_{name}.o"
    command = [
        clang, "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v2",
        *(f"-D{macro}" for macro in macros), f"-I{_ROOT / 'bundles/net/rss'}",
        "-c", str(_ROOT / f"bench/{program}.bpf.c"), "-o", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HoldfastError(f"bench/{program}.bpf.c does not compile: {done.stderr.strip()}")
    return out


def open_table(stack: ExitStack, path: Path, bits: str) -> Table:
    """Loads what :func:`compile_table` made with ``BITS=bits``."""
    return Table(stack.enter_context(load.open_object(path)), bits)


def floor(stack: ExitStack, name: str) -> load.Program:
    """Loads one of :data:`FLOORS`; what it returns is no queue. Raises
    :class:`~holdfast.errors.HoldfastError`, also where the kernel is too old for it.
    """
    macros = ["HELPERS"] if name == "floor-helpers" else []
    return stack.enter_context(load.open_object(_compile("rss_floor", macros, name))).program("steer")


def _rows(key: bytes, bits: str) -> bytes:
    if bits == "4":
        return pack_rows(key)
    whole = int.from_bytes(key[:KEY_BYTES], "big")
    windows = [whole >> (8 * INPUT_BYTES - at) & 0xFFFFFFFF for at in range(8 * INPUT_BYTES)]
    if bits == "8":
        rows = [_row(windows[at : at + 8][::-1]) for at in range(0, 8 * INPUT_BYTES, 8)]
        return b"".join(struct.pack("=256I", *row) for row in rows)
    # A word's bits from the lowest on, as it stands in memory.
    order = [at ^ 7 if sys.byteorder == "little" else 31 - at for at in range(32)]
    values = []
    for word in range(0, 8 * INPUT_BYTES, 32):
        bit = 0
        for width in (6, 6, 6, 7, 7):
            values += _row([windows[word + at] & 0xFFFF for at in order[bit : bit + width]])
            bit += width
    return struct.pack(f"={len(values)}H", *values)


def _row(windows: list[int]) -> list[int]:
    # By value: the XOR of the windows of its bits; windows[0] is that of the lowest bit.
    row = [0]
    for window in windows:
        row += [value ^ window for value in row]
    return row
