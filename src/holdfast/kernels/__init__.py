# SPDX-License-Identifier: Apache-2.0
"""What kernels offer: facts (pure), the running kernel, kernel files."""

from __future__ import annotations

# A booted guest asks little and must not pay for the rest: names are imported when they are used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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

_HOMES = {
    "Answer": "answer",
    "HelperUse": "probed",
    "HostFacts": "host",
    "KernelFacts": "facts",
    "KfuncFacts": "kfuncs",
    "KfuncUse": "probed",
    "Place": "facts",
    "ProbeFacts": "probed",
    "Registration": "kfuncs",
    "Wanted": "probed",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.kernels' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"holdfast.kernels.{_HOMES[name]}"), name)
    return value
