# SPDX-License-Identifier: Apache-2.0
"""Files that kernels come in: whatever the bytes are, a kernel comes out or one line that names the file."""

from __future__ import annotations

import os
import random
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import kernelfiles as made
from tests.fuzz.inputs import BOUNDED, EXTREMES, answer, damaged
from tests.kernelfiles import PACKERS, RELEASE, bzimage, deb_of, elf, flat, root, rpm, zboot

from holdfast.kernels.record import KernelPieces
from holdfast.kernels.unpack import open_kernel

SMALL = elf((".rodata", made.banner()))
ROOT = root(image=bzimage(SMALL, "gzip"))
IMAGES = [bzimage(SMALL, kind) for kind in PACKERS] + [zboot(flat(), "xz"), flat(), SMALL]
PACKAGES = {
    "deb": deb_of("linux-image", ROOT, kind=""),
    "deb, xz": deb_of("linux-image", ROOT),
    "rpm": rpm({name: data for name, data in ROOT.items() if name.startswith("boot")}, kind="gzip"),
    "tar": made.tar(ROOT),
    "tar, pax": made.tar(ROOT, form=tarfile.PAX_FORMAT),
}


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    """The bytes as a file, without a name that outlives it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "linux-image.deb"
        path.write_bytes(data)
        yield path
        assert os.listdir(folder) == [path.name], "something was written"  # noqa: PTH208


def whole(data: bytes) -> bool:
    """Whether a kernel is read out of these bytes; its modules are asked for, too."""
    with file_of(data) as path:
        pieces: KernelPieces | None = answer(open_kernel, path)
        for module in pieces.modules if pieces else ():
            answer(module.read)
        return pieces is not None


def test_the_seeds_are_right() -> None:
    assert all(map(whole, IMAGES))
    for name, data in PACKAGES.items():
        with file_of(data) as path:
            assert open_kernel(path).release == RELEASE, name


@BOUNDED
@given(damaged(*IMAGES))
def test_images(data: bytes) -> None:
    whole(data)


@BOUNDED
@given(damaged(*PACKAGES.values()))
def test_packages(data: bytes) -> None:
    whole(data)


@BOUNDED
@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=2000), st.booleans())
def test_anything_behind_a_magic_number(kind: str, tail: bytes, in_payload: bool) -> None:
    data = PACKERS[kind](b"")[:16] + tail
    whole(bzimage(data, "") if in_payload else data)


def summed(header: bytearray) -> None:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)


def test_tar_headers_that_fit_their_checksum() -> None:
    """Damage behind the checksum, which random damage hardly ever gets past."""
    dice = random.Random(3)
    forms = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    seeds = [made.tar({name: b"1", **ROOT}, form=form) for form in forms for name in ("x", "x" * 150)]
    read = 0
    for _ in range(300):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(0, len(data) - 1024, 512)
            header = data[at : at + 512]
            if b"ustar" in header:
                place = dice.choice((0, 1, 100, 124, 125, 130, 156, 157, 263, 345))
                value = dice.choice(
                    (b"\0", b"/", b"../", b"\xff" * 4, b"7777777", *(bytes([byte]) for byte in b"xLKg19"))
                )
                header[place : place + len(value)] = value
                summed(header)
                data[at : at + 512] = header
        read += whole(bytes(data))
    assert 0 < read < 300


def test_damage_inside_what_is_compressed() -> None:
    dice = random.Random(4)
    read = 0
    for _ in range(150):
        inner = bytearray(dice.choice((SMALL, flat(), made.tar(ROOT, prefix=""), made.cpio(ROOT))))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(min(len(inner), 2048)) & ~3
            inner[at : at + 4] = dice.choice(EXTREMES).to_bytes(4, "little")
        packed = PACKERS[dice.choice(("gzip", "zstd"))](bytes(inner))
        read += whole(packed)
    assert 0 < read < 150


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
def test_a_bomb_in_a_place_for_something_small(kind: str) -> None:
    zeros = bytes(16 << 20)
    assert not whole(bzimage(zeros, kind, said=1))
    builtin = f"usr/lib/modules/{RELEASE}/modules.builtin"
    assert not whole(deb_of("linux-image", {**ROOT, builtin: zeros}, kind=kind))
