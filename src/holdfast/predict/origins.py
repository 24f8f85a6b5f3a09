# SPDX-License-Identifier: Apache-2.0
"""Which registers of a program hold typed pointers to the kernel's objects, whatever the kernel: arguments of
BTF targets, results of kfuncs and of some helpers.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from holdfast.btf import essential_name
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Composite, Func, FuncProto, Fwd, Ptr
from holdfast.elf.spec import ObjectSpec, ProgramSpec, ReferenceKind
from holdfast.insn.live import Origins
from holdfast.terms import ProgramType

__all__ = ["HELPER_RESULTS", "origins"]

_WITH_ARGUMENTS: Final = frozenset({ProgramType.TRACING, ProgramType.LSM, ProgramType.STRUCT_OPS})
HELPER_RESULTS: Final = {
    136: "tcp6_sock",
    137: "tcp_sock",
    138: "tcp_timewait_sock",
    139: "tcp_request_sock",
    140: "udp6_sock",
    158: "task_struct",
    162: "socket",
    175: "pt_regs",
    178: "unix_sock",
    196: "mptcp_sock",
}
"""Number of a helper -> the struct that its result points to (``ret_btf_id`` of its bpf_func_proto and
``btf_sock_ids`` in net/core/filter.c, the same in the trees 5.10 to 7.3)."""


def origins(spec: ObjectSpec, program: ProgramSpec) -> Origins:
    """Where the program gets such pointers. Origins of calls are ``("kfunc", name)`` as the kernel calls it,
    and ``("helper", number)``.
    """
    calls: dict[int, Hashable] = {
        reference.slot: ("kfunc", essential_name(reference.name))
        for reference in program.references
        if reference.kind is ReferenceKind.KFUNC_CALL and _gives_struct(spec, reference.name)
    }
    for slot, insn in enumerate(program.insns):
        if insn.is_helper_call and insn.imm in HELPER_RESULTS:
            calls[slot] = ("helper", insn.imm)
    return Origins(program.type in _WITH_ARGUMENTS, calls)


def _gives_struct(spec: ObjectSpec, name: str) -> bool:
    """Whether the object's own declaration of a kfunc says that it returns a pointer to a struct."""
    extern = spec.extern(name)
    if spec.btf is None or extern is None or not extern.type_id:
        return False
    _, kind = skip_mods_and_typedefs(spec.btf, extern.type_id)
    if isinstance(kind, Func):
        _, kind = skip_mods_and_typedefs(spec.btf, kind.type_id)
    if not isinstance(kind, FuncProto) or not kind.return_type_id:
        return False
    _, result = skip_mods_and_typedefs(spec.btf, kind.return_type_id)
    if not isinstance(result, Ptr) or not result.type_id:
        return False
    _, target = skip_mods_and_typedefs(spec.btf, result.type_id)
    return isinstance(target, Composite | Fwd)
