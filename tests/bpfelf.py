# SPDX-License-Identifier: Apache-2.0
"""Write a minimal BPF ELF object for tests: one socket filter, .BTF and .BTF.ext."""

from __future__ import annotations

import struct

__all__ = ["SECTION", "bpf_elf"]

SECTION = "socket"
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB = 1, 2, 3
_EM_BPF = 247


def bpf_elf(code: bytes, btf: bytes, ext: bytes, *, byteorder: str = "little") -> bytes:
    """An object whose only program, ``prog``, is ``code`` in section :data:`SECTION`."""
    order = "<" if byteorder == "little" else ">"
    symbol = struct.pack(
        order + "IBBHQQ", 1, 1 << 4 | 2, 0, 1, 0, len(code)
    )  # STB_GLOBAL, STT_FUNC, section 1
    sections = [
        (SECTION, _SHT_PROGBITS, 6, 0, 0, 8, 0, code),
        (".symtab", _SHT_SYMTAB, 0, 3, 1, 8, 24, bytes(24) + symbol),
        (".strtab", _SHT_STRTAB, 0, 0, 0, 1, 0, b"\0prog\0"),
        (".BTF", _SHT_PROGBITS, 0, 0, 0, 4, 0, btf),
        (".BTF.ext", _SHT_PROGBITS, 0, 0, 0, 4, 0, ext),
    ]
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections) + b".shstrtab\0"
    sections.append((".shstrtab", _SHT_STRTAB, 0, 0, 0, 1, 0, names))
    body = b""
    headers = bytes(64)
    for name, kind, flags, link, info, align, entry, data in sections:
        body += bytes(-(64 + len(body)) % 8)
        name_off = names.index(b"\0" + name.encode() + b"\0") + 1
        headers += struct.pack(
            order + "IIQQQQIIQQ",
            name_off,
            kind,
            flags,
            0,
            64 + len(body),
            len(data),
            link,
            info,
            align,
            entry,
        )
        body += data
    body += bytes(-(64 + len(body)) % 8)
    ident = b"\x7fELF" + bytes((2, 1 if byteorder == "little" else 2, 1)) + bytes(9)
    count = len(sections) + 1
    rest = (1, _EM_BPF, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, count, count - 1)
    return ident + struct.pack(order + "HHIQQQIHHHHHH", *rest) + body + headers
