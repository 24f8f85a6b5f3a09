# SPDX-License-Identifier: Apache-2.0
"""Which functions and program types demand a GPL-compatible license."""

from __future__ import annotations

from typing import Final

from holdfast.elf.spec import ExternKind, ObjectSpec, ProgramSpec, ReferenceKind
from holdfast.needs.model import LicenseNeed
from holdfast.rules.gpl import gpl_only
from holdfast.rules.helpers import helper_name
from holdfast.terms import ProgramType

__all__ = ["is_gpl_compatible", "license_need"]

GPL_COMPATIBLE: Final = frozenset(  # license_is_gpl_compatible() in include/linux/license.h
    {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
)
# bpf_check_attach_target() refuses LSM programs ("LSM programs must have a GPL compatible license",
# bpf_lsm.c) and check_struct_ops_btf_id() struct_ops ones
_TYPES: Final = frozenset({ProgramType.LSM, ProgramType.STRUCT_OPS})


def is_gpl_compatible(license_: str) -> bool:
    """Whether the kernel takes this license string for GPL-compatible."""
    return license_ in GPL_COMPATIBLE


def license_need(spec: ObjectSpec, program: ProgramSpec) -> LicenseNeed | None:
    """The demand for a GPL-compatible license, None when nothing in the program makes it."""
    numbers = {insn.imm for insn in program.insns if insn.is_helper_call}
    demanding = [helper_name(number) for number in sorted(numbers) if gpl_only(number)]
    calls = {r.name for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    # every kfunc call: "cannot call kernel function from non-GPL compatible program" (verifier.c)
    demanding += [e.name for e in spec.externs if e.kind is ExternKind.KFUNC and e.name in calls]
    if program.type in _TYPES:
        demanding.insert(0, f"program type {program.type.name}")
    if not demanding:
        return None
    compatible = is_gpl_compatible(spec.license)
    return LicenseNeed(
        name="GPL-compatible license",
        license=spec.license,
        compatible=compatible,
        demanded_by=tuple(demanding),
    )
