# SPDX-License-Identifier: Apache-2.0
"""What a kernel must have to be a guest, told from its configuration before it is booted in vain."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from holdfast.errors import KernelFileError

__all__ = ["require"]

# Without these the kernel does not get to process 1 of a guest's root, a script of an interpreter.
_BUILT_IN: Final = ("BLK_DEV_INITRD", "BINFMT_ELF", "BINFMT_SCRIPT", "DEVTMPFS", "PROC_FS", "SYSFS")
# The port that jobs come over. Another channel would do, at a hundredth of its speed; every kernel of a
# distribution has this one.
_PORT: Final = {"VIRTIO_PCI": "virtio_pci", "VIRTIO_CONSOLE": "virtio_console"}


def require(release: str, config: str | None, modules: Collection[str]) -> None:
    """Raise :exc:`~holdfast.errors.KernelFileError` for a kernel that lacks what a guest needs.

    ``config`` is the text of its configuration; without it nothing is known, and nothing is raised.
    ``modules`` are the names of those that came with it, with ``_`` for ``-``.
    """
    if config is None:
        return
    chosen = dict(re.findall(r"^CONFIG_(\w+)=([ym])$", config, re.M))
    missing = [name for name in _BUILT_IN if chosen.get(name) != "y"]
    missing += [name for name in _PORT if name not in chosen]
    if missing:
        names = ", ".join(f"CONFIG_{name}" for name in missing)
        raise KernelFileError(
            release, f"it is built without {names}, which a guest needs", hint="boot a kernel that has it"
        )
    apart = [module for name, module in _PORT.items() if chosen[name] == "m" and module not in modules]
    if apart:
        raise KernelFileError(
            release,
            f"a guest needs {' and '.join(apart)}, which this build has as modules, and they are not here",
            hint="name the package or the folder that has the kernel's modules, too",
        )
