# SPDX-License-Identifier: Apache-2.0
"""Which file of a kernel is booted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from holdfast.errors import KernelFileError
from holdfast.kernels.record import KernelPieces
from holdfast.vm.kernel import BootKernel, enters_by_pvh

HEADER = 64 + 56


def vmlinux(*kinds: int) -> bytes:
    """Return an ELF file with a note of Xen's of each kind, after one of another owner."""
    notes = struct.pack("<III", 6, 5, 18) + b"Linux\0\0\0" + b"12345\0\0\0"
    notes += b"".join(struct.pack("<III", 4, 8, kind) + b"Xen\0" + bytes(8) for kind in kinds)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 4, 4, HEADER, 0, 0, len(notes), len(notes), 4) + notes


def test_the_note_is_found(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(vmlinux(6, 18, 3))
    assert enters_by_pvh(path) and enters_by_pvh(vmlinux(18))
    assert not enters_by_pvh(vmlinux(6, 3))
    assert not enters_by_pvh(b"\x7fELF") and not enters_by_pvh(b"") and not enters_by_pvh(tmp_path / "absent")
    for cut in range(len(vmlinux(6, 18))):
        enters_by_pvh(vmlinux(6, 18)[:cut])


def test_the_unpacked_kernel_is_preferred_where_it_can_be_entered() -> None:
    assert BootKernel("6.12", vmlinux(18), b"image").boot_file() == vmlinux(18)
    assert BootKernel("6.12", vmlinux(6), b"image").boot_file() == b"image"
    assert BootKernel("6.12", None, b"image").boot_file() == b"image"


def test_nothing_to_boot() -> None:
    with pytest.raises(KernelFileError, match="CONFIG_PVH"):
        BootKernel("6.12", vmlinux(6)).boot_file()
    with pytest.raises(KernelFileError, match="neither a vmlinux nor a vmlinuz"):
        BootKernel("6.12").boot_file()


def test_pieces_of_another_architecture() -> None:
    with pytest.raises(KernelFileError, match="aarch64"):
        BootKernel.from_pieces(KernelPieces("p.deb", "6.12", "aarch64", b""))
    kernel = BootKernel.from_pieces(KernelPieces("p.deb", "6.12", "x86_64", vmlinux(18), "CONFIG_BPF=y\n"))
    assert (kernel.release, kernel.config) == ("6.12", "CONFIG_BPF=y\n")
    assert kernel.boot_file() == vmlinux(18)
