# SPDX-License-Identifier: Apache-2.0
"""A sentence about each code that a case can have, for forms that explain codes themselves."""

from __future__ import annotations

from typing import Final

from holdfast.predict.codes import ReasonCode

__all__ = ["OWN_CODES", "code_text"]

R = ReasonCode

OWN_CODES: Final = {
    "INFRASTRUCTURE": "The kernel did not boot or the guest was lost; this says nothing about the program.",
    "NONE": "Nothing is said against the program, and yet it did not turn out so.",
}
"""Codes of cases that are no reason's."""

_TEXTS: Final[dict[ReasonCode, str]] = {
    R.OBJECT_REFUSED: "libbpf refuses the whole object when it opens it, on every kernel.",
    R.FOREIGN_ENDIAN: "The object has the other byte order than the kernel.",
    R.SECTION_MISSING: "The section's name says no program type that libbpf knows.",
    R.LINK_FAILED: "libbpf cannot put the program together with what it calls.",
    R.CAPABILITY_MISSING: "The process lacks a capability that the program needs.",
    R.POLICY_DENIED: "The machine's policy (lockdown, a security module) denies it.",
    R.KERNEL_BTF_MISSING: "The kernel has no BTF and the object needs it.",
    R.KCONFIG_MISSING: "A strong kconfig extern is not in the kernel's configuration.",
    R.KCONFIG_INCOMPATIBLE: "A kconfig extern has a type that the option's value does not fit.",
    R.KCONFIG_UNKNOWN: "The kernel's configuration is not known, and a kconfig extern asks for it.",
    R.KSYM_MISSING: "A strong ksym extern is not a symbol of the kernel.",
    R.KSYM_INCOMPATIBLE: "A typed ksym extern has another type in the kernel.",
    R.KSYM_UNKNOWN: "The kernel's symbols are not known, and a ksym extern asks for one.",
    R.KFUNC_MISSING: "A kfunc that the program calls is not in the kernel or its modules.",
    R.KFUNC_INCOMPATIBLE: "A kfunc has another prototype in the kernel.",
    R.KFUNC_NOT_ALLOWED: "The kernel has the kfunc but does not let this program call it.",
    R.KFUNC_UNKNOWN: "Nothing tells whether this program may call the kfunc.",
    R.STRUCT_OPS_MISSING: "The kernel has no struct_ops of that type.",
    R.STRUCT_OPS_MISMATCH: "A struct_ops map does not fit the kernel's type.",
    R.STRUCT_OPS_UNUSED: "The struct_ops program is in no map, so libbpf cannot tell what it is for.",
    R.CORE_INVALID: "A CO-RE relocation cannot be right on any kernel.",
    R.CORE_MISSING: "The code needs a field, type or enumerator that the kernel does not have.",
    R.MAP_TYPE_MISSING: "The kernel does not know the map's type.",
    R.MAP_TYPE_UNKNOWN: "Nothing tells whether the kernel knows the map's type.",
    R.MAP_INVALID: "The kernel refuses the map as it is declared.",
    R.MAP_UNKNOWN: "Nothing tells whether the kernel takes the map as it is declared.",
    R.TARGET_UNSET: "The program does not say what it attaches to, and that is asked for at load time.",
    R.TARGET_MISSING: "What the program attaches to is not in the kernel.",
    R.TARGET_REFUSED: "The kernel does not let programs attach to the target.",
    R.TARGET_UNKNOWN: "Nothing tells whether programs may attach to the target.",
    R.PROGRAM_TYPE_MISSING: "The kernel does not know the program's type.",
    R.PROGRAM_TYPE_UNKNOWN: "Nothing tells whether the kernel takes the program's type.",
    R.ATTACH_TYPE_MISSING: "The kernel does not know the program's attach type.",
    R.SLEEPABLE_REFUSED: "The kernel takes no sleepable program of this kind.",
    R.SLEEPABLE_UNKNOWN: "Nothing tells whether the kernel takes a sleepable program here.",
    R.LICENSE_REFUSED: "The program calls what only GPL-compatible programs may call.",
    R.INSTRUCTION_MISSING: "The kernel does not know an instruction that the program has.",
    R.INSTRUCTION_UNKNOWN: "Nothing tells whether the kernel knows an instruction.",
    R.HELPER_MISSING: "The kernel does not know a helper that the program calls.",
    R.HELPER_NOT_ALLOWED: "The kernel does not let programs of this type call the helper.",
    R.HELPER_UNKNOWN: "Nothing tells whether the program may call the helper.",
    R.CONTEXT_REFUSED: "The program reads or writes its context where the kernel does not allow it.",
    R.CONTEXT_UNKNOWN: "Nothing tells whether the kernel allows an access to the context.",
    R.TOO_LARGE: "The program has more instructions than the kernel takes.",
    R.LOAD_REFUSED: "libbpf or the kernel refused the program for a reason that was not predicted.",
}


def code_text(code: str) -> str:
    """The sentence; for a code that is none of ours, where to look."""
    if code in OWN_CODES:
        return OWN_CODES[code]
    try:
        return _TEXTS[ReasonCode(code)]
    except (ValueError, KeyError):
        return f"{code}: see docs/reasons.md of Holdfast."
