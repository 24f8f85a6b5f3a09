# SPDX-License-Identifier: Apache-2.0
"""What the rules may ask of the running kernel, gathered for tests."""

from __future__ import annotations

import functools
import gzip
import os
import re
from pathlib import Path

from holdfast import sys as kernel
from holdfast.btf import Btf
from holdfast.rules.btf_ask import FORBIDDEN_BY_LOCKDOWN, BtfAsk

__all__ = ["ask", "version_code"]


@functools.cache
def ask() -> BtfAsk:
    """The running kernel's BTF and configuration, and this process's capabilities. No release number."""
    config = Path("/proc/config.gz")
    options = None
    if config.exists():
        text = gzip.decompress(config.read_bytes()).decode()
        options = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.M))
    btf = Btf.from_bytes(Path("/sys/kernel/btf/vmlinux").read_bytes())
    level = kernel.lockdown()
    forbidden = FORBIDDEN_BY_LOCKDOWN[level.value] if level else None
    return BtfAsk(btf, options, kernel.capabilities(), forbidden)


def version_code() -> int:
    """LINUX_VERSION_CODE of the running kernel, which old kernels wanted of kprobe programs."""
    major, minor, patch = map(int, re.findall(r"\d+", os.uname().release)[:3])
    return (major << 16) + (minor << 8) + min(patch, 255)
