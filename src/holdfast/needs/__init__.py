# SPDX-License-Identifier: Apache-2.0
"""What each program of an object requires of a kernel."""

from __future__ import annotations

from holdfast.needs.collect import needs_of_object, needs_of_program
from holdfast.needs.model import Need, NeedKind, ObjectNeeds, ProgramNeeds

__all__ = ["Need", "NeedKind", "ObjectNeeds", "ProgramNeeds", "needs_of_object", "needs_of_program"]
