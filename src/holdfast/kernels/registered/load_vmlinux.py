# SPDX-License-Identifier: Apache-2.0
"""A kernel's ELF file as a :class:`~holdfast.kernels.registered.space.Space`."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from holdfast.kernels.registered.elf64 import Elf64
from holdfast.kernels.registered.kallsyms_addresses import addresses
from holdfast.kernels.registered.space import Names, Segment, Space

__all__ = ["exports", "names", "vmlinux"]

# .rodata is flagged as writable because of __ro_after_init, which Space leaves out.
_FIXED: Final = frozenset({".rodata", "__init_rodata", ".BTF_ids"})
_EXPORT: Final = struct.Struct("<iii")  # struct kernel_symbol, CONFIG_HAVE_ARCH_PREL32_RELOCATIONS


def vmlinux(elf: Elf64, symbols: str | None) -> Space:
    """All of it that is loaded. ``symbols`` is what :func:`holdfast.kernels.kallsyms.names` gives."""
    # Sections at 0 are per-cpu data, which live elsewhere when the kernel runs.
    segments = [
        Segment(s.name, s.address, elf.view(s), s.is_code, s.name in _FIXED)
        for s in elf.sections
        if s.is_loaded and s.address and not s.is_nobits
    ]
    return Space(segments, names(elf, symbols))


def names(elf: Elf64, symbols: str | None) -> Names:
    """Out of .symtab, or of kallsyms in a stripped file; none where neither tells."""
    rows = sorted((s.value, s.name) for s in elf.symbols() if s.section and s.name and s.value)
    if rows:
        return Names([at for at, _ in rows], [name for _, name in rows])
    rodata = elf.find(".rodata")
    if symbols and rodata:
        texts = [line[1:] for line in symbols.split("\n")[1:-1]]
        found = addresses(bytes(elf.view(rodata)), rodata.address, len(texts)) if texts else None
        if found:
            return Names(found, texts)
    return Names([], [])


def exports(elf: Elf64, wanted: tuple[str, ...]) -> Mapping[str, int]:
    """Addresses of exported functions, out of __ksymtab and __ksymtab_gpl.

    An entry is three distances, each from its own place: to the function, to its name, to its namespace
    (``struct kernel_symbol``; two sections up to 6.18, one in 7.2).
    """
    strings = elf.find("__ksymtab_strings")
    if strings is None:
        return {}
    text = bytes(elf.view(strings))
    places = {}
    for name in wanted:
        at = text.find(b"\0" + name.encode() + b"\0")
        if at >= 0 or text.startswith(name.encode() + b"\0"):
            places[strings.address + at + 1] = name
    found = {}
    for section in (elf.find("__ksymtab"), elf.find("__ksymtab_gpl")):
        if section is None or not places:
            continue
        table = elf.view(section)[: section.size - section.size % _EXPORT.size]
        for at, (value, name, _) in enumerate(_EXPORT.iter_unpack(table)):
            here = section.address + _EXPORT.size * at
            if here + 4 + name in places:
                found[places[here + 4 + name]] = here + value
    return found
