# SPDX-License-Identifier: Apache-2.0
"""Kernel symbols and kfuncs that the object names: does libbpf resolve them."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.elf.spec import ExternKind, ExternSpec, ProgramSpec
from holdfast.predict.codes import HazardCode, ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.kfuncs import module_hint
from holdfast.predict.model import Hazard, Reason, Stage
from holdfast.predict.relocated import Relocated
from holdfast.relo.ksym import KsymResolution
from holdfast.terms import Evidence

__all__ = ["extern_hazards", "extern_reasons"]


def extern_reasons(loaded: Loaded) -> Iterator[Reason]:
    """Strong externs that are missing or incompatible: each stops the whole object, whichever program uses
    it.
    """
    for order, extern in enumerate(loaded.spec.externs):
        found = loaded.ksyms.get(extern.name)
        if found is None or (found.found is True and found.error is None):
            continue
        if found.error is not None:
            yield _refused(loaded, extern, found, order)
        elif found.found is None and not extern.weak:
            message = f"nothing tells whether this kernel has the symbol {extern.name}"
            yield Reason(
                ReasonCode.KSYM_UNKNOWN,
                f"ksym {extern.name}",
                message,
                Stage.EXTERNS,
                Evidence.NONE,
                certain=False,
                hint="check the running kernel: its /proc/kallsyms tells",
                order=order,
            )


def _refused(loaded: Loaded, extern: ExternSpec, found: KsymResolution, order: int) -> Reason:
    is_kfunc = extern.kind is ExternKind.KFUNC
    incompatible = found.actual is not None
    if incompatible:
        code = ReasonCode.KFUNC_INCOMPATIBLE if is_kfunc else ReasonCode.KSYM_INCOMPATIBLE
        message = f"the kernel has `{found.actual}` and the object expects `{found.expected}`"
        hint = "declare the other prototype too, as NAME___flavor __weak, and choose by bpf_ksym_exists()"
    else:
        code = ReasonCode.KFUNC_MISSING if is_kfunc else ReasonCode.KSYM_MISSING
        message = f"{extern.name} is not in the BTF of the kernel or its loaded modules"
        if extern.kind is ExternKind.KSYM_UNTYPED:
            message = f"libbpf finds no single symbol for it in /proc/kallsyms: {found.reason}"
        hint = "declare it __weak and guard each call by bpf_ksym_exists(), or load the module that has it"
        module = module_hint(loaded.facts, extern.name) if is_kfunc else None
        if module:
            hint = f"{module}, or declare it __weak and guard each call by bpf_ksym_exists()"
    word = "kfunc" if is_kfunc else "ksym"
    evidence = Evidence.BTF
    if extern.kind is ExternKind.KSYM_UNTYPED:
        evidence = Evidence.SYSTEM
        order += 1 << 20  # found last, with strong kconfig values that are not set
    return Reason(code, f"{word} {extern.name}", message, Stage.EXTERNS, evidence, True, None, hint, order)


def extern_hazards(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Hazard]:
    """kfuncs that libbpf takes although their prototype is not the one that the object was written for.

    libbpf compares the number of parameters and the BTF kinds alone (``bpf_core_types_are_compat()``).
    """
    for extern in loaded.spec.externs:
        found = loaded.ksyms.get(extern.name)
        slots = [r.slot for r in program.references if r.name == extern.name]
        if extern.kind is not ExternKind.KFUNC or found is None or not found.found or not slots:
            continue
        differs = found.actual and _scalars(found.expected) != _scalars(found.actual)
        if differs and any(slot in relocated.live for slot in slots):
            message = f"libbpf accepts the kernel's `{found.actual}` for the object's `{found.expected}`"
            yield Hazard(HazardCode.PROTOTYPE_DIFFERS, f"kfunc {extern.name}", message, Evidence.BTF)


_WIDTHS = {
    "u8": "u8", "__u8": "u8", "u16": "u16", "__u16": "u16", "u32": "u32", "__u32": "u32", "u64": "u64",
    "__u64": "u64", "s32": "int", "__s32": "int", "s64": "s64", "__s64": "s64", "size_t": "u64",
    "unsigned": "u32", "long": "s64", "int": "int", "bool": "bool", "_Bool": "bool", "void": "void",
}  # fmt: skip


def _scalars(text: str) -> list[str]:
    """The widths of a prototype's result and parameters, "" for all that is no plain number."""
    head, _, inside = text.removesuffix(";").partition("(")
    parts = [head.rsplit(" ", 1)[0], *inside.rstrip(")").split(", ")]
    return [_width(part) for part in parts]


def _width(part: str) -> str:
    words = [w for w in part.replace("*", " * ").split() if w not in ("const", "volatile", "extern")]
    if "*" in words or not words:
        return ""
    if words[:2] == ["long", "unsigned"] or words[:2] == ["unsigned", "long"]:
        return "u64"
    if words[:2] == ["unsigned", "int"]:
        return "u32"
    return _WIDTHS.get(words[0], "")
