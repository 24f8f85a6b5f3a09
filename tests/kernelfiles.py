# SPDX-License-Identifier: Apache-2.0
"""Made-up kernels in the files that kernels come in, for tests of what takes them out.

A few kilobytes each, laid out as the real ones are: what the readers look at is there, the rest is filler.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

import lz4.block
import lz4.frame
import lzallright
import zstandard

__all__ = [
    "PACKERS",
    "RELEASE",
    "bzimage",
    "BUILTIN",
    "CONFIG",
    "cpio",
    "deb",
    "deb_of",
    "elf",
    "flat",
    "kernel",
    "module",
    "root",
    "rpm",
    "tar",
    "zboot",
]

RELEASE: Final = "6.12.7+deb13-cloud-amd64"
CONFIG: Final = "CONFIG_BPF=y\nCONFIG_DEBUG_INFO_BTF=y\n"
BUILTIN: Final = "kernel/fs/ext4/ext4.ko\nkernel/drivers/char/virtio-rng.ko\n"


def elf(
    *sections: tuple[str, bytes], kind: int = 2, machine: int = 62, order: str = "<", wide: bool = True
) -> bytes:
    """An ELF file with these sections; ``kind`` 2 is an executable, 1 an object, 3 position-independent."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _ in (*sections, (".shstrtab", b"")))
    header = 64 if wide else 52
    body, rows, at = b"", [(0, 0, 0, 0)], 1
    for name, content in (*sections, (".shstrtab", names)):
        rows.append((at, 1, header + len(body), len(content)))
        at += len(name) + 1
        body += content
    form = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
    table = b"".join(
        struct.pack(form, name, of, 0, 0, start, size, 0, 0, 0, 0) for name, of, start, size in rows
    )
    word = "Q" if wide else "I"
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head += struct.pack(
        order + "HHI" + word * 3 + "IHHHHHH",
        kind, machine, 1, 0, 0, header + len(body), 0, header, 0, 0,
        struct.calcsize(form), len(rows), len(rows) - 1,
    )  # fmt: skip
    return head + body + table


def banner(release: str = RELEASE) -> bytes:
    return f"Linux version {release} (builder@example) (gcc 14) #1 SMP\n\0".encode()


def kernel(release: str = RELEASE, **options: int) -> bytes:
    """An uncompressed vmlinux: it compresses a little, but not to nothing."""
    noise = b"".join(zlib.crc32(bytes([i & 255, i >> 8])).to_bytes(4, "little") for i in range(3000))
    return elf(
        (".text", noise + bytes(6000)), (".rodata", b"%s" + banner(release)), (".BTF", b"\x9f\xeb"), **options
    )


def flat(release: str = RELEASE, magic: bytes = b"ARM\x64") -> bytes:
    """An arm64 or riscv ``Image``."""
    return b"MZ".ljust(56, b"\0") + magic + bytes(4) + bytes(2000) + banner(release) + bytes(3000)


def lz4_legacy(data: bytes) -> bytes:
    parts = [data[at : at + (8 << 20)] for at in range(0, len(data), 8 << 20)]
    blocks = [lz4.block.compress(part, store_size=False) for part in parts]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks)


def lzop(data: bytes, flags: int = 0x0300_0003, version: int = 0x1030) -> bytes:
    """As ``lzop -9 -n`` writes it: adler32 of both sides, or those that ``flags`` say."""
    late = version >= 0x0940
    out = (
        b"\x89LZO\0\r\n\x1a\n" + struct.pack(">HHHB", version, 0x20A0, 0x0940, 3) + (b"\x09" if late else b"")
    )
    out += struct.pack(">III", flags, 0o100644, 0) + (bytes(4) if late else b"") + b"\x01n" + bytes(4)
    packer = lzallright.LZOCompressor()
    for at in range(0, len(data), 256 << 10):
        block = data[at : at + (256 << 10)]
        packed = packer.compress(block)
        if len(packed) >= len(block):
            packed = block
        out += struct.pack(">II", len(block), len(packed))
        sums = [(1, zlib.adler32, block), (0x100, zlib.crc32, block)]
        sums += [(2, zlib.adler32, packed), (0x200, zlib.crc32, packed)] if packed is not block else []
        out += b"".join(struct.pack(">I", of(what)) for flag, of, what in sums if flags & flag)
        out += packed
    return out + bytes(4)


PACKERS: Final = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "zstd": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "lz4 (legacy frame)": lz4_legacy,
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "lzo": lzop,
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


def bzimage(
    inner: bytes, kind: str = "zstd", *, setup_sects: int = 4, version: int = 0x020F, said: int | None = None
) -> bytes:
    """An x86 image around ``inner``; ``said`` is the size that its end tells, the right one by default."""
    payload = PACKERS[kind](inner) if kind else inner
    if kind != "gzip" or said is not None:
        payload = (payload[:-4] if kind == "gzip" else payload) + struct.pack(
            "<I", len(inner) if said is None else said
        )
    head = bytearray((setup_sects + 1) * 512)
    head[0x1F1] = setup_sects
    head[0x1FE:0x206] = b"\x55\xaa\xeb\x66HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 640, len(payload))
    return bytes(head) + bytes(640) + payload + b"signature"


