# SPDX-License-Identifier: Apache-2.0
"""virtio-net receive-side scaling for a multiqueue TAP: in the kernel by BPF, or here in Python.

::

    RssConfig ──> KernelSteering  writes the maps of a loaded bundle net/rss or net/rss-tunnel
              ├─> Steering        the fallback: the same answer for a frame, in user space
              └─> Reporting       reads the TAP: each frame with its hash (bundle net/rss-report)
    reference                     the specification once more, slowly, to compare both with
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.rss.config import RssConfig
    from holdfast.rss.fallback import Classified, Steering
    from holdfast.rss.kernel import KernelSteering
    from holdfast.rss.report import Received, Reporting, ReportReader, Rung
    from holdfast.rss.tap import MultiqueueTap
    from holdfast.rss.terms import ALL_TUNNELS, ALL_TYPES, HashReport, HashType, TunnelType

__all__ = [
    "ALL_TUNNELS",
    "ALL_TYPES",
    "Classified",
    "HashReport",
    "HashType",
    "KernelSteering",
    "MultiqueueTap",
    "Received",
    "ReportReader",
    "Reporting",
    "RssConfig",
    "Rung",
    "Steering",
    "TunnelType",
]

_HOMES = {
    "ALL_TUNNELS": "terms",
    "ALL_TYPES": "terms",
    "Classified": "fallback",
    "HashReport": "terms",
    "HashType": "terms",
    "KernelSteering": "kernel",
    "MultiqueueTap": "tap",
    "Received": "report",
    "ReportReader": "report",
    "Reporting": "report",
    "RssConfig": "config",
    "Rung": "report",
    "Steering": "fallback",
    "TunnelType": "terms",
}


def __getattr__(name: str) -> object:
    # PEP 562: the fallback must not cost an import of what only the kernel needs.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
