# SPDX-License-Identifier: Apache-2.0
"""Kernels out of the files they come in: images, packages, folders.

:func:`open_kernel` gives everything that can be read without booting, :func:`boot_image` and
:func:`vmlinux_of` what is needed to boot. Nothing is ever extracted to disk, and no file, however it is made,
raises anything but :exc:`~holdfast.errors.KernelFileError` or takes more than
:mod:`~holdfast.kernels.unpack.limits` allows.
"""

from __future__ import annotations

from holdfast.kernels.unpack.door import boot_image, open_kernel, vmlinux_of
from holdfast.kernels.unpack.gather import BootImage
from holdfast.kernels.unpack.modules import may_register, scan

__all__ = ["BootImage", "boot_image", "may_register", "open_kernel", "scan", "vmlinux_of"]
