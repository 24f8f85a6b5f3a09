# SPDX-License-Identifier: Apache-2.0
"""What kernels offer: facts (pure), the running kernel, kernel files."""

from __future__ import annotations

from holdfast.kernels.answer import Answer
from holdfast.kernels.facts import KernelFacts, Place
from holdfast.kernels.host import HostFacts
from holdfast.kernels.kfuncs import KfuncFacts, Registration
from holdfast.kernels.probed import HelperUse, KfuncUse, ProbeFacts, Wanted

__all__ = [
    "Answer",
    "HelperUse",
    "HostFacts",
    "KernelFacts",
    "KfuncFacts",
    "KfuncUse",
    "Place",
    "ProbeFacts",
    "Registration",
    "Wanted",
]
