# SPDX-License-Identifier: Apache-2.0
"""Trial calls: program types, helpers and kfuncs by program type, instruction features."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from holdfast import sys
from holdfast.btf import Btf
from holdfast.btf.types import Kind
from holdfast.kernels.probe.contexts import Context, contexts, struct_ops_contexts
from holdfast.kernels.probe.judge import Shape, Trial, judge, last_words, shape
from holdfast.kernels.probe.loader import Loader
from holdfast.kernels.probe.programs import INSN_TRIALS, RETURN_0, helper_call, kfunc_call, strange_call
from holdfast.kernels.probed import HelperUse, KfuncUse, KindUse
from holdfast.rules.program_types import rule
from holdfast.terms import AttachType, ProgramType

__all__ = ["Admission", "Function", "Prober", "any_answer"]

_NO_SUCH_TYPE: Final = 0x7FF0
_NO_SUCH_HELPER: Final = 0x7FFFFFF0
# Only XDP has ever had redirect_map, and XDP has no skb.
_REDIRECT_MAP: Final = 51
_SKB_LOAD_BYTES: Final = 26
_MAP_LOOKUP: Final = 1
# Refused by its own check (bpf_d_path_allowed) except from iterators, LSM and some functions.
_D_PATH: Final = 147
# May sleep, so a program that may not sleep never has it.
_COPY_FROM_USER: Final = 148
# In every kernel, exported or called everywhere, and no kfunc in any.
_NO_KFUNCS: Final = ("vfs_read", "kfree", "schedule", "vfs_write", "_printk")
# kfuncs that have KF_SLEEPABLE wherever they are, from 6.1 on.
_SLEEPABLE: Final = (
    "bpf_lookup_user_key",
    "bpf_copy_from_user_str",
    "bpf_iter_kmem_cache_new",
    "css_rstat_flush",
    "cgroup_rstat_flush",
)
_TRACED: Final = frozenset(
    {
        AttachType.TRACE_FENTRY,
        AttachType.TRACE_FEXIT,
        AttachType.MODIFY_RETURN,
        AttachType.TRACE_FSESSION,
    }
)


class Function(NamedTuple):
    """A function to call: its module ("" for vmlinux) and its id in that BTF."""

    module: str
    type_id: int


class Admission(NamedTuple):
    """Whether a kfunc may be called in one context: by its registration, and with its flags in mind.

    They differ for a sleepable kfunc (KF_SLEEPABLE) in a program that may not sleep.
    """

    registered: bool | None
    usable: bool | None


class Prober:
    """Asks by loading; every program is closed at once. Close it (or use ``with``): it may hold module BTF.

    ``vmlinux`` and ``modules`` are the running kernel's own.
    """

    def __init__(self, vmlinux: Btf | None, modules: Mapping[str, Btf]) -> None:
        self.loader = Loader(vmlinux, modules)
        self._types: dict[Context, bool | None] = {}
        self._helper_controls: dict[Context, tuple[Shape, ...]] = {}
        self._kfunc_controls: dict[Context, tuple[Shape, ...]] = {}
        self._sleep_learnt: list[frozenset[str] | None] = []
        self._struct_ops: tuple[Context, ...] | None = None
        self._calls_kfuncs: list[bool | None] = []

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self.loader.close()

    def contexts(
        self, program_type: ProgramType, attach_type: AttachType | None = None, sleepable: bool | None = None
    ) -> tuple[Context, ...]:
        """Ways to load such a program (see :func:`~holdfast.kernels.probe.contexts.contexts`); for STRUCT_OPS
        each function of each type in BTF that can be loaded for.
        """
        if program_type is not ProgramType.STRUCT_OPS:
            return tuple(self._without_unsuited(contexts(program_type, attach_type, sleepable)))
        if self._struct_ops is None:
            everything = struct_ops_contexts(self.loader.vmlinux, self.loader.modules)
            # A type may have functions that no program can be for (check_member): they tell nothing.
            self._struct_ops = tuple(one for one in everything if self._control_helpers(one))
        found = self._struct_ops or contexts(program_type)
        return tuple(one for one in found if sleepable in (None, one.sleepable))

    def _without_unsuited(self, found: tuple[Context, ...]) -> Iterator[Context]:
        """Leaves out a context for which no program can be loaded where one can that differs only in its
        target.
        """
        for context in found:
            likes = [one for one in found if one.target and replace(one, target=context.target) == context]
            if len(likes) < 2 or self.loads(context) or not any(self.loads(one) for one in likes):
                yield context

    # -- program types -----------------------------------------------------------------------------

    def program_type(self, program_type: ProgramType) -> bool | None:
        """Whether a program of this type can be loaded."""
        found = contexts(program_type)
        answer = any_answer(self.loads(context) for context in found)
        if answer is None:
            # The verifier has to find the target missing, so a kernel with the type comes to say something.
            answer = self.loads(Context(program_type))
        return answer

    def loads(self, context: Context) -> bool | None:
        """Whether there are such programs, whatever the verifier thinks of an empty one."""
        if context not in self._types:
            self._types[context] = self._type_answer(context)
        return self._types[context]

    def _type_answer(self, context: Context) -> bool | None:
        trial = self.loader.load(context, RETURN_0)
        if trial.loaded:
            return True
        if trial.errno != errno.EPERM and self._same_as_unknown(context, trial):
            return False
        if trial.log:
            # The verifier has had it: the type is there, whatever it thinks of the program. That this type
            # may not sleep (KPROBE before 6.0) it says before it looks at a single instruction.
            if context.sleepable and context.program_type != ProgramType.SYSCALL:
                called = shape(self.loader.load(context, helper_call(_MAP_LOOKUP))) is not None
                return True if called else None if context.target else False  # it may be about the target
            return True
        if context.target is not None:
            return None  # the target may be missing, and trampolines may be forbidden by lockdown
        # A type or attach type that is not there is refused as a number that no kernel knows, before the
        # verifier.
        nobody = self.loader.load(Context(_NO_SUCH_TYPE), RETURN_0)
        if not nobody.loaded and trial.errno == nobody.errno and trial.errno != errno.EPERM:
            return False
        return None

    def _same_as_unknown(self, context: Context, trial: Trial) -> bool:
        """Whether the kernel says the same of an attach type that no kernel knows, for the same target."""
        tracing = context.program_type == ProgramType.TRACING and context.attach_type != 0
        if not tracing and context.program_type != ProgramType.LSM:
            return False  # it is judged by its type alone
        return self.loader.load(replace(context, attach_type=_NO_SUCH_TYPE), RETURN_0) == trial

    def permitted(self, use: KindUse) -> bool | None:
        """Whether policy lets this process load programs of that kind; no is a denial, whatever the program.

        A denial is an EPERM without a word of the verifier although the process holds the type's
        capabilities and the same kernel takes a socket filter from it. Whether the type exists is
        :meth:`program_type`'s matter.
        """
        lacking = sys.missing(frozenset(rule(use.program_type).capabilities))
        found = contexts(use.program_type, use.attach_type, use.sleepable)
        if lacking or not found or not self.loads(Context(ProgramType.SOCKET_FILTER)):
            return None
        trials = [self.loader.load(context, RETURN_0) for context in found]
        if any(trial.loaded or trial.log for trial in trials):
            return True
        return False if all(trial.errno == errno.EPERM for trial in trials) else None

    def _call(self, uses: Iterable[Context], judged: Callable[[Context], bool | None]) -> bool | None:
        """The answer over several contexts: yes from any, no only when all of them say so."""

        def answers() -> Iterator[bool | None]:
            for context in uses:
                loads = self.loads(context)
                if loads is None:
                    yield None
                elif loads:
                    answer = judged(context)
                    yield None if answer is False and not context.representative else answer

        return any_answer(answers())

    # -- helpers -----------------------------------------------------------------------------------

    def helper(self, use: HelperUse) -> bool | None:
        """Whether the helper may be called from the type (with any attach type, unless one is named)."""
        uses = self.contexts(use.program_type, use.attach_type, use.sleepable)
        return self._call(uses, partial(self.helper_in, use.number))

    def helper_in(self, number: int, context: Context) -> bool | None:
        """Whether the helper may be called from a program that is loaded like that."""
        controls = self._helper_controls.get(context)
        if controls is None:
            controls = self._helper_controls[context] = self._control_helpers(context)
        if not controls:
            return None
        answer = judge(self.loader.load(context, helper_call(number)), controls)
        # From programs on functions it hangs on the function (btf_allowlist_d_path).
        return None if number == _D_PATH and answer is False and context.attach_type in _TRACED else answer

    def _control_helpers(self, context: Context) -> tuple[Shape, ...]:
        """Refusals of helpers that a program of this context surely may not call, one for each reason."""
        kind, attach = context.program_type, context.attach_type
        numbers = [_NO_SUCH_HELPER, _SKB_LOAD_BYTES if kind == ProgramType.XDP else _REDIRECT_MAP]
        if kind != ProgramType.LSM and (kind != ProgramType.TRACING or attach == AttachType.TRACE_RAW_TP):
            numbers.append(_D_PATH)
        if not context.sleepable:
            numbers.append(_COPY_FROM_USER)
        shapes = [shape(self.loader.load(context, helper_call(number))) for number in numbers]
        # map_lookup_elem is allowed everywhere: a control that looks the same cannot tell anything.
        allowed = shape(self.loader.load(context, helper_call(_MAP_LOOKUP)))
        found = tuple(one for one in shapes if one is not None)
        return () if len(found) != len(numbers) or allowed is None or allowed in found else found

    # -- kfuncs ------------------------------------------------------------------------------------

    def kfunc(self, use: KfuncUse) -> bool | None:
        """Whether the kfunc may be called from the type (with any attach type, unless one is named).

        A function that is in no BTF is a certain no. One that needs a sleepable program counts as callable
        unless the use says that the program is not sleepable.
        """
        found = self.find(use.name)
        if found is None:
            return None if self.loader.vmlinux is None else False

        def answer(context: Context) -> bool | None:
            admission = self.kfunc_in(found, context)
            return admission.usable if use.sleepable is False else admission.registered

        return self._call(self.contexts(use.program_type, use.attach_type, use.sleepable), answer)

    def find(self, name: str) -> Function | None:
        """The first function of that name, of vmlinux before the modules'."""
        for module, btf in [("", self.loader.vmlinux), *self.loader.modules.items()]:
            ids = btf.find_all(name, Kind.FUNC) if btf is not None else []
            if ids:
                return Function(module, ids[0])
        return None

    def kfunc_in(self, function: Function, context: Context) -> Admission:
        """Whether a program that is loaded like that may call the function."""
        controls = self._kfunc_controls.get(context)
        if controls is None:
            controls = self._kfunc_controls[context] = self._control_kfuncs(context)
        if not controls:
            return Admission(None, None)
        if not function.module:
            trial = self.loader.load(context, kfunc_call(function.type_id))
        else:
            fd = self.loader.module_btf(function.module)
            if fd is None:
                return Admission(None, None)
            # Place 0 of fd_array stands for vmlinux (insn.off == 0), so a module's BTF goes to place 1.
            trial = self.loader.load(context, kfunc_call(function.type_id, 1), fd_array=(0, fd))
        registered = judge(trial, controls)
        if not registered or trial.loaded or context.sleepable:
            return Admission(registered, registered)
        refusals, seen = self._sleep_refusals(), shape(trial)
        usable = None if refusals is None or seen is None else seen.after not in refusals
        return Admission(registered, usable)

    def calls_kfuncs(self) -> bool | None:
        """Whether this kernel knows calls of kernel functions at all (5.13).

        It does not if it refuses one in the same words as a call of a kind that no kernel has.
        """
        if not self._calls_kfuncs:
            function = next((found for name in _NO_KFUNCS if (found := self.find(name))), None)
            answer: bool | None = None
            socket_filter = Context(ProgramType.SOCKET_FILTER)
            if function is not None and self.loads(socket_filter):
                ours = self.loader.load(socket_filter, kfunc_call(function.type_id))
                strange = self.loader.load(socket_filter, strange_call(function.type_id))
                if ours.log and strange.log:
                    answer = last_words(ours) != last_words(strange)
            self._calls_kfuncs.append(answer)
        return self._calls_kfuncs[0]

    def _sleep_refusals(self) -> frozenset[str] | None:
        """What this kernel says of a sleepable kfunc (KF_SLEEPABLE) in a program that must not sleep.

        Learnt from one that it refuses differently in two programs of which only one may sleep. Empty for a
        kernel that has none of those that are tried, None when it has some and they tell nothing.
        """
        if not self._sleep_learnt:
            iterators = contexts(ProgramType.TRACING, AttachType.TRACE_ITER)
            awake = next(one for one in iterators if not one.sleepable)
            asleep = next(one for one in iterators if one.sleepable)
            known = [found for name in _SLEEPABLE if (found := self.find(name)) and not found.module]
            lines = set()
            for _, type_id in known:
                words, others = (shape(self.loader.load(one, kfunc_call(type_id))) for one in (awake, asleep))
                if words and others and words.after != others.after:
                    lines.add(words.after)
            self._sleep_learnt.append(frozenset(lines) if lines or not known else None)
        return self._sleep_learnt[0]

    def _control_kfuncs(self, context: Context) -> tuple[Shape, ...]:
        """Refusals of functions that are in BTF and are no kfuncs; one is enough, two make it sure."""
        found: list[Shape] = []
        for name in _NO_KFUNCS:
            function = self.find(name)
            if function is None or function.module:
                continue
            one = shape(self.loader.load(context, kfunc_call(function.type_id)))
            if one is not None:
                found.append(one)
            if len(found) == 2:
                break
        return tuple(found) if len(set(found)) == 1 else ()

    # -- instructions ------------------------------------------------------------------------------

    def insn_feature(self, feature: str) -> bool | None:
        """Whether the verifier takes the instruction; None for a feature without a trial program."""
        insns = INSN_TRIALS.get(feature)
        socket_filter = Context(ProgramType.SOCKET_FILTER)
        if insns is None or not self.loader.load(socket_filter, RETURN_0).loaded:
            return None
        trial = self.loader.load(socket_filter, insns)
        if trial.loaded:
            return True
        # The program is valid, so EINVAL from the verifier (it wrote a log) is about the instruction. What a
        # JIT says, or a limit on its memory, has other numbers.
        return False if trial.log and trial.errno == errno.EINVAL else None


def any_answer(answers: Iterable[bool | None]) -> bool | None:
    """True when one is, False when all are (and there is one), else None. Stops at the first True."""
    seen: set[bool | None] = set()
    for answer in answers:
        if answer:
            return True
        seen.add(answer)
    return False if seen == {False} else None
