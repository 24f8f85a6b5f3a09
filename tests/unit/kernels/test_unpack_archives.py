# SPDX-License-Identifier: Apache-2.0
"""The containers below the packages: tar, ar, cpio, and streams that are decompressed while they are read."""

from __future__ import annotations

import io
import lzma
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import kernelfiles as made
from tests.kernelfiles import PACKERS

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import ar, cpio, limits, tar
from holdfast.kernels.unpack.layout import Part, place_of
from holdfast.kernels.unpack.members import Member
from holdfast.kernels.unpack.streams import Inflated, _xz, compression, inflate

TEXT = bytes(range(256)) * 2500


def refused(call: Callable[[], object]) -> KernelFileError:
    with pytest.raises(KernelFileError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("pkg: ")
    return caught.value


# streams


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_gives_what_is_asked_for(kind: str) -> None:
    packed = PACKERS[kind](TEXT)
    assert compression(packed[:9]) == kind
    stream = Inflated(io.BytesIO(packed), kind, "pkg", place=None, limit=len(TEXT))
    read = [stream.read(size) for size in (1, 511, 0, 400_000, 7)]
    assert [len(piece) for piece in read] == [1, 511, 0, 400_000, 7]
    assert b"".join(read) + stream.read(1 << 30) == TEXT
    assert stream.read(1) == b""


@pytest.mark.parametrize("newer", [True, False])
def test_either_decoder_of_xz(monkeypatch: pytest.MonkeyPatch, newer: bool) -> None:
    if newer:
        pytest.importorskip("lzma_mt", reason="there are wheels for x86-64 only")
    else:
        monkeypatch.setitem(sys.modules, "lzma_mt", None)

    def unpacked(packed: bytes) -> bytes:
        return inflate(packed, "xz", "pkg", place=None, limit=len(TEXT))

    assert type(_xz()).__module__.startswith("lzma_mt" if newer else "_lzma")
    packed = lzma.compress(TEXT)
    assert unpacked(packed) == TEXT
    assert "the xz data are damaged" in str(refused(lambda: unpacked(packed[:-1])))
    bad = bytearray(packed)
    bad[-30] ^= 1
    assert "the xz data are damaged" in str(refused(lambda: unpacked(bytes(bad))))
    assert "unpacks to more than" in str(refused(lambda: unpacked(lzma.compress(TEXT + b"x"))))
    hungry = bytearray(lzma.compress(b"x"))
    at = hungry.index(b"\x21\x01")  # LZMA2, one byte of properties: the size of the dictionary
    hungry[at + 2] = 34  # 512 MiB
    hungry[20:24] = struct.pack("<I", zlib.crc32(bytes(hungry[12:20])))
    assert "the xz data are damaged: Memory" in str(refused(lambda: unpacked(bytes(hungry))))


@pytest.mark.parametrize("kind", [kind for kind in PACKERS if kind not in ("lzo", "lzma")])
def test_streams_may_follow_each_other(kind: str) -> None:
    packed = PACKERS[kind](TEXT)
    assert inflate(packed + packed, kind, "pkg", place=None, limit=1 << 30) == TEXT * 2


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "bzip2", "lzma", "lz4", "lzo"])
def test_what_follows_a_payload_is_not_part_of_it(kind: str) -> None:
    packed = PACKERS[kind](TEXT) + b"\1\2\3\4"
    assert inflate(packed, kind, "pkg", place=None, limit=1 << 30, alone=True) == TEXT


def test_padding_of_xz_and_gzip_is_no_damage() -> None:
    for kind in ("xz", "gzip"):
        packed = PACKERS[kind](TEXT)
        padded = packed + bytes(8) + packed + bytes(600_000)
        assert inflate(padded, kind, "pkg", place=None, limit=1 << 30) == TEXT * 2


