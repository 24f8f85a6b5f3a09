# SPDX-License-Identifier: Apache-2.0
"""Holds what a kernel answered by trial against what its image, BTF and config say of it.

Only what contradicts is told: "cannot tell" on either side agrees with everything, and so does a no of the
kernel where the image says no more than that a thing is known (an enumerator may be there although the type
is compiled out).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from holdfast.kernels.answer import Answer
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.kfuncs import Registration
from holdfast.kernels.probed import HelperUse, KfuncUse, ProbeFacts
from holdfast.terms import Evidence, ProgramType

__all__ = ["Disagreement", "compare", "same_build"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One contradiction.

    ``what`` is ``program_type``, ``map_type``, ``attach_type``, ``link_type``, ``helper`` or ``kfunc``,
    ``name`` the UAPI's without its prefix. ``program_type`` is None where the whole kfunc is meant. ``image``
    is what the image says with ``evidence``, ``note`` says it in words, ``kernel`` is what the kernel did.
    """

    what: str
    name: str
    program_type: ProgramType | None
    image: bool
    evidence: Evidence
    kernel: bool
    note: str


def compare(kernel: KernelFacts, probes: ProbeFacts) -> list[Disagreement]:
    """Contradictions between ``probes`` and all else that ``kernel`` knows; its own probes are not asked.

    ``kernel`` should be that very build, and ``module_names`` the modules that were loaded: what others
    register is not judged (None: those with BTF at hand).
    """
    untold = replace(kernel, probes=None, _kfunc_answers={})
    return [*_types(untold, probes), *_helpers(untold, probes), *_kfuncs(untold, probes)]


def same_build(kernel: KernelFacts, others: Iterable[KernelFacts]) -> KernelFacts:
    """``kernel`` with the registrations of the first of ``others`` that is the same build, else as it is.

    A release is not enough, a distribution may build it twice: the BTF of vmlinux must be equal byte for
    byte, because the registrations name its functions.
    """
    if kernel.vmlinux is None or kernel.registrations is not None:
        return kernel
    data = bytes(kernel.vmlinux.data)
    for other in others:
        if other.registrations is None or other.vmlinux is None:
            continue
        if bytes(other.vmlinux.data) == data:
            return replace(kernel, registrations=other.registrations, _tagged={}, _kfunc_answers={})
    return kernel


def _against(
    what: str, name: str, said: Answer, did: bool | None, program_type: ProgramType | None = None
) -> Iterator[Disagreement]:
    if said.value is not None and did is not None and said.value is not did:
        yield Disagreement(what, name, program_type, said.value, said.evidence, did, said.note)


def _types(kernel: KernelFacts, probes: ProbeFacts) -> Iterator[Disagreement]:
    for program_type, did in sorted(probes.program_types.items()):
        yield from _against("program_type", program_type.name, kernel.program_type(program_type), did)
    for map_type, did in sorted(probes.map_types.items()):
        yield from _against("map_type", map_type.name, kernel.map_type(map_type), did)
    for attach_type, did in sorted(probes.attach_types.items()):
        if did:
            yield from _against("attach_type", attach_type.name, kernel.attach_type(attach_type), did)
    for link_type, did in sorted(probes.link_types.items()):
        if did:
            yield from _against("link_type", link_type, kernel.link_type(link_type), did)


def _helpers(kernel: KernelFacts, probes: ProbeFacts) -> Iterator[Disagreement]:
    for use, did in probes.helpers.items():
        if did and use == HelperUse(use.number, use.program_type):
            said = kernel.helper_known(use.number)
            yield from _against(
                "helper", kernel.helper_name(use.number) or str(use.number), said, did, use[1]
            )


def _kfuncs(kernel: KernelFacts, probes: ProbeFacts) -> Iterator[Disagreement]:
    by_name: dict[str, dict[ProgramType, bool | None]] = {}
    for use, did in probes.kfuncs.items():
        if use == KfuncUse(use.name, use.program_type):
            by_name.setdefault(use.name, {})[use.program_type] = did
    for name, answers in sorted(by_name.items()):
        registration = _registration(kernel, name)
        if registration is None:
            anywhere = _anywhere(answers)
            yield from _against("kfunc", name, kernel.is_kfunc(name), anywhere)
            continue
        if registration.program_types is None:
            said = Answer(True, Evidence.BTF_IDS, "it is in a kfunc set of .BTF_ids")
            yield from _against("kfunc", name, said, _anywhere(answers))
            continue
        for kind, did in sorted(answers.items()):
            said = _registered(registration, kind)
            yield from _against("kfunc", name, said, did, kind)
            if did and said.value:
                yield from _sleepable(kernel, probes, name, kind)


def _registration(kernel: KernelFacts, name: str) -> Registration | None:
    found = (kernel.registrations or {}).get(name)
    if found is None or found.module is None:
        return found
    loaded = kernel.modules if kernel.module_names is None else kernel.module_names
    return found if found.module in loaded else None


def _anywhere(answers: dict[ProgramType, bool | None]) -> bool | None:
    """Whether it may be called from any type. Types that this kernel cannot load are None and say nothing."""
    if True in answers.values():
        return True
    # Types without an answer may be the ones that it is for.
    return False if answers and None not in answers.values() else None


def _registered(registration: Registration, kind: ProgramType) -> Answer:
    if kind not in (registration.program_types or ()):
        return Answer(False, Evidence.INIT_CODE, f"it is not registered for {kind.name}")
    if registration.narrowed:
        return Answer(None, Evidence.INIT_CODE, f"it is registered for {kind.name} with a filter")
    return Answer(True, Evidence.INIT_CODE, f"it is registered for {kind.name}")


def _sleepable(
    kernel: KernelFacts, probes: ProbeFacts, name: str, kind: ProgramType
) -> Iterator[Disagreement]:
    """KF_SLEEPABLE against what programs that may not sleep were told."""
    flags = kernel.kfunc_flags(name, kind)
    did = probes.kfuncs.get(KfuncUse(name, kind, None, False))
    if flags is None or did is None:
        return
    if "SLEEPABLE" in flags:
        note = f"KF_SLEEPABLE keeps it from programs of type {kind.name} that may not sleep"
        said = Answer(False, Evidence.BTF_IDS, note)
    else:
        note = f"without KF_SLEEPABLE, programs of type {kind.name} that may not sleep can call it"
        said = Answer(True, Evidence.BTF_IDS, note)
    yield from _against("kfunc", name, said, did, kind)
