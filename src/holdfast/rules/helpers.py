# SPDX-License-Identifier: Apache-2.0
"""Whether a program may call a helper: the get_func_proto functions of the kernel, as a table.

The table (``helper_table``) holds, for each tree that was read, the conditions on which each program type is
handed a helper: configuration, capabilities, attach type, licence, sleepability, lockdown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from holdfast.rules import sets
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign, combine
from holdfast.rules.eras import trees_in
from holdfast.rules.helper_table import HELPERS, LAST_HELPER, RULES, SIGNS, TREES
from holdfast.terms import AttachType, ProgramType

__all__ = ["callable_from", "exists", "helper_name", "helper_number"]

_SOURCE = "get_func_proto of the program type, trees 5.10 to 7.3"
# What the kernel makes of expected_attach_type 0 (bpf_prog_load_fixup_attach_type in kernel/bpf/syscall.c).
_DEFAULT_ATTACH = {
    ProgramType.CGROUP_SOCK: AttachType.CGROUP_INET_SOCK_CREATE,
    ProgramType.SK_REUSEPORT: AttachType.SK_REUSEPORT_SELECT,
}
_NEEDS_ATTACH = {
    ProgramType.TRACING,
    ProgramType.LSM,
    ProgramType.CGROUP_SOCK_ADDR,
    ProgramType.CGROUP_SOCKOPT,
}
_HAS_TARGET = {ProgramType.TRACING, ProgramType.LSM, ProgramType.STRUCT_OPS}
# Iterators that hand out helpers of their own (bpf_iter_reg.get_func_proto): target -> function that does it.
_ITERATOR_HELPERS = {
    "bpf_iter_tcp": ("bpf_iter_tcp_get_func_proto", ("setsockopt", "getsockopt")),
    "bpf_iter_unix": ("bpf_iter_unix_get_func_proto", ("setsockopt", "getsockopt")),
}


def helper_name(helper: int) -> str:
    """``bpf_<name>`` of a helper's number, or ``helper #<number>`` where no known kernel has it."""
    name = HELPERS.get(helper)
    return f"bpf_{name}" if name else f"helper #{helper}"


def helper_number(name: str) -> int | None:
    """The number of a helper, named with or without ``bpf_``; None where no known kernel has it."""
    return _numbers().get(name.removeprefix("bpf_"))


def exists(helper: int, ask: Ask) -> Ruling:
    """Whether this kernel has a helper of that number at all (``enum bpf_func_id``)."""
    name = HELPERS.get(helper)
    if name is None:
        return Ruling(Allowed.UNKNOWN, f"no known kernel has a helper #{helper}", "enum bpf_func_id")
    found = ask.btf(Sign.value("bpf_func_id", f"BPF_FUNC_{name}"))
    if found is None and helper <= LAST_HELPER[0]:
        found = True  # older than 5.10, the oldest kernel that is judged
    if found is not None:
        why = "" if found else f"this kernel's enum bpf_func_id ends before bpf_{name} (#{helper})"
        return Ruling(Allowed.YES if found else Allowed.NO, why, "enum bpf_func_id")
    trees, by_release = trees_in(ask, TREES)
    answers = {helper <= LAST_HELPER[tree] for tree in trees}
    if len(answers) > 1:
        return Ruling(
            Allowed.UNKNOWN, f"nothing tells whether this kernel has bpf_{name}", "enum bpf_func_id"
        )
    return Ruling(
        Allowed.YES if answers.pop() else Allowed.NO,
        f"releases like this one have no bpf_{name}",
        "enum bpf_func_id",
        by_release=by_release,
    )


