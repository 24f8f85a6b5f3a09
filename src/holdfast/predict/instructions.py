# SPDX-License-Identifier: Apache-2.0
"""Instructions that this kernel may not know: the verifier refuses them wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.elf.spec import ProgramSpec
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason
from holdfast.predict.relocated import Relocated

__all__ = ["instruction_reasons"]


def instruction_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """Features of the stream that the kernel lacks, or of which it cannot be told."""
    return iter(())
