# SPDX-License-Identifier: Apache-2.0
"""The upstream version of a distribution's kernel, as libbpf finds it for ``LINUX_KERNEL_VERSION``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["upstream_version"]

_DEBIAN: Final = re.compile(r"Debian (\d+\.\d+\.\d+)")
_UBUNTU: Final = re.compile(r"\S+\s+\S+\s+(\d+\.\d+\.\d+)")


def upstream_version(uname_version: str, signature: str = "") -> str:
    """``5.10.262`` of Debian's ``#1 SMP Debian 5.10.262-1 (2026-07-31)`` or of Ubuntu's version signature; ""
    where the release itself is the version.

    ``uname_version`` is what ``uname -v`` says, ``signature`` the text of /proc/version_signature
    (CONFIG_VERSION_SIGNATURE). ``get_kernel_version()`` of libbpf asks the signature first.
    """
    found = _UBUNTU.match(signature) or _DEBIAN.search(uname_version)
    return found[1] if found else ""
