# SPDX-License-Identifier: Apache-2.0
"""What happened to kfuncs, and what that says of them: lives, grades, differences, contracts, hazards.

All of it works on the :class:`~holdfast.kernels.facts.KernelFacts` that are passed in.
"""

from __future__ import annotations

from holdfast.history.grades import Grade, Graded, grade, grade_on
from holdfast.history.life import KfuncLife, Lives, Sighting, Step

__all__ = ["Grade", "Graded", "KfuncLife", "Lives", "Sighting", "Step", "grade", "grade_on"]
