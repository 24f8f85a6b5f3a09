# SPDX-License-Identifier: Apache-2.0
"""What a kernel must have to be a guest."""

from __future__ import annotations

import pytest

from holdfast.errors import KernelFileError
from holdfast.vm.required import require

CONFIG = "".join(
    f"CONFIG_{name}=y\n"
    for name in ("BLK_DEV_INITRD", "BINFMT_ELF", "BINFMT_SCRIPT", "DEVTMPFS", "PROC_FS", "SYSFS")
)
MODULES = CONFIG + "CONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_CONSOLE=m\n"


def test_a_kernel_that_has_all() -> None:
    require("k", None, ())
    require("k", CONFIG + "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=y\n", ())
    require("k", MODULES, {"virtio_pci", "virtio_console", "tun"})


def test_drivers_that_are_not_built_are_named() -> None:
    config = CONFIG.replace("BINFMT_SCRIPT=y", "BINFMT_SCRIPT=m") + "CONFIG_VIRTIO_PCI=y\n"
    with pytest.raises(KernelFileError, match="CONFIG_BINFMT_SCRIPT, CONFIG_VIRTIO_CONSOLE, which a guest"):
        require("k", config, ())


def test_modules_that_are_not_here_are_named() -> None:
    with pytest.raises(KernelFileError, match="needs virtio_console, which this build has as modules") as one:
        require("k", MODULES, {"virtio_pci"})
    assert one.value.hint is not None and "modules" in one.value.hint
