# SPDX-License-Identifier: Apache-2.0
"""The binding to libbpf: find it, call it, keep what it says."""

from __future__ import annotations

from holdfast.libbpf.discover import BUNDLED, Candidate, Origin, find
from holdfast.libbpf.library import Library, bundled_version, errno_text, library
from holdfast.libbpf.printing import Level, Message, Messages

__all__ = [
    "BUNDLED",
    "Candidate",
    "Level",
    "Library",
    "Message",
    "Messages",
    "Origin",
    "bundled_version",
    "errno_text",
    "find",
    "library",
]
