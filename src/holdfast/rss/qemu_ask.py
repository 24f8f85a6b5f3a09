# SPDX-License-Identifier: Apache-2.0
"""What a QEMU's devices have for properties, by asking it: a version says little, builds leave things out."""

from __future__ import annotations

import re
import shutil
import subprocess

from holdfast.errors import UsageError

__all__ = ["FDS", "find", "properties"]

FDS = "ebpf-rss-fds"
"""The property that takes the descriptors."""

_PATIENCE = 30.0  # seconds; it answers in a tenth of one
_PROPERTY = re.compile(r"^\s+([\w.\[\]-]+)=<([^>]*)>", re.MULTILINE)


def find(program: str) -> str:
    """Returns the path of the program. Raises :class:`~holdfast.errors.UsageError` where there is none."""
    path = shutil.which(program)
    if path is None:
        raise UsageError(f"{program}: no such command", hint="install QEMU, or name it with its path")
    return path


def properties(path: str, driver: str) -> dict[str, str]:
    """Returns QEMU's word for the type of each of a device's properties (``bool``, ``uint16`` ...), by name.

    Raises :class:`~holdfast.errors.UsageError` where QEMU does not know the device, or does not answer, or
    cannot be given descriptors for RSS.
    """
    try:
        said = subprocess.run(
            [path, "-device", f"{driver},help"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{path} cannot be asked for its devices: {error}") from None
    found = dict(_PROPERTY.findall(said.stdout))
    if said.returncode or not found:
        words = (said.stderr.strip() or said.stdout.strip() or "it says nothing").splitlines()[-1]
        raise UsageError(f"{path} has no device {driver}: {words}")
    if FDS not in found:
        raise UsageError(
            f"{path}: its {driver} takes no descriptors for RSS (property {FDS})",
            hint="use QEMU 9.0 or newer, or start it without holdfast: it then hashes by itself (rss=on)",
        )
    return found
