# SPDX-License-Identifier: Apache-2.0
"""Whether KVM works here, found out by booting with it: /dev/kvm may be there and no guest get anywhere.

What was found out holds until the machine boots again.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.kernels.cache import Cache, digest, folder

__all__ = ["forget_kvm", "kvm_is_proven", "may_use_kvm", "prove_kvm", "why_not_kvm"]

_DEVICE = Path("/dev/kvm")


def may_use_kvm() -> bool:
    """Return whether KVM is worth a try: it can be opened and has not failed since the machine booted."""
    return os.access(_DEVICE, os.R_OK | os.W_OK) and _known() != b"no"


def why_not_kvm() -> str:
    """Return why guests are booted without KVM, for people; "" where they are not."""
    if not _DEVICE.exists():
        return f"there is no {_DEVICE}"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} may not be opened"
    return "" if _known() != b"no" else f"{_DEVICE} is there, but no guest gets anywhere with it"


def kvm_is_proven() -> bool:
    """Return whether a guest has reached user space with KVM since the machine booted."""
    return _known() == b"yes"


def prove_kvm() -> None:
    """Remember that a guest reached user space with KVM."""
    if not kvm_is_proven():
        _cache().put(_name(), b"yes")


def forget_kvm() -> None:
    """Remember that a kernel which boots without KVM did not get there with it."""
    _cache().put(_name(), b"no")


def _known() -> bytes:
    found = _cache().get(_name())
    return b"" if found is None else bytes(found)


def _cache() -> Cache:
    home = folder()
    return Cache(None if home is None else home / "vm")


def _name() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        boot = ""
    return digest("kvm", boot) + ".kvm"
