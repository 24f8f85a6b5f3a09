# SPDX-License-Identifier: Apache-2.0
"""The verifier's walk: which live instruction it would refuse, as far as facts can tell.

Instructions in code that is dead on this kernel are not judged, as the verifier does not reach them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from holdfast.elf.spec import ProgramSpec, ReferenceKind
from holdfast.insn.instruction import CALL
from holdfast.needs.collect import helper_calls
from holdfast.needs.licenses import is_gpl_compatible
from holdfast.predict.arguments import refused_accesses
from holdfast.predict.codes import HazardCode, ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.held import left_held, null_arguments, unchecked_results
from holdfast.predict.kfuncs import kfunc_reasons
from holdfast.predict.map_use import exchanged
from holdfast.predict.model import Hazard, Reason, walk_reason
from holdfast.predict.pointers import refused_reads, unlicensed_reads
from holdfast.predict.questions import Questions
from holdfast.predict.relocated import Relocated
from holdfast.predict.results import refused_results
from holdfast.predict.struct_ops import member_of
from holdfast.predict.targets import target_function
from holdfast.rules import helpers
from holdfast.rules.arguments import AFTERWARDS
from holdfast.rules.ask import Allowed, Ruling
from holdfast.rules.gpl import gpl_only
from holdfast.terms import AttachType, Evidence, ProgramType

__all__ = ["assumed_hazards", "walk_reasons"]


_KPTR_XCHG: Final = ("helper", 194)


def walk_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """Reasons that the verifier would give, in the order in which it meets them.

    What is asked for is judged first and wherever it stands; which of it is live and what comes first is
    worked out only for what is refused, which is little or nothing.
    """
    asked = relocated.remember("asked", lambda: list(_asked(program, relocated)))
    judged = [(slots, list(_judge(loaded, program, relocated, what, slots[0]))) for what, slots in asked]
    refused = [(slots, reasons, 0) for slots, reasons in judged if reasons]
    for ruling, slots in refused_accesses(loaded, program, relocated):
        late = len(relocated.insns) if ruling.source == AFTERWARDS else 0
        refused.append((slots, [_context(ruling)], late))
    for ruling, slots in refused_reads(loaded, program, relocated):
        refused.append((slots, [_access(ruling)], 0))
    for ruling, slots in unlicensed_reads(loaded, program, relocated):
        hint = 'a license section with "GPL" or one of the dual licenses'
        reason = walk_reason(ReasonCode.LICENSE_REFUSED, "license", ruling.told, Evidence.RULE, hint=hint)
        refused.append((slots, [reason], 0))
    calls = relocated.remember("calls", lambda: {what: s for what, s in asked if what[0] != "CO-RE"})
    for ruling, slots in left_held(loaded, program, relocated, calls):
        refused.append((slots, [_held(ruling)], 0))
    if _KPTR_XCHG in calls:
        ruling = exchanged(loaded, program)
        if ruling.allowed is Allowed.NO:
            reason = walk_reason(ReasonCode.MAP_INVALID, "kptr", ruling.told, Evidence.RULE)
            refused.append((calls[_KPTR_XCHG], [reason], 0))
    for ruling, slots in null_arguments(loaded, program, relocated, calls):
        refused.append((slots, [_access(ruling)], 0))
    for ruling, slots in unchecked_results(loaded, program, relocated, calls):
        refused.append((slots, [_access(ruling)], 0))
    for ruling, slots in refused_results(loaded, program, relocated, calls):
        refused.append((slots, [_result(ruling)], 0))
    if not refused:
        return
    order = relocated.order
    for slots, reasons, late in refused:
        live = [slot for slot in slots if slot in order]
        if live:
            first = min(live, key=order.__getitem__)
            for reason in reasons:
                yield replace(reason, source=program.source_at(first), order=order[first] + late)


_Asked = tuple[str, object]


def _asked(program: ProgramSpec, relocated: Relocated) -> Iterator[tuple[_Asked, list[int]]]:
    """(what, slots) for each poisoned relocation, kfunc and helper of the stream."""
    found: dict[_Asked, list[int]] = {}
    kfuncs = {r.slot: r.name for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    for slot, insn in enumerate(relocated.insns):
        if slot in relocated.poisons:
            found.setdefault(("CO-RE", relocated.poisons[slot].relo), []).append(slot)
        elif insn[0] == CALL:
            if slot in kfuncs:
                found.setdefault(("kfunc", kfuncs[slot]), []).append(slot)
            elif insn.is_helper_call:
                found.setdefault(("helper", insn.imm), []).append(slot)
    yield from found.items()


def _judge(
    loaded: Loaded, program: ProgramSpec, relocated: Relocated, what: _Asked, slot: int
) -> Iterator[Reason]:
    kind, name = what
    if kind == "CO-RE":
        poison = relocated.poisons[slot]
        yield walk_reason(
            ReasonCode.CORE_MISSING,
            f"CO-RE {poison.spec}",
            poison.missing or poison.warning or "the kernel has no match for it",
            Evidence.BTF,
            hint="guard it by bpf_core_field_exists() or the like, or offer another variant",
        )
    elif kind == "kfunc":
        assert isinstance(name, str)
        yield from kfunc_reasons(loaded, program, relocated.insns, name, slot)
    else:
        assert isinstance(name, int)
        yield from _helper(loaded, program, name)


def assumed_hazards(loaded: Loaded, program: ProgramSpec) -> Iterator[Hazard]:
    """Helpers that lockdown may forbid, where nobody could see the lockdown."""
    for number, slots in sorted(helper_calls(program).items()):
        ruling = _ruling(loaded, program, number, is_gpl_compatible(loaded.spec.license))
        if ruling.allowed is Allowed.YES and ruling.assumes:
            reasons = " and ".join(f"LOCKDOWN_{name}" for name in ruling.assumes)
            yield Hazard(
                HazardCode.ASSUMED,
                f"helper {helpers.helper_name(number)}",
                f"it is taken for granted that lockdown does not forbid {reasons}",
                Evidence.RULE,
                program.source_at(slots[0]),
            )


def _context(ruling: Ruling) -> Reason:
    certain = ruling.allowed is Allowed.NO
    return walk_reason(
        ReasonCode.CONTEXT_REFUSED if certain else ReasonCode.CONTEXT_UNKNOWN,
        "context",
        ruling.told,
        Evidence.BTF,
        certain=certain,
        hint="choose by the target's BTF (bpf_core_type_matches()), not by the kernel's version",
    )


def _access(ruling: Ruling) -> Reason:
    return walk_reason(
        ReasonCode.ACCESS_REFUSED,
        "access",
        ruling.told,
        Evidence.BTF,
        hint="declare the struct with preserve_access_index for CO-RE, and ask whether a pointer is null",
    )


def _held(ruling: Ruling) -> Reason:
    return walk_reason(
        ReasonCode.HELD_REFUSED,
        "what is held",
        ruling.told,
        Evidence.RULE,
        hint="give it back on every way out, and before what may not be done while it is held",
    )


def _result(ruling: Ruling) -> Reason:
    return walk_reason(
        ReasonCode.RESULT_REFUSED,
        "return value",
        ruling.told,
        Evidence.RULE,
        hint="return what the section's programs may return; docs of the section name the values",
    )


def _helper(loaded: Loaded, program: ProgramSpec, number: int) -> Iterator[Reason]:
    target = _target(loaded, program)
    kind = (program.type, program.attach_type, program.sleepable)
    yield from loaded.facts.conclude(_helper_reasons, number, *kind, loaded.spec.license, target)


def _helper_reasons(
    facts: Questions,
    number: int,
    program_type: ProgramType,
    attach_type: AttachType | None,
    sleepable: bool,
    licence: str,
    target: str | None,
) -> Iterator[Reason]:
    name = helpers.helper_name(number)
    need = f"helper {name}"
    gpl = is_gpl_compatible(licence)
    kind = (program_type, attach_type, sleepable)
    ruling = facts.rule(helpers.callable_from, number, *kind, gpl_compatible=gpl, target=target)
    probed = facts.helper(number, program_type, attach_type)
    if probed.evidence is Evidence.PROBE and probed.value is True and ruling.allowed is Allowed.UNKNOWN:
        return
    if probed.evidence is Evidence.PROBE and probed.value is False:
        message = f"a {program_type.name} program may not call it: {probed.note}"
        yield walk_reason(ReasonCode.HELPER_NOT_ALLOWED, need, message, probed.evidence)
        return
    if ruling.allowed is Allowed.YES:
        return
    known = facts.helper_known(number)
    if known.value is False:
        hint = "offer a variant that does without it"
        message = ruling.told if ruling.allowed is Allowed.NO else known.note
        yield walk_reason(ReasonCode.HELPER_MISSING, need, message, known.evidence, hint=hint)
    elif not gpl and gpl_only(number):
        message = f"it is for GPL-compatible programs, and the object's license is {licence!r}"
        yield walk_reason(ReasonCode.LICENSE_REFUSED, need, message, Evidence.RULE)
    elif ruling.allowed is Allowed.NO:
        message = ruling.told
        yield walk_reason(ReasonCode.HELPER_NOT_ALLOWED, need, message, Evidence.RULE)
    else:
        message = ruling.told
        yield walk_reason(ReasonCode.HELPER_UNKNOWN, need, message, Evidence.NONE, certain=False)


def _ruling(loaded: Loaded, program: ProgramSpec, number: int, gpl: bool) -> Ruling:
    target = _target(loaded, program)
    kind = (program.type, program.attach_type, program.sleepable)
    return loaded.facts.rule(helpers.callable_from, number, *kind, gpl_compatible=gpl, target=target)


def _target(loaded: Loaded, program: ProgramSpec) -> str | None:
    member = member_of(loaded.spec, program)
    return ".".join(member) if member else target_function(program)
