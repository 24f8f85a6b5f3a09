# SPDX-License-Identifier: Apache-2.0
"""The verifier's walk: which live instruction it would refuse, as far as facts can tell.

Instructions in code that is dead on this kernel are not judged, as the verifier does not reach them.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.elf.spec import ProgramSpec, ReferenceKind
from holdfast.insn.features import InsnFeature, first_slots
from holdfast.needs.licenses import is_gpl_compatible
from holdfast.needs.stream import static_starts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.predict.order import visit_order
from holdfast.predict.relocated import Relocated
from holdfast.predict.targets import target_function
from holdfast.rules import helpers
from holdfast.rules.ask import Allowed, Ruling
from holdfast.rules.gpl import gpl_only
from holdfast.terms import Evidence, ProgramType

__all__ = ["walk_reasons"]

MAX_INSNS = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, v5.2


def walk_reasons(loaded: Loaded, program: ProgramSpec, relocated: Relocated) -> Iterator[Reason]:
    """Reasons that the verifier would give, in the order in which it meets them."""
    order = visit_order(relocated.insns, relocated.live, static_starts(program))
    kfuncs = {r.slot: r.name for r in program.references if r.kind is ReferenceKind.KFUNC_CALL}
    seen: set[tuple[str, object]] = set()
    for position, slot in enumerate(order):
        poison = relocated.poisons.get(slot)
        if poison is not None:
            if ("core", poison.relo) not in seen:
                seen.add(("core", poison.relo))
                message = poison.missing or poison.warning or "the kernel has no match for it"
                yield _reason(
                    ReasonCode.CORE_MISSING,
                    f"CO-RE {poison.spec}",
                    message,
                    program.source_at(slot),
                    position,
                    Evidence.BTF,
                    hint="guard it by bpf_core_field_exists() or the like, or offer another variant",
                )
            continue
        insn = relocated.insns[slot]
        if slot in kfuncs:
            key: tuple[str, object] = ("kfunc", kfuncs[slot])
            if key not in seen:
                seen.add(key)
                yield from _kfunc(loaded, program, kfuncs[slot], slot, position)
        elif insn.is_helper_call and ("helper", insn.imm) not in seen:
            seen.add(("helper", insn.imm))
            yield from _helper(loaded, program, insn.imm, slot, position)
    if len(relocated.insns) > MAX_INSNS:
        message = f"{len(relocated.insns)} instructions, and no kernel takes more than {MAX_INSNS}"
        yield _reason(ReasonCode.TOO_LARGE, "size", message, None, 0, Evidence.RULE)


def _reason(
    code: ReasonCode,
    need: str,
    message: str,
    source: str | None,
    position: int,
    evidence: Evidence,
    *,
    certain: bool = True,
    hint: str | None = None,
) -> Reason:
    return Reason(code, need, message, Stage.VERIFIER_WALK, evidence, certain, source, hint, position)


def _kfunc(loaded: Loaded, program: ProgramSpec, name: str, slot: int, position: int) -> Iterator[Reason]:
    found = loaded.ksyms.get(name)
    need, source = f"kfunc {name}", program.source_at(slot)
    if found is None or found.error is not None:
        return  # said at an earlier stage: the object does not get here
    if found.found is not True:
        message = f"its call is not guarded: {found.reason or 'the kernel does not have it'}"
        code = ReasonCode.KFUNC_INCOMPATIBLE if found.actual else ReasonCode.KFUNC_MISSING
        hint = "guard the call by bpf_ksym_exists()"
        yield _reason(code, need, message, source, position, Evidence.BTF, hint=hint)
        return
    if not is_gpl_compatible(loaded.spec.license):
        message = (
            f"kfuncs are for GPL-compatible programs, and the object's license is {loaded.spec.license!r}"
        )
        yield _reason(ReasonCode.LICENSE_REFUSED, need, message, source, position, Evidence.RULE)
    real = name if loaded.facts.function(name) else found.name
    from holdfast.btf import essential_name

    real = essential_name(real)
    answer = loaded.facts.kfunc_callable(real, program.type, program.attach_type, program.sleepable)
    if answer.value is False:
        message = f"a {program.type.name} program may not call it: {answer.note}"
        yield _reason(ReasonCode.KFUNC_NOT_ALLOWED, need, message, source, position, answer.evidence)
    elif answer.value is None:
        message = f"whether a {program.type.name} program may call it cannot be told: {answer.note}"
        hint = "check the running kernel as root: a probe tells"
        yield _reason(
            ReasonCode.KFUNC_UNKNOWN,
            need,
            message,
            source,
            position,
            answer.evidence,
            certain=False,
            hint=hint,
        )


def _helper(loaded: Loaded, program: ProgramSpec, number: int, slot: int, position: int) -> Iterator[Reason]:
    name = helpers.helper_name(number)
    need, source = f"helper {name}", program.source_at(slot)
    gpl = is_gpl_compatible(loaded.spec.license)
    ruling = _ruling(loaded, program, number, gpl)
    probed = loaded.facts.helper(number, program.type, program.attach_type)
    if probed.evidence is Evidence.PROBE and probed.value is True and ruling.allowed is Allowed.UNKNOWN:
        return
    if probed.evidence is Evidence.PROBE and probed.value is False:
        message = f"a {program.type.name} program may not call it: {probed.note}"
        yield _reason(ReasonCode.HELPER_NOT_ALLOWED, need, message, source, position, probed.evidence)
        return
    if ruling.allowed is Allowed.YES:
        return
    if not gpl and gpl_only(number):
        message = f"it is for GPL-compatible programs, and the object's license is {loaded.spec.license!r}"
        yield _reason(ReasonCode.LICENSE_REFUSED, need, message, source, position, Evidence.RULE)
    elif ruling.allowed is Allowed.NO:
        missing = loaded.facts.helper_known(number).value is False
        code = ReasonCode.HELPER_MISSING if missing else ReasonCode.HELPER_NOT_ALLOWED
        evidence = Evidence.BTF if missing else Evidence.RULE
        message = f"{ruling.why} ({ruling.source})"
        hint = "offer a variant that does without it" if missing else None
        yield _reason(code, need, message, source, position, evidence, hint=hint)
    else:
        message = f"{ruling.why} ({ruling.source})"
        yield _reason(
            ReasonCode.HELPER_UNKNOWN, need, message, source, position, Evidence.NONE, certain=False
        )


def _ruling(loaded: Loaded, program: ProgramSpec, number: int, gpl: bool) -> Ruling:
    target = _struct_ops_member(loaded, program) if program.type is ProgramType.STRUCT_OPS else None
    target = target or target_function(program)
    key = ("helper", number, program.type, program.attach_type, program.sleepable, gpl, target)
    known = loaded.kernel.rulings.get(key)
    if not isinstance(known, Ruling):
        known = helpers.callable_from(
            number,
            program.type,
            program.attach_type,
            program.sleepable,
            loaded.kernel.ask,
            gpl_compatible=gpl,
            target=target,
        )
        loaded.kernel.rulings[key] = known
    return known


def _struct_ops_member(loaded: Loaded, program: ProgramSpec) -> str | None:
    """``tcp_congestion_ops.ssthresh``: the member that a struct_ops program fills."""
    for spec in loaded.spec.maps:
        if spec.struct_ops:
            for member, name in spec.struct_ops.programs.items():
                if name == program.name:
                    return f"{spec.struct_ops.type_name.partition('___')[0]}.{member}"
    return None


def feature_slots(relocated: Relocated) -> dict[InsnFeature, int]:
    """Instruction features of the whole stream: unknown opcodes are refused even where they are dead."""
    return first_slots(relocated.insns)
