# SPDX-License-Identifier: Apache-2.0
"""Whether a program or map type that a kernel knows is also compiled in, told without a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.kernels.answer import Answer
from holdfast.terms import MapType, ProgramType

if TYPE_CHECKING:
    from holdfast.kernels.facts import KernelFacts

__all__ = ["map_type", "program_type"]


def program_type(facts: KernelFacts, wanted: ProgramType) -> Answer | None:
    """The answer of config or a BTF sign, None when neither tells."""
    return None


def map_type(facts: KernelFacts, wanted: MapType) -> Answer | None:
    """The answer of config or a BTF sign, None when neither tells."""
    return None
