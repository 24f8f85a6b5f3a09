# SPDX-License-Identifier: Apache-2.0
"""Which prototypes the verifier takes for global functions, which it verifies on their own.

btf_prepare_func_args in kernel/bpf/btf.c, trees 5.10 to 7.1.
"""

from __future__ import annotations

from typing import Final

from holdfast.btf.reader import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Composite, Enum, Func, FuncProto, Int, Ptr, Void
from holdfast.rules.arguments import CONTEXT_STRUCTS
from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.eras import since
from holdfast.terms import ProgramType

__all__ = ["accepted"]

_SOURCE: Final = "btf_prepare_func_args in kernel/bpf/btf.c"


def accepted(btf: Btf, type_id: int, program_type: ProgramType, ask: Ask) -> Ruling:
    """Whether the FUNC ``type_id`` of the object's ``btf`` can be a global function of such a program.

    It returns a number (or, in the 7.1 tree, nothing). Pointers to other things than the context are taken
    since commit e5069b9c23b3 ("bpf: Support pointers in global func args", v5.12).
    """
    name = btf.name(type_id)
    function = btf.type(type_id)
    proto = btf.type(function.type_id) if isinstance(function, Func) else None
    if not isinstance(proto, FuncProto):
        return Ruling(Allowed.YES, "", _SOURCE)
    _, returned = skip_mods_and_typedefs(btf, proto.return_type_id)
    if not isinstance(returned, Int | Enum):
        why = f"global function {name} returns no number"
        if not isinstance(returned, Void) or since(ask, (6, 19)) is False:
            return Ruling(Allowed.NO, why, _SOURCE)
        if not since(ask, (7, 1)):
            return Ruling(Allowed.UNKNOWN, why, _SOURCE)
    if since(ask, (5, 12)) is not False:
        return Ruling(Allowed.YES, "", _SOURCE)
    for position, param in enumerate(proto.params, 1):
        _, kind = skip_mods_and_typedefs(btf, param.type_id)
        if not isinstance(kind, Int | Enum) and not _is_context(btf, kind, program_type):
            why = f"argument {position} of global function {name} is neither number nor context"
            return Ruling(Allowed.NO, why, f"{_SOURCE}, 5.12 (e5069b9c23b3)")
    return Ruling(Allowed.YES, "", _SOURCE)


def _is_context(btf: Btf, kind: object, program_type: ProgramType) -> bool:
    """btf_get_prog_ctx_type(): by the struct's name; types whose context is no struct let any through."""
    if not isinstance(kind, Ptr):
        return False
    _, pointee = skip_mods_and_typedefs(btf, kind.type_id)
    expected = {CONTEXT_STRUCTS.get(program_type)}
    if program_type is ProgramType.KPROBE:
        expected.add("bpf_user_pt_regs_t")
    return isinstance(pointee, Composite) and (None in expected or pointee.name in expected)
