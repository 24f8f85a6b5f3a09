# SPDX-License-Identifier: Apache-2.0
"""Kernels out of images: every format that a kernel is booted in, and what is refused, in one line each."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import kernelfiles as made
from tests.kernelfiles import PACKERS, RELEASE, bzimage, elf, flat, kernel, module, zboot

from holdfast.errors import KernelFileError
from holdfast.kernels.unpack import boot_image, limits, open_kernel, vmlinux_of

KERNEL = kernel()


def write(tmp_path: Path, data: bytes, name: str = "vmlinuz") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refused(path: Path, **options: bool) -> KernelFileError:
    with pytest.raises(KernelFileError) as caught:
        open_kernel(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint, str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", ["", *PACKERS])
def test_a_bzimage_is_taken_apart(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, bzimage(KERNEL, kind))
    pieces = open_kernel(str(path))
    assert pieces.vmlinux == (KERNEL if kind else KERNEL + struct.pack("<I", len(KERNEL)))
    assert (pieces.origin, pieces.release, pieces.arch) == (str(path), RELEASE, "x86_64")
    assert (pieces.config, pieces.modules, pieces.builtin_modules, pieces.package) == (None, (), (), None)


def test_no_setup_sectors_means_four(tmp_path: Path) -> None:
    image = bytearray(bzimage(KERNEL, setup_sects=4))
    image[0x1F1] = 0
    assert vmlinux_of(write(tmp_path, bytes(image))) == KERNEL


def test_more_setup_sectors_move_the_payload(tmp_path: Path) -> None:
    assert vmlinux_of(write(tmp_path, bzimage(KERNEL, setup_sects=27))) == KERNEL


@pytest.mark.parametrize("kind", PACKERS)
def test_a_vmlinux_alone_may_be_compressed(tmp_path: Path, kind: str) -> None:
    assert open_kernel(write(tmp_path, PACKERS[kind](KERNEL))).vmlinux == KERNEL


def test_a_vmlinux_as_it_is(tmp_path: Path) -> None:
    assert open_kernel(write(tmp_path, KERNEL)).vmlinux == KERNEL


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "lzma", "lz4 (legacy frame)"])
def test_an_efi_zboot_image(tmp_path: Path, kind: str) -> None:
    pieces = open_kernel(write(tmp_path, zboot(flat(), kind)))
    # the payload's size is said without the four bytes behind it
    assert (pieces.vmlinux, pieces.arch, pieces.release) == (flat(), "aarch64", RELEASE)


@pytest.mark.parametrize(
    ("image", "arch"), [(flat(), "aarch64"), (flat(magic=b"RSC\x05"), "riscv64"), (zboot(flat()), "aarch64")]
)
def test_a_flat_image_and_its_gz(tmp_path: Path, image: bytes, arch: str) -> None:
    for data in (image, PACKERS["gzip"](image)):
        assert open_kernel(write(tmp_path, data)).arch == arch


def test_a_flat_image_known_by_its_pe_header(tmp_path: Path) -> None:
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", 0x6264)
    assert open_kernel(write(tmp_path, head + bytes(100) + made.banner())).arch == "loongarch64"


@pytest.mark.parametrize(
    ("machine", "order", "wide", "arch"),
    [
        (183, "<", True, "aarch64"),
        (22, ">", True, "s390x"),
        (21, "<", True, "ppc64le"),
        (21, ">", True, "ppc64"),
        (3, "<", False, "i686"),
        (9, ">", False, "e_machine 9"),
    ],
)
def test_the_machine_is_named_as_uname_does(
    tmp_path: Path, machine: int, order: str, wide: bool, arch: str
) -> None:
    data = elf((".rodata", made.banner("6.1.0-x")), machine=machine, order=order, wide=wide, kind=3)
    pieces = open_kernel(write(tmp_path, data))
    assert (pieces.arch, pieces.release) == (arch, "6.1.0-x")


def test_what_a_machine_boots_and_what_is_in_it(tmp_path: Path) -> None:
    image = bzimage(KERNEL, "lz4 (legacy frame)")
    got = boot_image(write(tmp_path, image))
    assert (got.image, got.vmlinux, got.release, got.arch) == (image, KERNEL, RELEASE, "x86_64")


def spoiled(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


IMAGE = bzimage(KERNEL)
PAYLOAD_LENGTH = struct.unpack_from("<I", IMAGE, 0x24C)[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is no kernel: it is empty"),
        (b"hello, world", "it is no kernel: it begins with 68 65 6c 6c"),
        (b"\x9f\xeb\1\0" + bytes(20), "it is raw BTF, not a kernel"),
        (elf((".text", b""), kind=1, machine=247), "it is a BPF object, not a kernel"),
        (module(), "it is a kernel module, not a kernel"),
        (elf((".text", b""), kind=1), "it is an object file, not a kernel"),
        (elf((".text", b""), kind=4), "an ELF file of type 4 is no kernel"),
        (elf((".rodata", b"Linux version %s (%s)")), "it is no Linux kernel: no version is in it"),
        (KERNEL[:40], "an ELF header cut off after 40 bytes"),
        (KERNEL[:2000], "headers at"),
        (spoiled(KERNEL, 58, b"\x08\0"), "lie outside the file"),
        (spoiled(IMAGE, 0x248, b"\xff\xff\xff\x7f"), "is not within the"),
        (spoiled(IMAGE, 0x24C, b"\xff\xff\xff\xff"), "is not within the"),
        (spoiled(IMAGE, 0x24C, bytes(4)), "a payload of 0 bytes"),
        (spoiled(IMAGE, 0x206, b"\x07\x02"), "an x86 boot header of protocol 2.07"),
        (IMAGE[:0x240], "an x86 boot header"),
        (IMAGE[:-200], "is not within the"),
        (spoiled(IMAGE, 2560 + 640, b"LZMA"), "it begins with 4c 5a 4d 41"),
        (spoiled(bzimage(KERNEL, "xz"), 3200 + 60, bytes(40)), "payload at 0xc80: the xz data are damaged"),
        (bzimage(KERNEL, said=len(KERNEL) + 1), f"bytes and says {len(KERNEL) + 1}"),
        (bzimage(KERNEL, said=len(KERNEL) - 1), f"it unpacks to more than {len(KERNEL) - 1} bytes"),
        (bzimage(b"data that are no kernel at all"), "it is no kernel: it begins with 64 61 74 61"),
        (b"MZ\0\0zimg" + bytes(10), "an EFI zboot header that is cut off"),
        (zboot(flat())[:550], "is not within the 550 of the image"),
        (PACKERS["gzip"](KERNEL)[:-2000], "the gzip data are damaged"),
        (PACKERS["gzip"](b""), "it is no kernel: it is empty"),
    ],
)  # fmt: skip
def test_what_is_no_kernel_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in str(refused(write(tmp_path, data)))


def test_a_section_or_segment_that_goes_past_the_end(tmp_path: Path) -> None:
    table = struct.unpack_from("<Q", KERNEL, 40)[0]
    problem = refused(write(tmp_path, spoiled(KERNEL, table + 64 + 32, b"\xff\xff\xff\0"))).problem
    assert "section 1 of 16777215 bytes" in problem
    segment = struct.pack("<IIQQQQQQ", 1, 5, 8, 0, 0, 1 << 40, 1 << 40, 0)
    segmented = struct.pack("<Q", len(KERNEL))
    data = spoiled(spoiled(KERNEL, 32, segmented), 54, struct.pack("<HH", 56, 1)) + segment
    assert "segment 0 of 1099511627776 bytes" in refused(write(tmp_path, data)).problem


def test_sections_without_bytes_may_claim_any_size(tmp_path: Path) -> None:
    table = struct.unpack_from("<Q", KERNEL, 40)[0]
    bss = spoiled(spoiled(KERNEL, table + 64 + 32, b"\xff\xff\xff\0"), table + 64 + 4, struct.pack("<I", 8))
    assert open_kernel(write(tmp_path, bss)).release == RELEASE


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VMLINUX", 1 << 20)
    bomb = KERNEL + bytes(2 << 20)
    for kind in PACKERS:
        for data in (PACKERS[kind](bomb), bzimage(bomb, kind), zboot(bomb, kind)):
            assert "it unpacks to more than 1 MiB" in str(refused(write(tmp_path, data))), kind


def test_a_file_of_any_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE", 100)
    assert f"it has {len(KERNEL)} bytes, 0 MiB are the limit" in refused(write(tmp_path, KERNEL)).problem


def test_a_kernel_of_kernels_is_not_followed_for_ever(tmp_path: Path) -> None:
    data = KERNEL
    for _ in range(6):
        data = PACKERS["gzip"](data)
    assert "compressed more than 4 times" in refused(write(tmp_path, data)).problem


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refused(pipe).problem == "it is no regular file"
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path / "a\0b", "null")):
        with pytest.raises(KernelFileError, match=words):
            open_kernel(path)
    with pytest.raises(KernelFileError, match="no regular file"):
        open_kernel("/dev/zero")


def test_parts_belong_to_packages(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGE)
    with pytest.raises(KernelFileError, match=r"no package, so .* cannot be another part"):
        open_kernel(path, parts=[path])


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("gzip", "-9c"),
        ("xz", "--check=crc32 --x86 --lzma2=dict=128MiB -c"),
        ("xz", "--format=lzma -c"),
        ("lz4", "-l -9 -c"),
        ("lz4", "-9 -c"),
        ("zstd", "-9 -c"),
        ("bzip2", "-9c"),
    ],
)
def test_what_the_tools_of_the_kernel_build_write(
    tmp_path: Path, need_tool: Callable[[str], str], tool: str, arguments: str
) -> None:
    data = KERNEL + bytes(9 << 20) + os.urandom(1000)  # more than one block of lz4's legacy frame
    command = [need_tool(tool), *arguments.split()]
    packed = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
    assert open_kernel(write(tmp_path, packed)).vmlinux == data
