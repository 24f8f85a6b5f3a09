# SPDX-License-Identifier: Apache-2.0
"""The program as a whole: what BPF_PROG_LOAD asks of its type, privilege, attach type, sleepability and
license.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.elf.sections import SectionFlag
from holdfast.elf.spec import ObjectSpec, ProgramSpec
from holdfast.kernels.probed import KindUse
from holdfast.needs.licenses import is_gpl_compatible
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.rules import program_types
from holdfast.rules.ask import Allowed
from holdfast.terms import Evidence, ProgramType

__all__ = ["object_reasons", "program_reasons"]

AFTER_CORE: Final = 1 << 30
"""bpf_object__relocate() links calls when all CO-RE relocations are done."""


def object_reasons(loaded: Loaded) -> Iterator[Reason]:
    """What keeps libbpf from opening the object at all, or from loading anything in this process."""
    spec, facts = loaded.spec, loaded.facts
    for order, problem in enumerate(spec.problems):
        message = f"libbpf refuses the object: {problem.message} ({problem.rule})"
        yield Reason(
            ReasonCode.OBJECT_REFUSED,
            "object",
            message,
            Stage.OPEN,
            Evidence.OBJECT,
            hint=problem.hint,
            order=order,
        )
    kernel_order = facts.vmlinux.byteorder if facts.vmlinux else "little"
    if spec.byteorder != kernel_order:
        yield Reason(
            ReasonCode.FOREIGN_ENDIAN,
            "object",
            f"the object is {spec.byteorder}-endian, the kernel {kernel_order}-endian",
            Stage.PROBE_LOADING,
            Evidence.OBJECT,
            hint=f"compile with -target bpf{'el' if kernel_order == 'little' else 'eb'}",
        )
    host = facts.host
    if host is not None and not host.capable("CAP_BPF"):
        yield Reason(
            ReasonCode.CAPABILITY_MISSING,
            "CAP_BPF",
            "this process has no CAP_BPF, and libbpf's first trial load fails (EPERM)",
            Stage.PROBE_LOADING,
            Evidence.SYSTEM,
            hint="run as root or with CAP_BPF, or take descriptors from a privileged broker",
        )


def program_reasons(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    """Reasons of the program's section, type and flags, in the kernel's order."""
    definition = program.definition
    if program.link_problem:
        yield Reason(
            ReasonCode.LINK_FAILED,
            "relocation",
            f"libbpf cannot relocate it: {program.link_problem}",
            Stage.RELOCATE,
            Evidence.OBJECT,
            order=AFTER_CORE,
        )
    if definition is None or definition.since > loaded.kernel.libbpf:
        yield _unknown_section(loaded, program)
        return
    if loaded.needs_kernel_btf(program) and loaded.facts.vmlinux is None:
        yield Reason(
            ReasonCode.KERNEL_BTF_MISSING,
            "kernel BTF",
            "the kernel has no BTF, and libbpf needs it for this object",
            Stage.KERNEL_BTF,
            Evidence.SYSTEM,
            hint="a kernel with CONFIG_DEBUG_INFO_BTF, or btf_custom_path in the open options",
        )
    yield from _type(loaded, program)
    yield from _privilege(loaded, program)
    yield from _flags(loaded, program)
    yield from _license(loaded.spec, program)


def _unknown_section(loaded: Loaded, program: ProgramSpec) -> Reason:
    major, minor = loaded.kernel.libbpf
    message = f"libbpf {major}.{minor} knows no section {program.section!r}, so the program has no type"
    hint = "name the section as libbpf does, or set the type with bpf_program__set_type()"
    if program.definition is not None:
        hint = "libbpf {}.{} brought it: take that or a newer one".format(*program.definition.since)
    return Reason(
        ReasonCode.SECTION_MISSING,
        f"section {program.section}",
        message,
        Stage.PREPARE_LOAD,
        Evidence.OBJECT,
        hint=hint,
    )


def _type(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    answer = loaded.facts.program_type(program.type)
    need = f"program type {program.type.name}"
    if answer.value is False:
        code = ReasonCode.PROGRAM_TYPE_MISSING
        hint = "a newer kernel, or one that is built with it"
        yield Reason(code, need, answer.note, Stage.LOAD, answer.evidence, hint=hint)
    elif answer.value is None:
        ruling = loaded.facts.rule(program_types.compiled_in, program.type)
        if ruling.allowed is Allowed.NO:
            yield Reason(ReasonCode.PROGRAM_TYPE_MISSING, need, ruling.why, Stage.LOAD, Evidence.BTF)
        elif ruling.allowed is Allowed.UNKNOWN:
            message = ruling.why or answer.note
            yield Reason(
                ReasonCode.PROGRAM_TYPE_UNKNOWN, need, message, Stage.LOAD, Evidence.NONE, certain=False
            )


def _privilege(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    host = loaded.facts.host
    if host is None or not host.capable("CAP_BPF"):
        return
    for name in loaded.facts.rule(program_types.capabilities, program.type):
        if not host.capable(name):
            yield Reason(
                ReasonCode.CAPABILITY_MISSING,
                name,
                f"loading {program.type.name} asks for {name}, which this process has not",
                Stage.LOAD,
                Evidence.SYSTEM,
                hint=f"add {name}",
                order=1,
            )
    kind = KindUse(program.type, program.attach_type, program.sleepable)
    permitted = loaded.facts.permitted(kind)
    if permitted.value is False:
        yield Reason(
            ReasonCode.POLICY_DENIED,
            f"program type {program.type.name}",
            permitted.note,
            Stage.LOAD,
            permitted.evidence,
            hint="lockdown or a security module forbids it: offer a variant that attaches in another way",
            order=1,
        )


def _flags(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    rule = loaded.facts.rule
    if program.type is not ProgramType.STRUCT_OPS:  # libbpf passes the member's index there
        ruling = rule(program_types.attach_type_accepted, program.type, program.attach_type)
        if ruling.allowed is Allowed.NO:
            name = program.attach_type.name if program.attach_type is not None else "0"
            message = ruling.told
            yield Reason(
                ReasonCode.ATTACH_TYPE_MISSING,
                f"attach type {name}",
                message,
                Stage.LOAD,
                Evidence.BTF,
                order=2,
            )
    ruling = rule(program_types.sleepable_accepted, program.type, program.attach_type, program.sleepable)
    if ruling.allowed is not Allowed.YES:
        certain = ruling.allowed is Allowed.NO
        yield Reason(
            ReasonCode.SLEEPABLE_REFUSED if certain else ReasonCode.SLEEPABLE_UNKNOWN,
            "BPF_F_SLEEPABLE",
            ruling.told,
            Stage.LOAD,
            Evidence.RULE,
            certain,
            order=3,
        )

    if program.definition and SectionFlag.XDP_FRAGS in program.definition.flags:
        ruling = rule(program_types.frags_accepted)
        if ruling.allowed is Allowed.NO:
            yield Reason(
                ReasonCode.ATTACH_TYPE_MISSING,
                "BPF_F_XDP_HAS_FRAGS",
                ruling.told,
                Stage.LOAD,
                Evidence.BTF,
                hint='name the section "xdp" where frames fit into one buffer',
                order=2,
            )


def _license(spec: ObjectSpec, program: ProgramSpec) -> Iterator[Reason]:
    ruling = program_types.licence_accepted(program.type, is_gpl_compatible(spec.license))
    if ruling.allowed is Allowed.NO:
        yield Reason(
            ReasonCode.LICENSE_REFUSED,
            f"license of {program.type.name}",
            f"{ruling.why}, and the object says {spec.license!r}",
            Stage.VERIFIER,
            Evidence.RULE,
            hint='a license section with "GPL" or one of the dual licenses',
        )