def zboot(inner: bytes, kind: str = "gzip", machine: int = 0xAA64) -> bytes:
    """An EFI image with CONFIG_EFI_ZBOOT."""
    payload = PACKERS[kind](inner)
    head = struct.pack("<4s4sIIII", b"MZ\0\0", b"zimg", 512, len(payload), 0, 0) + kind.encode() + b"\0"
    head = head.ljust(56, b"\0") + struct.pack("<II", 0x818223CD, 64) + b"PE\0\0" + struct.pack("<H", machine)
    return head.ljust(512, b"\0") + payload + (b"" if kind == "gzip" else struct.pack("<I", len(inner)))


def module(name: str = "foo", *, registers: bool = False) -> bytes:
    """A module; ``registers``: with a section .BTF_ids."""
    sections = [(".modinfo", f"name={name}\0".encode()), (".gnu.linkonce.this_module", bytes(64))]
    if registers:
        sections.append((".BTF_ids", bytes(16)))
    return elf(*sections, kind=1)


def root(release: str = RELEASE, *, image: bytes | None = None, ending: str = ".ko.xz") -> dict[str, bytes]:
    """The files of a kernel that is in one package, as Debian lays them out up to 6.18."""
    modules = f"usr/lib/modules/{release}"
    pack = {".ko": bytes, ".ko.xz": PACKERS["xz"], ".ko.zst": PACKERS["zstd"], ".ko.gz": PACKERS["gzip"]}[
        ending
    ]
    return {
        f"boot/vmlinuz-{release}": bzimage(kernel(release)) if image is None else image,
        f"boot/config-{release}": CONFIG.encode(),
        f"boot/System.map-{release}": b"ffffffffffffffff B The real System.map is in the debug package\n",
        f"{modules}/modules.builtin": BUILTIN.encode(),
        f"{modules}/modules.order": b"kernel/net/nf-one.ko\n",
        f"{modules}/kernel/net/nf-one{ending}": pack(module("nf_one", registers=True)),
        f"{modules}/kernel/fs/two{ending}": pack(module("two")),
        "usr/share/doc/linux-image/copyright": b"GPL-2",
    }


def tar(
    files: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
    *,
    form: int = tarfile.GNU_FORMAT,
    prefix: str = "./",
) -> bytes:
    """A tar archive. A name that ends in ``/`` is a folder; ``->`` in a name makes a link of it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            link, _, target = name.partition("->")
            info = tarfile.TarInfo(prefix + link.rstrip("/") if not link.startswith(("/", "..")) else link)
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
            elif link.endswith("/"):
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return out.getvalue()


def ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, content in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def deb(control: str, data: bytes, kind: str = "xz") -> bytes:
    """A Debian package around a tar archive."""
    suffix = {"xz": ".xz", "zstd": ".zst", "gzip": ".gz", "bzip2": ".bz2", "lzma": ".lzma", "": ""}[kind]
    pack = PACKERS[kind] if kind else bytes
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar" + suffix, pack(tar({"control": control.encode(), "md5sums": b""}))),
            ("data.tar" + suffix, pack(data)),
        ]
    )


def deb_of(
    package: str,
    files: Mapping[str, bytes],
    *,
    version: str = "6.12.7-1",
    depends: str = "kmod",
    extra: str = "",
    kind: str = "xz",
) -> bytes:
    """A Debian package with these files."""
    control = (
        f"Package: {package}\nVersion: {version}\nArchitecture: amd64\n"
        f"Maintainer: Debian Kernel Team <debian-kernel@lists.debian.org>\nDepends: {depends}\n{extra}"
        "Description: Linux\n for tests\n"
    )
    return deb(control, tar({"usr/": b"", **files}), kind)


def cpio(files: Mapping[str, bytes], *, prefix: str = "./") -> bytes:
    """A cpio archive of the kind newc."""
    out = b""
    for name, content in (
        *((prefix + name, content) for name, content in files.items()),
        ("TRAILER!!!", b""),
    ):
        fields = [
            1,
            0o100644 if content or name != "TRAILER!!!" else 0,
            0,
            0,
            1,
            0,
            len(content),
            0,
            0,
            0,
            0,
            len(name) + 1,
            0,
        ]
        entry = b"070701" + b"".join(f"{value:08x}".encode() for value in fields) + name.encode() + b"\0"
        out += entry + bytes(-len(entry) % 4) + content + bytes(-len(content) % 4)
    return out


def rpm(
    files: Mapping[str, bytes],
    *,
    kind: str = "zstd",
    name: str = "kernel-core",
    vendor: str = "Fedora Project",
) -> bytes:
    """An RPM package with these files."""
    texts = {
        1000: name,
        1001: "6.12.7",
        1002: "200.fc41",
        1011: vendor,
        1044: "kernel-6.12.7-200.fc41.src.rpm",
        1124: "cpio",
    }

    def header(rows: Mapping[int, str]) -> bytes:
        data, index = b"", b""
        for tag, text in rows.items():
            index += struct.pack(">IIII", tag, 6, len(data), 1)
            data += text.encode() + b"\0"
        return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(rows), len(data)) + index + data

    signature = header({1004: "sum"})
    signature += bytes(-len(signature) % 8)
    lead = b"\xed\xab\xee\xdb\x03\x00".ljust(96, b"\0")
    return lead + signature + header(texts) + PACKERS[kind](cpio(files))