def callable_from(
    helper: int,
    program_type: ProgramType,
    attach_type: AttachType | None,
    sleepable: bool,
    ask: Ask,
    *,
    gpl_compatible: bool = True,
    target: str | None = None,
) -> Ruling:
    """Whether a program of that kind may call the helper on the kernel behind ``ask``.

    ``target`` is the kernel function that the program attaches to (``bpf_lsm_file_open``, ``bpf_iter_tcp``,
    ``vfs_read``), or the member of a struct_ops program (``tcp_congestion_ops.ssthresh``). For EXT ask with
    the type of the program that is replaced. A helper that came between two trees is judged as the later tree
    has it, which is generous to a kernel where it was young and offered to fewer types. An attach type of
    None is what the kernel sees as 0. What the ruling's ``capabilities`` name could not be checked and is
    taken for granted.
    """
    there = exists(helper, ask)
    name = HELPERS.get(helper)
    if name is None or there.allowed is Allowed.NO:
        return there
    if program_type is ProgramType.EXT:
        return Ruling(Allowed.UNKNOWN, "an EXT program may call what the replaced program may", _SOURCE)
    kind = program_type.name
    if program_type is ProgramType.STRUCT_OPS:
        operations = (target or "").partition(".")[0]
        kind = f"STRUCT_OPS.{operations}"
        if not any(key[0] == kind for key in _index()):
            # Every subsystem but TCP congestion control hands out the base set; some still leave a few out.
            kind = "STRUCT_OPS.Qdisc_ops"
    row = _index().get((kind, name), ("no",))
    trees, by_release = trees_in(ask, TREES)
    trees = [tree for tree in trees if helper <= LAST_HELPER[tree]] or trees[-1:]
    cells = dict.fromkeys(row[min(tree, len(row) - 1)] for tree in trees)
    if len(cells) > 1:
        cells = _by_sign(cells, name, kind, ask)
    if attach_type is None or (attach_type == 0 and program_type in _DEFAULT_ATTACH):
        attach_type = _default(program_type)
    if target is None and program_type not in _HAS_TARGET:
        target = ""
    context = _Context(name, program_type, attach_type, sleepable, gpl_compatible, target, ask)
    ruling = combine([_judge(cell, context) for cell in cells])
    if ruling.allowed is not Allowed.YES and attach_type is AttachType.TRACE_ITER:
        own = _by_iterator(name, target, ask)
        ruling = ruling if own is None else own
    if ruling.allowed is Allowed.YES and there.allowed is Allowed.UNKNOWN:
        return there
    return replace(ruling, by_release=by_release or there.by_release)


def _default(program_type: ProgramType) -> AttachType | None:
    if program_type in _NEEDS_ATTACH:
        return None
    return _DEFAULT_ATTACH.get(program_type, AttachType(0))


@dataclass(frozen=True, slots=True)
class _Context:
    helper: str
    program_type: ProgramType
    attach_type: AttachType | None
    sleepable: bool
    gpl_compatible: bool
    target: str | None
    ask: Ask


def _judge(cell: str, context: _Context) -> Ruling:
    """The ruling of one tree's condition: the best of its alternatives."""
    if cell == "no":
        kind = context.program_type.name
        return Ruling(Allowed.NO, f"programs of type {kind} are not offered bpf_{context.helper}", _SOURCE)
    best: Ruling | None = None
    order = (Allowed.NO, Allowed.UNKNOWN, Allowed.YES)
    for alternative in cell.split("|"):
        ruling = _alternative(alternative, context)
        if best is None or order.index(ruling.allowed) > order.index(best.allowed):
            best = ruling
    assert best is not None
    return best


def _alternative(text: str, context: _Context) -> Ruling:
    capabilities: list[str] = []
    assumes: list[str] = []
    unknown = ""
    for atom in filter(None, text.split("&")):
        wanted = not atom.startswith("!")
        name, _, value = atom.removeprefix("!").partition(":")
        found, why = _holds(name, value, context)
        if found is None and name == "cap":
            capabilities.append(f"CAP_{value}")
        elif found is None and name == "lockdown":
            assumes.append(value)
        elif found is None:
            unknown = unknown or why
        elif found != wanted:
            return Ruling(Allowed.NO, why, _SOURCE)
    if unknown:
        return Ruling(Allowed.UNKNOWN, unknown, _SOURCE, tuple(capabilities), assumes=tuple(assumes))
    return Ruling(Allowed.YES, "", _SOURCE, tuple(capabilities), assumes=tuple(assumes))


