# SPDX-License-Identifier: Apache-2.0
"""BPF objects: what an ELF file says, read without a kernel."""

from __future__ import annotations

from holdfast.elf.object import object_from_bytes, open_object
from holdfast.elf.spec import ExternSpec, MapSpec, ObjectSpec, ProgramSpec

__all__ = ["ExternSpec", "MapSpec", "ObjectSpec", "ProgramSpec", "object_from_bytes", "open_object"]
