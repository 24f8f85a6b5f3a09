# SPDX-License-Identifier: Apache-2.0
"""Facts of the running kernel, asked for just what some objects need."""

from __future__ import annotations

from holdfast.elf.spec import ObjectSpec
from holdfast.kernels import live
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.wanted import wanted

__all__ = ["live_facts"]


def live_facts(*specs: ObjectSpec) -> KernelFacts:
    """Facts of the running kernel; what ``specs`` use is asked of it by probe where the cache does not know.

    With CAP_BPF tiny programs and maps are loaded and closed again; without it the probes answer nothing.
    Raises :exc:`~holdfast.errors.KernelAccessError` for a kernel that shows no BTF.
    """
    return live.facts(wanted(specs))