@pytest.mark.parametrize("kind", [kind for kind in PACKERS if kind != "lz4 (legacy frame)"])
def test_every_cut_is_noticed(kind: str) -> None:
    packed = PACKERS[kind](TEXT[:3000])
    for end in {3, 9, len(packed) // 2, len(packed) - 1}:
        cut = packed[:end]
        error = refused(lambda cut=cut: inflate(cut, kind, "pkg", place="here", limit=1 << 30))
        assert error.place == "here" and f"the {kind} data are damaged" in error.problem


def test_cuts_and_lies_of_the_legacy_frame() -> None:
    packed = PACKERS["lz4 (legacy frame)"](TEXT)
    for bad in (packed[:-1], packed[:6], packed[:4] + struct.pack("<I", 1 << 31) + packed[8:]):
        refused(lambda bad=bad: inflate(bad, "lz4 (legacy frame)", "pkg", place=None, limit=1 << 30))


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 0x100, 0x200, 0x303])
@pytest.mark.parametrize("version", [0x1030, 0x0930])
def test_headers_and_checksums_of_lzop(flags: int, version: int) -> None:
    packed = bytearray(made.lzop(TEXT + b"end", flags, version))
    assert inflate(bytes(packed), "lzo", "pkg", place=None, limit=1 << 30) == TEXT + b"end"
    if flags & 0x101:
        packed[
            packed.index(
                struct.pack(
                    ">I", zlib.adler32(TEXT[: 256 << 10]) if flags & 1 else zlib.crc32(TEXT[: 256 << 10])
                )
            )
        ] ^= 1
        assert "checksum" in str(
            refused(lambda: inflate(bytes(packed), "lzo", "pkg", place=None, limit=1 << 30))
        )


@pytest.mark.parametrize(
    ("flags", "words"), [(0x800, "went through a filter"), (0x40, "an extra field in their header")]
)
def test_lzop_files_that_the_kernel_build_never_writes(flags: int, words: str) -> None:
    packed = made.lzop(b"x" * 50, flags)
    assert words in str(refused(lambda: inflate(packed, "lzo", "pkg", place=None, limit=1 << 30)))


def test_blocks_of_lzop_are_bounded() -> None:
    head = made.lzop(b"", 0)[:-4]
    for size, packed in ((257 << 10, 5), (100, 101), (100, 0)):
        data = head + struct.pack(">II", size, packed) + bytes(200)
        refused(lambda data=data: inflate(data, "lzo", "pkg", place=None, limit=1 << 30))


@pytest.mark.parametrize("kind", PACKERS)
def test_no_more_than_the_limit_is_given_back(kind: str) -> None:
    stream = Inflated(io.BytesIO(PACKERS[kind](bytes(5 << 20))), kind, "pkg", place=None, limit=3 << 20)
    assert "it unpacks to more than 3 MiB" in str(refused(lambda: stream.read(1 << 40)))


# tar


def named(data: bytes) -> list[tuple[str, bytes | None]]:
    members = tar.members(io.BytesIO(data), "pkg", "data.tar")
    return [(member.name, member.read(1 << 30) if member.regular else None) for member in members]


LONG = "usr/lib/" + "very-long-name/" * 9 + "x" * 90
FILES = {"usr/": b"", LONG: b"long", "b": TEXT[:513], "empty": b"", "link->b": b"", "c": TEXT[:512]}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_as_the_standard_library_reads_it(form: int) -> None:
    data = made.tar({**FILES, "ümlaut": b"u"}, form=form)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = []
        for info in archive:
            content = archive.extractfile(info) if info.isreg() else None
            expected.append((info.name.removeprefix("./"), content.read() if content else None))
    assert named(data) == expected
    assert len(expected) == 7


def test_ustar_has_a_prefix() -> None:
    data = made.tar({LONG[:150]: b"1"}, form=tarfile.USTAR_FORMAT)
    assert named(data) == [(LONG[:150], b"1")]


def test_members_that_are_not_read_are_skipped() -> None:
    members = tar.members(io.BytesIO(made.tar(FILES)), "pkg", "data.tar")
    assert [member.name for member in members] == ["usr", LONG, "b", "empty", "link", "c"]


def test_large_sizes_of_tar_are_in_base_256_and_pax() -> None:
    header = bytearray(made.tar({"x": b""})[:512])
    header[124:136] = b"\x80" + (5 << 32).to_bytes(11, "big")
    member = next(tar.members(io.BytesIO(summed(header)), "pkg", "data.tar"))
    assert member.size == 5 << 32
    pax = made.tar({"./pax": b"11 size=3\n\0"}, form=tarfile.USTAR_FORMAT)[:1024]
    pax = summed(bytearray(pax[:156] + b"x" + pax[157:512])) + b"10 size=3\n".ljust(512, b"\0")
    follows = bytearray(made.tar({"x": b"abc"})[:1024])
    follows[124:136] = b"00000000000\0"
    data = pax + summed(follows[:512]) + bytes(follows[512:]) + bytes(1024)
    assert named(data) == [("x", b"abc")]


