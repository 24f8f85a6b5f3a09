# SPDX-License-Identifier: Apache-2.0
"""Kernels of packages as they are booted, in the user's cache: unpacking takes longer than booting.

A folder for each package has ``vmlinux``, the modules that were asked for with all that they depend on, and
``kernel.json``, which is written last and without which the folder does not count.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.vm.boot import PORT_MODULES
from holdfast.vm.kernel import BootKernel
from holdfast.vm.modules import insertion

__all__ = ["boot_kernel"]

_META: Final = "kernel.json"
_KEEP: Final = 8  # kernels, of some 70 MB each


@dataclass(frozen=True, slots=True)
class _KeptModule:
    """A module in the cache (:class:`~holdfast.kernels.record.ModulePiece`)."""

    name: str
    path: str

    def read(self) -> bytes:
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise KernelFileError(self.path, f"it cannot be read: {error.strerror}", hint=_HINT) from None


_HINT: Final = "another process has cleared the cache; try again"


def boot_kernel(
    paths: Sequence[Path], modules: Collection[str], build: bytes, folder: Path | None
) -> BootKernel:
    """The kernel of a package and its other parts, out of ``folder`` where it is there already.

    ``build`` is a digest of the package. Of what is kept, only modules that are in ``modules``, or that those
    need, are there. A cache that cannot be written to is none. Raises
    :exc:`~holdfast.errors.KernelFileError`.
    """
    if folder is None:
        return BootKernel.from_path(paths[0], parts=paths[1:])
    home = folder / "kernels" / build.hex()[:32]
    wanted = frozenset(modules)
    kept, asked = _read(home)
    if kept is not None and wanted <= asked:
        return kept
    kernel = BootKernel.from_path(paths[0], parts=paths[1:])
    if isinstance(kernel.vmlinux, bytes) and kernel.boot_file() is kernel.vmlinux:
        try:
            _write(home, kernel, kernel.vmlinux, wanted | asked)
            _prune(home.parent)
        except OSError:
            pass  # no room, or not ours: it costs time alone
    return kernel


def _read(home: Path) -> tuple[BootKernel | None, frozenset[str]]:
    try:
        meta = json.loads((home / _META).read_text())
        names = [str(name) for name in meta["modules"]]
        kernel = BootKernel(
            str(meta["release"]),
            home / "vmlinux",
            None,
            meta["config"],
            tuple(_KeptModule(name, str(home / f"{name}.ko")) for name in names),
        )
        whole = (home / "vmlinux").stat().st_size == meta["size"]
        os.utime(home)
    except (OSError, ValueError, KeyError, TypeError):
        return None, frozenset()
    return (kernel, frozenset(meta["asked"])) if whole else (None, frozenset())


def _write(home: Path, kernel: BootKernel, vmlinux: bytes, asked: frozenset[str]) -> None:
    home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    order = insertion([*PORT_MODULES, *sorted(asked)], kernel.modules).order
    aside = Path(tempfile.mkdtemp(dir=home.parent, prefix=".new-"))
    try:
        (aside / "vmlinux").write_bytes(vmlinux)
        for name, image in order:
            (aside / f"{name}.ko").write_bytes(image)
        meta = {
            "release": kernel.release,
            "config": kernel.config,
            "size": len(vmlinux),
            "modules": [name for name, _ in order],
            "asked": sorted(asked),
        }
        (aside / _META).write_text(json.dumps(meta))
        shutil.rmtree(home, ignore_errors=True)
        aside.rename(home)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _prune(folder: Path) -> None:
    homes = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in homes[_KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
