# SPDX-License-Identifier: Apache-2.0
"""What others ask for: whether this process may probe, some answers, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from holdfast import sys
from holdfast.btf import Btf
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.probe.calls import Prober
from holdfast.kernels.probe.maps import map_type
from holdfast.kernels.probe.programs import INSN_TRIALS
from holdfast.kernels.probe.survey import ALL, Part, Step, survey
from holdfast.kernels.probed import HelperUse, KfuncUse, ProbeFacts, Wanted
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = [
    "ALL",
    "Part",
    "Step",
    "all_features",
    "all_types",
    "every_helper",
    "every_kfunc",
    "everything",
    "obstacle",
    "probe",
]


def obstacle() -> str:
    """Why this process cannot probe, in one clause; "" when it can."""
    lacking = sys.missing(frozenset({"CAP_BPF"}))
    if lacking:
        return "probing needs CAP_BPF, which this process lacks"
    if not sys.in_initial_user_namespace():
        return "probing needs CAP_BPF in the initial user namespace, and this process is in another"
    return ""


def probe(wanted: Wanted, vmlinux: Btf | None, modules: Mapping[str, Btf] | None = None) -> ProbeFacts:
    """Ask the running kernel, whose BTF is ``vmlinux`` and ``modules``. Some 50 µs per call asked.

    Nothing stays in the kernel. Without CAP_BPF all answers are None and ``obstacle`` says so.
    """
    reason = obstacle()
    if reason:
        return ProbeFacts(
            dict.fromkeys(wanted.program_types),
            dict.fromkeys(wanted.map_types),
            dict.fromkeys(wanted.helpers),
            dict.fromkeys(wanted.kfuncs),
            dict.fromkeys(wanted.insn_features),
            reason,
            dict.fromkeys(wanted.kinds),
        )
    with Prober(vmlinux, modules or {}) as prober:
        return ProbeFacts(
            {one: prober.program_type(one) for one in sorted(wanted.program_types)},
            {one: map_type(one) for one in sorted(wanted.map_types)},
            {one: prober.helper(one) for one in wanted.helpers},
            {one: prober.kfunc(one) for one in wanted.kfuncs},
            {one: prober.insn_feature(one) for one in sorted(wanted.insn_features)},
            kinds={one: prober.permitted(one) for one in wanted.kinds},
        )


def everything(
    kernel: KernelFacts,
    progress: Callable[[Step], None] = lambda _step: None,
    *,
    only: Collection[Part] = ALL,
    kfuncs: Collection[str] | None = None,
) -> ProbeFacts:
    """All that the running kernel answers; ``kernel`` is from :func:`holdfast.kernels.live.facts`.

    ``kfuncs`` names all that are to be asked, else they are found (see
    :func:`~holdfast.kernels.probe.survey.survey`, which this runs to its end, telling ``progress``). Nothing
    stays in the kernel. Without CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN nothing is asked and ``obstacle``
    says so: a helper that is kept from a process says nothing of the kernel.
    """
    reason = obstacle() or _lacks_more()
    if reason:
        return ProbeFacts(obstacle=reason)
    steps = survey(kernel, only, kfuncs)
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            found = end.value
            assert isinstance(found, ProbeFacts)
            return found


def _lacks_more() -> str:
    lacking = sys.missing(frozenset({"CAP_PERFMON", "CAP_NET_ADMIN"}))
    if lacking:
        return f"asking for everything needs {' and '.join(sorted(lacking))}, which this process lacks"
    return ""


# Attach types that filters of registrations tell apart (tracing_iter_filter and the session filters).
_FILTERED: Final = (
    (ProgramType.TRACING, AttachType.TRACE_RAW_TP),
    (ProgramType.TRACING, AttachType.TRACE_ITER),
    (ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
    (ProgramType.KPROBE, AttachType.TRACE_KPROBE_SESSION),
)


def all_types() -> Wanted:
    """All program and map types."""
    return Wanted(frozenset(ProgramType) - {ProgramType.UNSPEC}, frozenset(MapType) - {MapType.UNSPEC})


def all_features() -> Wanted:
    """All instruction features that have a trial program."""
    return Wanted(insn_features=frozenset(INSN_TRIALS))


def every_helper(numbers: Iterable[int]) -> Wanted:
    """These helpers from every program type."""
    types = frozenset(ProgramType) - {ProgramType.UNSPEC}
    return Wanted(helpers=frozenset(HelperUse(number, kind) for number in numbers for kind in types))


def every_kfunc(names: Iterable[str]) -> Wanted:
    """These kfuncs from every program type, and where filters are known to look from some attach types."""
    uses = [(kind, None) for kind in ProgramType if kind is not ProgramType.UNSPEC]
    return Wanted(kfuncs=frozenset(KfuncUse(name, *use) for name in names for use in [*uses, *_FILTERED]))
