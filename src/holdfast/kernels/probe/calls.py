# SPDX-License-Identifier: Apache-2.0
"""Trial programs: types, helpers and kfuncs by program type, instruction features."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Final

from holdfast import sys
from holdfast.btf import Btf
from holdfast.btf.types import Kind, Struct
from holdfast.insn.features import InsnFeature
from holdfast.kernels.probe.contexts import Context, Target, contexts
from holdfast.kernels.probe.judge import Shape, Trial, judge, shape
from holdfast.kernels.probed import HelperUse, KfuncUse, KindUse
from holdfast.rules.program_types import rule
from holdfast.terms import AttachType, ProgramType

__all__ = ["INSN_TRIALS", "Prober"]

_LOG_BYTES: Final = 4096
_PSEUDO_KFUNC_CALL: Final = 2
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


def _insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


# kfuncs that have KF_SLEEPABLE wherever they are, from 6.1 on.
_SLEEPABLE: Final = (
    "bpf_lookup_user_key",
    "bpf_copy_from_user_str",
    "bpf_iter_kmem_cache_new",
    "css_rstat_flush",
    "cgroup_rstat_flush",
)

_RETURN_0: Final = _insn(0xB7) + _insn(0x95)
_ZERO_STACK: Final = _insn(0x7A, 10, off=-8)  # *(u64 *)(r10 - 8) = 0
_ONE: Final = _insn(0xB7, 1, imm=1)  # r1 = 1


def _atomic(operation: int) -> bytes:
    return _insn(0xB7, 0) + _ONE + _ZERO_STACK + _insn(0xDB, 10, 1, -8, operation) + _RETURN_0


INSN_TRIALS: Final[dict[str, bytes]] = {
    InsnFeature.JMP_LESS: _ONE + _insn(0xA5, 1, off=0, imm=2) + _RETURN_0,
    InsnFeature.ALU32: _insn(0xB4, 1, imm=1) + _RETURN_0,
    InsnFeature.JMP32: _ONE + _insn(0x16, 1, off=0, imm=2) + _RETURN_0,
    InsnFeature.ATOMIC_BITWISE: _atomic(0x40),
    InsnFeature.ATOMIC_FETCH: _atomic(0x01),
    InsnFeature.ATOMIC_XCHG: _atomic(0xE1),
    InsnFeature.ATOMIC_CMPXCHG: _atomic(0xF1),
    InsnFeature.LDSX: _ZERO_STACK + _insn(0x91, 0, 10, -8) + _RETURN_0,
    InsnFeature.MOVSX: _ONE + _insn(0xBF, 0, 1, 8) + _RETURN_0,
    InsnFeature.BSWAP: _ONE + _insn(0xD7, 1, imm=32) + _RETURN_0,
    InsnFeature.SDIV_SMOD: _ONE + _insn(0x37, 1, off=1, imm=3) + _RETURN_0,
    InsnFeature.GOTOL: _insn(0x06, imm=0) + _RETURN_0,
    # Without an offset 6.12 refuses it and 6.18 does not.
    InsnFeature.MAY_GOTO: _insn(0xB7) + _insn(0xE5, off=1) + _insn(0x07) + _RETURN_0,
    InsnFeature.LOAD_ACQUIRE: _ZERO_STACK + _insn(0xDB, 0, 10, -8, 0x100) + _RETURN_0,
    InsnFeature.STORE_RELEASE: _ZERO_STACK + _ONE + _insn(0xDB, 10, 1, -8, 0x110) + _RETURN_0,
    InsnFeature.LOOP: _insn(0xB7) + _insn(0x07, imm=1) + _insn(0xA5, off=-2, imm=4) + _RETURN_0,
    InsnFeature.BPF2BPF: _insn(0x85, src=1, imm=1) + _insn(0x95) + _RETURN_0,
}
"""One valid program per feature; a kernel that has the feature loads it as a SOCKET_FILTER."""


class Prober:
    """Asks by loading; every program is closed at once. Close it (or use ``with``): it may hold module BTF.

    ``vmlinux`` and ``modules`` are the running kernel's own.
    """

    def __init__(self, vmlinux: Btf | None, modules: Mapping[str, Btf]) -> None:
        self._vmlinux = vmlinux
        self._modules = modules
        self._types: dict[Context, bool | None] = {}
        self._helper_controls: dict[Context, tuple[Shape, ...]] = {}
        self._kfunc_controls: dict[Context, tuple[Shape, ...]] = {}
        self._sleep_learnt: list[frozenset[str] | None] = []
        self._module_fds: dict[str, int] | None = None
        self._held = ExitStack()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    # -- program types -----------------------------------------------------------------------------

    def program_type(self, program_type: ProgramType) -> bool | None:
        """Whether a program of this type can be loaded."""
        return _any(self._loads(context) for context in contexts(program_type))

    def _loads(self, context: Context) -> bool | None:
        if context not in self._types:
            self._types[context] = self._type_answer(context)
        return self._types[context]

    def _type_answer(self, context: Context) -> bool | None:
        trial = self._load(context, _RETURN_0)
        if trial.loaded:
            return True
        if trial.log:
            # The verifier has had it: the type is there, whatever it thinks of the program. That this type
            # may not sleep (KPROBE before 6.0) it says before it looks at a single instruction.
            if context.sleepable and context.program_type != ProgramType.SYSCALL:
                return shape(self._load(context, _helper_call(_MAP_LOOKUP) + _RETURN_0)) is not None
            return True
        if context.target is not None:
            return None  # the target may be missing, and trampolines may be forbidden by lockdown
        # A type or attach type that is not there is refused as a number that no kernel knows, before the
        # verifier.
        nobody = self._load(Context(_NO_SUCH_TYPE), _RETURN_0)
        if not nobody.loaded and trial.errno == nobody.errno and trial.errno != errno.EPERM:
            return False
        return None

    def permitted(self, use: KindUse) -> bool | None:
        """Whether policy lets this process load programs of that kind; no is a denial, whatever the program.

        A denial is an EPERM without a word of the verifier although the process holds the type's
        capabilities and the same kernel takes a socket filter from it. Whether the type exists is
        :meth:`program_type`'s matter.
        """
        lacking = sys.missing(frozenset(rule(use.program_type).capabilities))
        found = contexts(use.program_type, use.attach_type, use.sleepable)
        if lacking or not found or not self._loads(Context(ProgramType.SOCKET_FILTER)):
            return None
        trials = [self._load(context, _RETURN_0) for context in found]
        if any(trial.loaded or trial.log for trial in trials):
            return True
        return False if all(trial.errno == errno.EPERM for trial in trials) else None

    def _call(self, uses: Iterable[Context], judged: Callable[[Context], bool | None]) -> bool | None:
        """The answer over several contexts: yes from any, no only when all of them say so."""

        def answers() -> Iterator[bool | None]:
            for context in uses:
                loads = self._loads(context)
                if loads is None:
                    yield None
                elif loads:
                    answer = judged(context)
                    yield None if answer is False and not context.representative else answer

        return _any(answers())

    # -- helpers -----------------------------------------------------------------------------------

    def helper(self, use: HelperUse) -> bool | None:
        """Whether the helper may be called from the type (with any attach type, unless one is named)."""
        uses = contexts(use.program_type, use.attach_type, use.sleepable)
        return self._call(uses, partial(self._helper_in, use.number))

    def _helper_in(self, number: int, context: Context) -> bool | None:
        controls = self._helper_controls.get(context)
        if controls is None:
            controls = self._helper_controls[context] = self._control_helpers(context)
        return judge(self._load(context, _helper_call(number) + _RETURN_0), controls) if controls else None

    def _control_helpers(self, context: Context) -> tuple[Shape, ...]:
        """Refusals of helpers that a program of this context surely may not call, one for each reason."""
        kind, attach = context.program_type, context.attach_type
        numbers = [_NO_SUCH_HELPER, _SKB_LOAD_BYTES if kind == ProgramType.XDP else _REDIRECT_MAP]
        if kind != ProgramType.LSM and (kind != ProgramType.TRACING or attach == AttachType.TRACE_RAW_TP):
            numbers.append(_D_PATH)
        if not context.sleepable:
            numbers.append(_COPY_FROM_USER)
        shapes = [shape(self._load(context, _helper_call(number) + _RETURN_0)) for number in numbers]
        # map_lookup_elem is allowed everywhere: a control that looks the same cannot tell anything.
        allowed = shape(self._load(context, _helper_call(_MAP_LOOKUP) + _RETURN_0))
        found = tuple(one for one in shapes if one is not None)
        return () if len(found) != len(numbers) or allowed is None or allowed in found else found

    # -- kfuncs ------------------------------------------------------------------------------------

    def kfunc(self, use: KfuncUse) -> bool | None:
        """Whether the kfunc may be called from the type (with any attach type, unless one is named).

        A function that is in no BTF is a certain no. One that needs a sleepable program counts as callable
        unless the use says that the program is not sleepable.
        """
        found = self._find(use.name)
        if found is None:
            return None if self._vmlinux is None else False
        uses = contexts(use.program_type, use.attach_type, use.sleepable)
        return self._call(uses, partial(self._kfunc_in, *found, use.sleepable is False))

    def _find(self, name: str) -> tuple[str | None, int] | None:
        if self._vmlinux is None:
            return None
        ids = self._vmlinux.find_all(name, Kind.FUNC)
        if ids:
            return None, ids[0]
        for module, btf in self._modules.items():
            ids = btf.find_all(name, Kind.FUNC)
            if ids:
                return module, ids[0]
        return None

    def _kfunc_in(
        self, module: str | None, type_id: int, must_not_sleep: bool, context: Context
    ) -> bool | None:
        controls = self._kfunc_controls.get(context)
        if controls is None:
            controls = self._kfunc_controls[context] = self._control_kfuncs(context)
        if not controls:
            return None
        if module is None:
            trial = self._load(context, _kfunc_call(type_id) + _RETURN_0)
        else:
            fd = self._module_btf(module)
            if fd is None:
                return None
            # Place 0 of fd_array stands for vmlinux (insn.off == 0), so a module's BTF goes to place 1.
            trial = self._load(context, _kfunc_call(type_id, 1) + _RETURN_0, fd_array=(0, fd))
        answer = judge(trial, controls)
        if not (answer and must_not_sleep) or trial.loaded:
            return answer
        refusals = self._sleep_refusals()
        seen = shape(trial)
        return None if refusals is None or seen is None else seen.after not in refusals

    def _sleep_refusals(self) -> frozenset[str] | None:
        """What this kernel says of a sleepable kfunc (KF_SLEEPABLE) in a program that must not sleep.

        Learnt from one that it refuses differently in two programs of which only one may sleep. Empty for a
        kernel that has none of those that are tried, None when it has some and they tell nothing.
        """
        if not self._sleep_learnt:
            iterators = contexts(ProgramType.TRACING, AttachType.TRACE_ITER)
            known = [found for name in _SLEEPABLE if (found := self._find(name)) and found[0] is None]
            lines = set()
            for _, type_id in known:
                awake, asleep = (
                    shape(self._load(one, _kfunc_call(type_id) + _RETURN_0)) for one in iterators
                )
                if awake and asleep and awake.after != asleep.after:
                    lines.add(awake.after)
            self._sleep_learnt.append(frozenset(lines) if lines or not known else None)
        return self._sleep_learnt[0]

    def _control_kfuncs(self, context: Context) -> tuple[Shape, ...]:
        """Refusals of functions that are in BTF and are no kfuncs; one is enough, two make it sure."""
        found: list[Shape] = []
        for name in _NO_KFUNCS:
            ids = self._vmlinux.find_all(name, Kind.FUNC) if self._vmlinux else []
            if ids and (one := shape(self._load(context, _kfunc_call(ids[0]) + _RETURN_0))) is not None:
                found.append(one)
            if len(found) == 2:
                break
        return tuple(found) if len(set(found)) == 1 else ()

    def _module_btf(self, module: str) -> int | None:
        """A descriptor of the module's BTF, held until close; None without CAP_SYS_ADMIN (going by id)."""
        if self._module_fds is None:
            self._module_fds = {}
            try:
                for number in sys.ids("btf"):
                    owned = sys.fd_by_id("btf", number)
                    info = sys.btf_info(owned.fileno())
                    if info.kernel and info.name in self._modules:
                        self._module_fds[info.name] = self._held.enter_context(owned).fileno()
                    else:
                        owned.close()
            except OSError:
                pass  # EPERM, or a module that went away meanwhile: what was found is still true
        return self._module_fds.get(module)

    def _load(self, context: Context, insns: bytes, *, fd_array: tuple[int, ...] = ()) -> Trial:
        target = self._target(context.target) if context.target else 0
        if target is None:
            return Trial(False, errno.ENOENT, "")
        result = sys.prog_load(
            context.program_type,
            insns,
            expected_attach_type=self._member(context.target) or context.attach_type,
            flags=sys.ProgFlag.SLEEPABLE if context.sleepable else 0,
            log_level=1,
            log_size=_LOG_BYTES,
            attach_btf_id=target,
            fd_array=fd_array,
        )
        if result.fd is not None:
            result.fd.close()
            return Trial(True, 0, result.log)
        return Trial(False, result.errno, result.log)

    def _target(self, target: Target) -> int | None:
        ids = self._vmlinux.find_all(target.name, target.kind) if self._vmlinux else []
        return ids[0] if ids else None

    def _member(self, target: Target | None) -> int:
        """The place of the target's member, 0 when it has none."""
        if target is None or not target.member or self._vmlinux is None:
            return 0
        found = self._vmlinux.type(self._target(target) or 0)
        names = [member.name for member in found.members] if isinstance(found, Struct) else []
        return names.index(target.member) if target.member in names else 0

    # -- instructions ------------------------------------------------------------------------------

    def insn_feature(self, feature: str) -> bool | None:
        """Whether the verifier takes the instruction; None for a feature without a trial program."""
        insns = INSN_TRIALS.get(feature)
        socket_filter = Context(ProgramType.SOCKET_FILTER)
        if insns is None or not self._load(socket_filter, _RETURN_0).loaded:
            return None
        trial = self._load(socket_filter, insns)
        if trial.loaded:
            return True
        # The program is valid, so EINVAL from the verifier (it wrote a log) is about the instruction. What a
        # JIT says, or a limit on its memory, has other numbers.
        return False if trial.log and trial.errno == errno.EINVAL else None


def _helper_call(number: int) -> bytes:
    return _insn(0x85, imm=number)


def _kfunc_call(type_id: int, off: int = 0) -> bytes:
    return _insn(0x85, src=_PSEUDO_KFUNC_CALL, off=off, imm=type_id)


def _any(answers: Iterable[bool | None]) -> bool | None:
    """True when one is, False when all are (and there is one), else None. Stops at the first True."""
    seen: set[bool | None] = set()
    for answer in answers:
        if answer:
            return True
        seen.add(answer)
    return False if seen == {False} else None
