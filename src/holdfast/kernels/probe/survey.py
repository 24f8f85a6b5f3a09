# SPDX-License-Identifier: Apache-2.0
"""Everything that can be asked of the running kernel, in one go.

Helpers and kfuncs are asked from each way to load a program: each program type, with each attach type that it
has, sleepable and not. Some 45,000 loads of 80 µs on a 6.18; only one program exists at a time.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from holdfast.kernels.answer_table import AnswerTable, Way, letter
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.probe import discover
from holdfast.kernels.probe.attach import ATTACHMENTS, LINK_TYPES, Attacher
from holdfast.kernels.probe.calls import Admission, Function, Prober, any_answer
from holdfast.kernels.probe.contexts import Context
from holdfast.kernels.probe.maps import map_type
from holdfast.kernels.probe.programs import INSN_TRIALS
from holdfast.kernels.probed import HelperUse, KfuncUse, ProbeFacts
from holdfast.terms import AttachType, MapType, ProgramType

__all__ = ["ALL", "Part", "Step", "survey"]

_KTIME_GET_COARSE_NS: Final = 160
# security_locked_down(LOCKDOWN_BPF_WRITE_USER) in bpf_tracing_func_proto(), kernel/trace/bpf_trace.c.
_WRITE_USER: Final = frozenset({36})  # probe_write_user
# LOCKDOWN_BPF_READ_KERNEL, there and in bpf_base_func_proto(): probe_read, probe_read_str and their _kernel
# twins.
_READ_KERNEL: Final = frozenset({4, 45, 113, 115})


class Part(StrEnum):
    """Tables that can be asked alone."""

    PROGRAM_TYPES = "program-types"
    MAP_TYPES = "map-types"
    ATTACH_TYPES = "attach-types"
    LINK_TYPES = "link-types"
    HELPERS = "helpers"
    KFUNCS = "kfuncs"
    INSTRUCTIONS = "instructions"


ALL: Final = frozenset(Part)


@dataclass(frozen=True, slots=True)
class Step:
    """How far a survey is: ``done`` of ``total`` pieces of ``part``."""

    part: Part
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Column:
    """One way to load a program, and the contexts that stand for it."""

    way: Way
    contexts: tuple[Context, ...]


def survey(
    kernel: KernelFacts, only: Collection[Part] = ALL, kfuncs: Collection[str] | None = None
) -> Generator[Step, None, ProbeFacts]:
    """Ask the running kernel, whose facts ``kernel`` are, and return the answers; yields now and then.

    ``kfuncs`` are all the kfuncs to ask. Without them it is those of the registrations where they are known;
    else functions that may be kfuncs are tried as well as those that BTF tags, because pahole does not tag
    them all. A kfunc whose module is not loaded has no row. Nothing stays in the kernel.
    :func:`~holdfast.kernels.probe.obstacle` is for the caller to heed.
    """
    found: dict[str, Any] = {}
    with _room(kernel), Prober(kernel.vmlinux, kernel.modules) as prober:
        attacher = Attacher(prober)
        if Part.PROGRAM_TYPES in only:
            types = [kind for kind in ProgramType if kind is not ProgramType.UNSPEC]
            found["program_types"] = {kind: prober.program_type(kind) for kind in types}
            yield Step(Part.PROGRAM_TYPES, len(types), len(types))
        if Part.MAP_TYPES in only:
            maps = [kind for kind in MapType if kind is not MapType.UNSPEC]
            found["map_types"] = {kind: map_type(kind) for kind in maps}
            yield Step(Part.MAP_TYPES, len(maps), len(maps))
        if Part.ATTACH_TYPES in only:
            found["attach_types"] = {kind: attacher.attach_type(kind) for kind in AttachType}
            found["attachments"] = {name: attacher.attachment(name) for name in ATTACHMENTS}
            yield Step(Part.ATTACH_TYPES, len(AttachType), len(AttachType))
        if Part.LINK_TYPES in only:
            found["link_types"] = {name: attacher.link_type(name) for name in LINK_TYPES}
            yield Step(Part.LINK_TYPES, len(LINK_TYPES), len(LINK_TYPES))
        if Part.INSTRUCTIONS in only:
            found["insn_features"] = {one: prober.insn_feature(one) for one in sorted(INSN_TRIALS)}
            yield Step(Part.INSTRUCTIONS, len(INSN_TRIALS), len(INSN_TRIALS))
        if Part.HELPERS in only:
            found["helpers"] = yield from _helpers(kernel, prober, attacher)
        if Part.KFUNCS in only:
            found["kfuncs"] = yield from _kfuncs(kernel, prober, attacher, kfuncs)
    return ProbeFacts(**found)


@contextmanager
def _room(kernel: KernelFacts) -> Iterator[None]:
    """Room for locked memory, which programs and maps count as before 5.11.

    bpf_ktime_get_coarse_ns came in the release in which memory cgroups took over (libbpf's
    ``probe_memcg_account()`` goes by it as well). Remove when 5.10 is no longer looked after.
    """
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    raised = False
    if kernel.helper_known(_KTIME_GET_COARSE_NS).value is not True:
        for wanted in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (before[1], before[1])):
            try:
                resource.setrlimit(resource.RLIMIT_MEMLOCK, wanted)
            except (OSError, ValueError):
                continue  # above the hard limit takes CAP_SYS_RESOURCE
            raised = True
            break
    try:
        yield
    finally:
        if raised:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


# -- columns ---------------------------------------------------------------------------------------


def _columns(prober: Prober, attacher: Attacher, kind: ProgramType) -> list[_Column]:
    """The ways to load a program of this type that this kernel has; none for a type that it has not."""
    found = [
        context
        for context in prober.contexts(kind)
        if prober.loads(context) is not False and not _lacks(attacher, kind, context)
    ]
    if not found:
        return [_Column(Way(kind), ())]
    columns = [_Column(Way(kind), tuple(found))]
    columns += _by_sleep(kind, None, found)
    if kind is ProgramType.STRUCT_OPS:
        return columns
    numbers = list(dict.fromkeys(context.attach_type for context in found))
    if numbers == [0]:
        return columns  # the type has no attach types: one is as good as another
    for number in numbers:
        attach_type = AttachType(number)
        of_it = [context for context in found if context.attach_type == number]
        columns.append(_Column(Way(kind, attach_type), tuple(of_it)))
        columns += _by_sleep(kind, attach_type, of_it)
    return columns


def _by_sleep(
    kind: ProgramType, attach_type: AttachType | None, found: Iterable[Context]
) -> Iterator[_Column]:
    for sleepable in (False, True):
        chosen = tuple(context for context in found if context.sleepable is sleepable)
        if chosen:
            yield _Column(Way(kind, attach_type, sleepable), chosen)


def _lacks(attacher: Attacher, kind: ProgramType, context: Context) -> bool:
    """Whether the attach type is surely not there although such a program loads: the kernel did not look."""
    if kind is ProgramType.STRUCT_OPS or context.attach_type == 0:
        return False
    return attacher.attach_type(AttachType(context.attach_type)) is False


def _row(columns: Iterable[_Column], ask: Callable[[Context], Admission]) -> str:
    """The letters of a row. What differs between contexts of one way counts as in ``Prober.kfunc``."""
    known: dict[Context, Admission] = {}

    def answers(column: _Column) -> Iterator[bool | None]:
        for context in column.contexts:
            if context not in known:
                known[context] = ask(context)
            registered, usable = known[context]
            answer = usable if column.way.sleepable is False else registered
            yield None if answer is False and not context.representative else answer

    return "".join(letter(any_answer(answers(column))) for column in columns)


# -- helpers and kfuncs ----------------------------------------------------------------------------


def _all_columns(prober: Prober, attacher: Attacher) -> list[_Column]:
    kinds = [kind for kind in ProgramType if kind is not ProgramType.UNSPEC]
    return [column for kind in kinds for column in _columns(prober, attacher, kind)]


def _helpers(
    kernel: KernelFacts, prober: Prober, attacher: Attacher
) -> Generator[Step, None, AnswerTable[HelperUse]]:
    values = kernel.enumerators("bpf_func_id") or {}
    numbers = sorted(number for name, number in values.items() if name.startswith("BPF_FUNC_") and number > 0)
    columns = _all_columns(prober, attacher)
    rows: dict[int | str, str] = {}
    policy = _denied_by_lockdown(kernel)
    for done, number in enumerate(numbers, 1):

        def ask(context: Context, number: int = number) -> Admission:
            answer = prober.helper_in(number, context) if prober.loads(context) else None
            return Admission(answer, answer)

        row = _row(columns, ask)
        rows[number] = row.replace("0", "?") if number in policy else row
        yield Step(Part.HELPERS, done, len(numbers))
    return AnswerTable(HelperUse, tuple(column.way for column in columns), rows)


def _denied_by_lockdown(kernel: KernelFacts) -> frozenset[int]:
    """Helpers that lockdown may keep from everybody, so that a refusal says nothing of the kernel."""
    level = kernel.host.lockdown if kernel.host else None
    if level == "none" or kernel.config_enabled("CONFIG_SECURITY_LOCKDOWN_LSM").value is False:
        return frozenset()
    return _WRITE_USER if level == "integrity" else _WRITE_USER | _READ_KERNEL


def _kfuncs(
    kernel: KernelFacts, prober: Prober, attacher: Attacher, wanted: Collection[str] | None
) -> Generator[Step, None, AnswerTable[KfuncUse]]:
    columns = _all_columns(prober, attacher)
    rows: dict[int | str, str] = {}
    names = set(kernel.kfunc_names() if wanted is None else wanted)
    maybe = discover.candidates(prober) if wanted is None and kernel.registrations is None else []
    total = len(names.union(maybe))
    for done, name in enumerate(sorted(names.union(maybe)), 1):
        function = prober.find(name)
        # A function that is not there says nothing: its module may be loaded another time.
        if function is not None and (name in names or discover.is_kfunc(prober, name)):

            def ask(context: Context, function: Function = function) -> Admission:
                return prober.kfunc_in(function, context) if prober.loads(context) else Admission(None, None)

            rows[name] = _row(columns, ask)
        yield Step(Part.KFUNCS, done, total)
    return AnswerTable(KfuncUse, tuple(column.way for column in columns), rows)
