# SPDX-License-Identifier: Apache-2.0
"""Addresses of kernel symbols that libbpf found in BTF: the verifier looks them up in kallsyms."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.btf import essential_name
from holdfast.elf.spec import ExternKind, ExternSpec, ProgramSpec, ReferenceKind
from holdfast.kernels.answer import Answer
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.rules.ask import Ask
from holdfast.rules.eras import since
from holdfast.terms import Evidence

__all__ = ["address_reasons"]


def address_reasons(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    """Symbols without an address (``check_pseudo_btf_id()``, trees 5.10 to 6.18): the verifier wants it of
    every instruction that names one, reached or not.
    """
    seen: set[str] = set()
    for reference in program.references:
        found = loaded.ksyms.get(reference.name)
        if reference.kind is not ReferenceKind.EXTERN or found is None or reference.name in seen:
            continue
        extern = loaded.spec.extern(reference.name)
        if extern is None or extern.kind is ExternKind.KSYM_UNTYPED or not found.found or found.error:
            continue
        seen.add(reference.name)
        if extern.kind is ExternKind.KFUNC and loaded.facts.rule(_takes_functions) is False:
            yield Reason(
                ReasonCode.KSYM_INCOMPATIBLE,
                f"ksym {extern.name}",
                "the program takes the address of a function, and this kernel lets it take those of "
                "variables alone (check_pseudo_btf_id before 58aa2afbb1e6, 6.4)",
                Stage.VERIFIER,
                Evidence.BTF,
                True,
                program.source_at(reference.slot),
                "do not ask for a kfunc by bpf_ksym_exists() that 6.1 has: call it in a variant of its own",
            )
            continue
        answer = _address(loaded.facts, extern)
        if answer.value is True:
            continue
        certain = answer.value is False
        what = "has no address for it" if certain else "may have no address for it"
        yield Reason(
            ReasonCode.KSYM_MISSING if certain else ReasonCode.KSYM_UNKNOWN,
            f"ksym {extern.name}",
            f"BTF has it, and the kernel {what}: {answer.note}",
            Stage.VERIFIER,
            answer.evidence,
            certain,
            program.source_at(reference.slot),
            "a kernel with CONFIG_KALLSYMS_ALL; __weak does not help, since BTF has the variable",
        )


def _takes_functions(ask: Ask) -> bool | None:
    return since(ask, (6, 4))


def _address(facts: KernelFacts, extern: ExternSpec) -> Answer:
    name = essential_name(extern.name)
    listed = facts.symbol(name)
    if extern.kind is ExternKind.KFUNC and listed.value is False:
        place = facts.function(name)
        if place is not None and place.module is not None:  # a kernel's own list has none of modules
            listed = Answer(None, listed.evidence)
    if listed.value is not None:
        return listed
    if extern.kind is ExternKind.KFUNC:
        return Answer(True, listed.evidence, "kallsyms lists every function that BPF may call")
    return facts.config_enabled("CONFIG_KALLSYMS_ALL")