def _holds(name: str, value: str, context: _Context) -> tuple[bool | None, str]:
    """Whether a named condition holds, and what to say where that forbids or leaves open the call."""
    helper = f"bpf_{context.helper}"
    if name == "config":
        return context.ask.config(value), f"{helper} needs CONFIG_{value}"
    if name == "cap":
        return context.ask.capability(f"CAP_{value}"), f"{helper} needs CAP_{value}"
    if name == "gpl":
        return context.gpl_compatible, f"{helper} is for programs with a GPL-compatible licence"
    if name == "sleepable":
        return context.sleepable, f"{helper} may sleep: the program must be sleepable"
    if name == "lockdown":
        return context.ask.locked_down(value), f"kernel lockdown ({value}) forbids {helper}"
    if name == "attach":
        if context.attach_type is None:
            return None, f"{helper} depends on the attach type"
        attach = context.attach_type.name
        why = f"{helper} is not offered to {context.program_type.name} programs with attach type {attach}"
        return attach in value.split(","), why
    if context.target is None:
        return None, f"{helper} depends on what the program attaches to"
    if name == "member":
        return context.target == value, f"{helper} is not offered to {value}"
    if name == "hook":
        return _in_set(value, context), f"{helper} is not offered to LSM hook {context.target}"
    if name == "allowed":
        return _ALLOWED[value](context), f"{helper} is not allowed in programs attached to {context.target}"
    raise AssertionError(f"{name}:{value}")


def _in_set(name: str, context: _Context) -> bool | None:
    assert context.target is not None
    answer = sets.member_of(name, context.target, context.ask).allowed
    return None if answer is Allowed.UNKNOWN else answer is Allowed.YES


def _sleepable_hook(context: _Context) -> bool | None:
    return _in_set("sleepable_lsm_hooks", context)


def _d_path(context: _Context) -> bool | None:
    if context.attach_type is AttachType.TRACE_ITER:
        return True
    if context.program_type is ProgramType.LSM:
        return _sleepable_hook(context)
    return _in_set("btf_allowlist_d_path", context)


def _sk_storage(context: _Context) -> bool | None:
    if context.attach_type in (AttachType.TRACE_ITER, AttachType.TRACE_RAW_TP):
        return True
    if context.attach_type in (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT):
        return not (context.target or "").startswith("bpf_sk_storage")
    return False


# The .allowed callbacks of helper prototypes (check_helper_call in kernel/bpf/verifier.c), by name.
_ALLOWED = {
    "bpf_d_path_allowed": _d_path,
    "bpf_ima_inode_hash_allowed": _sleepable_hook,
    "bpf_sk_storage_tracing_allowed": _sk_storage,
}


def _by_sign(cells: dict[str, None], name: str, kind: str, ask: Ask) -> dict[str, None]:
    """Where the permission came with a function of its own, that function's BTF tells which side of it we
    are on.
    """
    for function, kinds in SIGNS.get(name, {}).items():
        if kind in kinds.split():
            found = ask.btf(Sign.func(function))
            if found is not None:
                kept = [cell for cell in cells if (cell != "no") == found]
                return dict.fromkeys(kept) if kept else cells
    return cells


def _by_iterator(name: str, target: str | None, ask: Ask) -> Ruling | None:
    function, helpers = _ITERATOR_HELPERS.get(target or "", ("", ()))
    if name not in helpers:
        return None
    found = ask.btf(Sign.func(function))
    allowed = Allowed.UNKNOWN if found is None else Allowed.YES if found else Allowed.NO
    return Ruling(allowed, "" if found else f"{target} hands out bpf_{name} only in newer kernels", function)


@cache
def _index() -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for row, groups in RULES:
        for kinds, names in groups:
            for kind in kinds.split():
                for name in names.split():
                    found[kind, name] = row
    return found


@cache
def _numbers() -> dict[str, int]:
    return {name: number for number, name in HELPERS.items()}