def summed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def changed(at: int, value: bytes) -> bytes:
    data = bytearray(made.tar({"x": b"abc"}))
    data[at : at + len(value)] = value
    return summed(data[:512]) + bytes(data[512:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (made.tar(FILES)[:1500], "is cut off"),
        (made.tar({"x": b"abc"})[:1024], "is cut off"),  # no end mark
        (b"x" * 512, "no header of a tar archive"),
        (made.tar({"x": b"abc"})[:100] + b"x" + made.tar({"x": b"abc"})[101:], "no header of a tar archive"),
        (changed(124, b"xyz"), "a size that is no number"),
        (changed(124, b"-1\0"), "a size that is no number"),
        (changed(124, b"77777777777"), "it claims 8589934591 bytes"),
        (summed(bytearray(changed(156, b"x")[:512])) + b"9 path=x".ljust(512, b"\0"), "a damaged pax header"),
        (summed(bytearray(changed(156, b"x")[:512])) + b"abc".ljust(512, b"\0"), "a damaged pax header"),
        (changed(124, b"00010000000")[:156] + b"x", "is cut off"),
    ],
)
def test_damaged_tar(data: bytes, words: str) -> None:
    assert words in str(refused(lambda: named(data)))


def test_extended_headers_of_any_size_are_not_held() -> None:
    header = bytearray(changed(124, b"00010000000")[:512])
    for kind in (b"x", b"g", b"L", b"K"):
        header[156:157] = kind
        data = summed(header) + bytes(1 << 20)
        assert "an extended header of 2097152 bytes" in str(refused(lambda data=data: named(data)))


@pytest.mark.parametrize(
    "name",
    ["../etc/passwd", "a/../../b", "..", "/etc/passwd", "usr/lib/modules/6.1/../../../x", "x\n/../\x1b[2J"],
)
def test_names_that_lead_out_of_the_archive(name: str) -> None:
    info = tarfile.TarInfo(name)
    error = refused(lambda: named(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    assert "leads out of the archive" in error.problem or "has an absolute name" in error.problem
    assert "\x1b" not in str(error)


def test_very_long_names_are_cut_in_messages() -> None:
    info = tarfile.TarInfo("../" + "x" * 3000)
    assert len(str(refused(lambda: named(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))))) < 300


def test_the_number_of_members_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS", 5)
    assert "more than 5 members" in str(refused(lambda: named(made.tar(FILES))))
    files = {f"f{number}": b"" for number in range(6)}
    assert "more than 5 members" in str(
        refused(lambda: list(cpio.members(io.BytesIO(made.cpio(files)), "pkg")))
    )


def test_a_member_that_is_too_large_is_not_read() -> None:
    member = next(tar.members(io.BytesIO(made.tar({"x": TEXT})), "pkg", "data.tar"))
    assert "it claims 640000 bytes, 0 MiB are the limit" in str(refused(lambda: member.read(1 << 19)))


# ar, cpio


def ar_names(data: bytes) -> list[tuple[str, bytes]]:
    stream = io.BytesIO(data)
    ar.check_magic(stream, "pkg")
    return [(name, part.read(1 << 20)) for name, part in ar.members(stream, "pkg")]


def test_ar() -> None:
    data = made.ar([("debian-binary", b"2.0\n"), ("odd", b"123"), ("slash/", b"")])
    assert ar_names(data) == [("debian-binary", b"2.0\n"), ("odd", b"123"), ("slash", b"")]
    assert ar_names(made.ar([("odd", b"123")])[:-1]) == [("odd", b"123")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"!<arch>x", "it is no ar archive"),
        (b"!<ar", "is cut off"),
        (made.ar([("x", b"123")])[:30], "no header of an ar archive"),
        (made.ar([("x", b"12345")])[:-3], "is cut off"),
        (made.ar([("x", b"123")]).replace(b"`", b"'"), "no header of an ar archive"),
        (made.ar([("x", b"123")]).replace(b"3         `", b"-3        `"), "no header of an ar archive"),
        (made.ar([("x", b"123")]).replace(b"3         `", b"9999999999`"), "is cut off"),
    ],
)
def test_damaged_ar(data: bytes, words: str) -> None:
    assert words in str(refused(lambda: ar_names(data)))


