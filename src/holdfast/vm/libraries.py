# SPDX-License-Identifier: Apache-2.0
"""Which shared libraries a program of this machine opens: DT_NEEDED read recursively, nothing executed.

The search is the dynamic linker's (ld.so(8)): DT_RPATH or DT_RUNPATH, its cache, the usual folders.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DynamicFile", "cached_libraries", "read_dynamic", "stripped", "with_libraries"]

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_DYN = struct.Struct("<qQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_USUAL = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEADER = 48
_CACHE_ENTRY = struct.Struct("<iIIIQ")
_X86_64 = 0x0303  # FLAG_X8664_LIB64 | FLAG_ELF_LIBC6 of glibc's sysdeps/generic/ldconfig.h


@dataclass(frozen=True, slots=True)
class DynamicFile:
    """What the dynamic linker reads of a file; ``interpreter`` is "" for a library."""

    needed: tuple[str, ...]
    search: tuple[str, ...]
    interpreter: str


def read_dynamic(data: bytes, origin: str = "/") -> DynamicFile | None:
    """Return the dynamic part of an ELF file of this architecture (64 bits, little endian), None for others.

    ``origin`` is the folder that ``$ORIGIN`` stands for.
    """
    try:
        headers = list(_program_headers(data))
        dynamic = next((one for one in headers if one[0] == _PT_DYNAMIC), None)
        interp = next((one for one in headers if one[0] == _PT_INTERP), None)
        interpreter = "" if interp is None else _text(data, interp[2], interp[5])
        if dynamic is None:
            return DynamicFile((), (), interpreter) if headers else None
        entries = []
        for at in range(dynamic[2], dynamic[2] + dynamic[5] - _DYN.size + 1, _DYN.size):
            tag, value = _DYN.unpack_from(data, at)
            if tag == 0:
                break
            entries.append((tag, value))
        strings = _file_offset(headers, dict(entries).get(_DT_STRTAB, 0))
        if strings is None:
            return None
        names = [(tag, _text(data, strings + value, 4096)) for tag, value in entries if tag in _NAMED]
    except (struct.error, OverflowError):
        return None
    search = [part for tag, text in names if tag != _DT_NEEDED for part in text.split(":") if part]
    origins = ("$ORIGIN", "${ORIGIN}")
    return DynamicFile(
        tuple(text for tag, text in names if tag == _DT_NEEDED),
        tuple(part.replace(origins[0], origin).replace(origins[1], origin) for part in search),
        interpreter,
    )


_NAMED = (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH)


def with_libraries(paths: Iterable[Path], cache: Mapping[str, str] | None = None) -> dict[Path, bytes]:
    """Return the contents of these files, and of the libraries and the dynamic linker that they lead to.

    Keys are the paths by which the linker opens them. A library that is nowhere is left out: what needs it
    could not be opened here either. ``cache`` is :func:`cached_libraries` unless given.
    """
    known = cached_libraries() if cache is None else cache
    found: dict[Path, bytes] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = data = path.read_bytes()
        dynamic = read_dynamic(data, str(path.resolve().parent))
        if dynamic is None:
            continue
        if dynamic.interpreter:
            waiting.append(Path(dynamic.interpreter))
        for name in dynamic.needed:
            place = _find(name, dynamic.search, known)
            if place is not None:
                waiting.append(place)
    return found


def cached_libraries(path: Path = Path("/etc/ld.so.cache")) -> dict[str, str]:
    """Return paths by soname out of the linker's cache; empty where there is none (musl) or it is damaged."""
    try:
        data = path.read_bytes()
        start = data.index(_CACHE_MAGIC)  # before glibc 2.32 the old format comes first
        (count,) = struct.unpack_from("<I", data, start + len(_CACHE_MAGIC))
        found: dict[str, str] = {}
        for number in range(count):
            entry = start + _CACHE_HEADER + number * _CACHE_ENTRY.size
            flags, key, value, _, hwcap = _CACHE_ENTRY.unpack_from(data, entry)
            # libraries for certain processors only may not run on the guest's
            if flags == _X86_64 and not hwcap:
                found.setdefault(_text(data, start + key, 4096), _text(data, start + value, 4096))
        return found
    except (OSError, ValueError, OverflowError, struct.error):
        return {}


def stripped(data: bytes) -> bytes:
    """Return an ELF file without what no segment holds (symbols for debuggers) and without section headers.

    The dynamic linker reads segments alone. Anything that is no 64-bit ELF file comes back as it is.
    """
    try:
        loads = [(one[2], one[5]) for one in _program_headers(data)]
    except (struct.error, OverflowError):
        return data
    if not loads:
        return data
    end = max(offset + size for offset, size in loads)
    if end >= len(data):
        return data
    fields = list(_EHDR.unpack_from(data))
    fields[6] = fields[11] = fields[12] = fields[13] = 0  # e_shoff, e_shentsize, e_shnum, e_shstrndx
    return _EHDR.pack(*fields) + data[_EHDR.size : end]


def _find(name: str, search: Iterable[str], cache: Mapping[str, str]) -> Path | None:
    if "/" in name:
        return Path(name) if Path(name).is_file() else None
    cached = (cache[name],) if name in cache else ()
    places = [os.path.join(folder, name) for folder in search]  # noqa: PTH118  kept as the linker spells it
    usual = [f"{folder}/{name}" for folder in _USUAL]
    return next((Path(place) for place in (*places, *cached, *usual) if Path(place).is_file()), None)


def _program_headers(data: bytes) -> Iterator[tuple[int, ...]]:
    """Yield (type, flags, file offset, address, physical address, size in the file, in memory, alignment)."""
    if data[:6] != b"\x7fELF\x02\x01":
        return
    header = _EHDR.unpack_from(data)
    offset, size, count = header[5], header[9], header[10]
    for number in range(count):
        yield _PHDR.unpack_from(data, offset + number * size)


def _file_offset(headers: Iterable[tuple[int, ...]], address: int) -> int | None:
    for kind, _, offset, start, _, size, _, _ in headers:
        if kind == _PT_LOAD and start <= address < start + size:
            return int(offset + address - start)
    return None


def _text(data: bytes, at: int, limit: int) -> str:
    end = data.find(b"\0", at, at + limit)
    return os.fsdecode(data[at : end if end >= 0 else at + limit])
