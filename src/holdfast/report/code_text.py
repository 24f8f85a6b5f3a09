# SPDX-License-Identifier: Apache-2.0
"""A sentence about each code that a case can have, for forms that explain codes themselves."""

from __future__ import annotations

from typing import Final

__all__ = ["OWN_CODES", "code_text"]

OWN_CODES: Final = {
    "INFRASTRUCTURE": "The kernel did not boot or the guest was lost; this says nothing about the program.",
    "NONE": "Nothing is said against the program, and yet it did not turn out so.",
}
"""Codes of cases that are no reason's."""

_TEXTS: Final[dict[str, str]] = {
    "OBJECT_REFUSED": "libbpf refuses the whole object when it opens it, on every kernel.",
    "FOREIGN_ENDIAN": "The object has the other byte order than the kernel.",
    "SECTION_MISSING": "The section's name says no program type that libbpf knows.",
    "LINK_FAILED": "libbpf cannot put the program together with what it calls.",
    "CAPABILITY_MISSING": "The process lacks a capability that the program needs.",
    "POLICY_DENIED": "The machine's policy (lockdown, a security module) denies it.",
    "KERNEL_BTF_MISSING": "The kernel has no BTF and the object needs it.",
    "KCONFIG_MISSING": "A strong kconfig extern is not in the kernel's configuration.",
    "KCONFIG_INCOMPATIBLE": "A kconfig extern has a type that the option's value does not fit.",
    "KCONFIG_UNKNOWN": "The kernel's configuration is not known, and a kconfig extern asks for it.",
    "KSYM_MISSING": "A strong ksym extern is not a symbol of the kernel.",
    "KSYM_INCOMPATIBLE": "A typed ksym extern has another type in the kernel.",
    "KSYM_UNKNOWN": "The kernel's symbols are not known, and a ksym extern asks for one.",
    "KFUNC_MISSING": "A kfunc that the program calls is not in the kernel or its modules.",
    "KFUNC_INCOMPATIBLE": "A kfunc has another prototype in the kernel.",
    "KFUNC_NOT_ALLOWED": "The kernel has the kfunc but does not let this program call it.",
    "KFUNC_UNKNOWN": "Nothing tells whether this program may call the kfunc.",
    "STRUCT_OPS_MISSING": "The kernel has no struct_ops of that type.",
    "STRUCT_OPS_MISMATCH": "A struct_ops map does not fit the kernel's type.",
    "STRUCT_OPS_UNUSED": "The struct_ops program is in no map, so libbpf cannot tell what it is for.",
    "CORE_INVALID": "A CO-RE relocation cannot be right on any kernel.",
    "CORE_MISSING": "The code needs a field, type or enumerator that the kernel does not have.",
    "MAP_TYPE_MISSING": "The kernel does not know the map's type.",
    "MAP_TYPE_UNKNOWN": "Nothing tells whether the kernel knows the map's type.",
    "MAP_INVALID": "The kernel refuses the map as it is declared.",
    "MAP_UNKNOWN": "Nothing tells whether the kernel takes the map as it is declared.",
    "TARGET_UNSET": "The program does not say what it attaches to, and that is asked for at load time.",
    "TARGET_MISSING": "What the program attaches to is not in the kernel.",
    "TARGET_REFUSED": "The kernel does not let programs attach to the target.",
    "TARGET_UNKNOWN": "Nothing tells whether programs may attach to the target.",
    "PROGRAM_TYPE_MISSING": "The kernel does not know the program's type.",
    "PROGRAM_TYPE_UNKNOWN": "Nothing tells whether the kernel takes the program's type.",
    "ATTACH_TYPE_MISSING": "The kernel does not know the program's attach type.",
    "SLEEPABLE_REFUSED": "The kernel takes no sleepable program of this kind.",
    "SLEEPABLE_UNKNOWN": "Nothing tells whether the kernel takes a sleepable program here.",
    "LICENSE_REFUSED": "The program calls what only GPL-compatible programs may call.",
    "INSTRUCTION_MISSING": "The kernel does not know an instruction that the program has.",
    "INSTRUCTION_UNKNOWN": "Nothing tells whether the kernel knows an instruction.",
    "HELPER_MISSING": "The kernel does not know a helper that the program calls.",
    "HELPER_NOT_ALLOWED": "The kernel does not let programs of this type call the helper.",
    "HELPER_UNKNOWN": "Nothing tells whether the program may call the helper.",
    "CONTEXT_REFUSED": "The program reads or writes its context where the kernel does not allow it.",
    "CONTEXT_UNKNOWN": "Nothing tells whether the kernel allows an access to the context.",
    "ACCESS_REFUSED": "The program reads or writes what the kernel does not let it.",
    "RESULT_REFUSED": "The program returns what the kernel does not take from its type.",
    "HELD_REFUSED": "The program keeps a reference, lock or section that it must give back.",
    "TOO_LARGE": "The program has more instructions than the kernel takes.",
    "LOAD_REFUSED": "libbpf or the kernel refused the program for a reason that was not predicted.",
}


def code_text(code: str) -> str:
    """The sentence; for a code that is none of ours, where to look."""
    if code in OWN_CODES:
        return OWN_CODES[code]
    return _TEXTS.get(code, f"{code}: see docs/reasons.md of Holdfast.")