def cpio_of(data: bytes) -> list[tuple[str, bytes]]:
    members: Iterator[Member] = cpio.members(io.BytesIO(data), "pkg")
    return [(member.name, member.read(1 << 20)) for member in members if member.regular]


def test_cpio() -> None:
    files = {"lib/a": b"12345", "b": b"", "lib/modules/c": TEXT[:1000]}
    assert cpio_of(made.cpio(files)) == list(files.items())
    skipped = cpio.members(io.BytesIO(made.cpio(files)), "pkg")
    assert [member.name for member in skipped] == list(files)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (made.cpio({"a": b"1"})[:50], "is cut off"),
        (made.cpio({"a": b"1"})[:120], "is cut off"),
        (b"070707" + made.cpio({"a": b"1"})[6:], "no header of a cpio archive"),
        (made.cpio({"a": b"1"}).replace(b"00000001", b"0000000g"), "no header of a cpio archive"),
        (made.cpio({"a": b"1"})[:94] + b"00000000" + made.cpio({"a": b"1"})[102:], "a name of 0 bytes"),
        (
            made.cpio({"a": b"1"})[:94] + b"7fffffff" + made.cpio({"a": b"1"})[102:],
            "a name of 2147483647 bytes",
        ),
        (made.cpio({"/etc/x": b"1"}, prefix=""), "has an absolute name"),
        (made.cpio({"../x": b"1"}, prefix="./"), "leads out of the archive"),
    ],
)
def test_damaged_cpio(data: bytes, words: str) -> None:
    assert words in str(refused(lambda: cpio_of(data)))


@pytest.mark.oracle
def test_cpio_as_the_tool_writes_it(need_tool: Callable[[str], str], tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a").write_bytes(b"12345")
    out = subprocess.run(
        [need_tool("cpio"), "-o", "-H", "newc", "--quiet"], input=b"./lib\n./lib/a\n", cwd=tmp_path,
        stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    assert cpio_of(out) == [("lib/a", b"12345")]


# where the parts are


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("boot/vmlinuz-6.1.0-50-amd64", Part("kernel", "6.1.0-50-amd64", "vmlinuz-6.1.0-50-amd64")),
        ("boot/vmlinux-6.1-default.gz", Part("kernel", "6.1-default", "vmlinux-6.1-default.gz")),
        ("boot/config-6.1", Part("config", "6.1", "config-6.1")),
        ("boot/System.map-6.1", None),
        ("boot/initrd.img-6.1", None),
        ("boot/vmlinuz", None),
        ("usr/lib/modules/7.2.13+deb14-amd64/vmlinuz", Part("kernel", "7.2.13+deb14-amd64", "vmlinuz")),
        ("usr/lib/modules/7.3/vmlinuz.unsigned", Part("kernel", "7.3", "vmlinuz.unsigned")),
        ("lib/modules/6.1/config", Part("config", "6.1", "config")),
        ("lib/modules/6.1/modules.builtin", Part("builtin", "6.1", "modules.builtin")),
        ("lib/modules/6.1/modules.builtin.modinfo", None),
        ("lib/modules/6.1/kernel/net/x.ko.zst", Part("module", "6.1", "kernel/net/x.ko.zst")),
        ("lib/modules/6.1/updates/dkms/x.ko", Part("module", "6.1", "updates/dkms/x.ko")),
        ("lib/modules/6.1/kernel/net/x.ko.debug", None),
        ("lib/modules/6.1/build/x.ko", None),
        ("usr/lib/debug/boot/vmlinux-6.1", None),
        ("usr/lib/debug/lib/modules/6.1/kernel/x.ko", None),
        ("lib/modules/extra/x.ko", None),
        ("lib/modules/6.1", None),
    ],
)  # fmt: skip
def test_where_a_kernels_parts_are(name: str, part: Part | None) -> None:
    assert place_of(name) == part
