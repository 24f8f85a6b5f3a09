# SPDX-License-Identifier: Apache-2.0
"""What fentry, fexit and fmod_ret can attach to, as far as BTF tells.

bpf_check_attach_target and check_attach_btf_id in kernel/bpf/verifier.c, btf_distill_func_proto in
kernel/bpf/btf.c. BTF does not tell notrace and noinstr functions from others: those load and then fail to
attach. pahole leaves out what has no fentry site only in so far as the compiler dropped the function.
"""

from __future__ import annotations

from typing import Final

from holdfast.btf.reader import Btf
from holdfast.btf.types import Enum, Func, FuncProto, Int, Modifier, Ptr, Struct, Union
from holdfast.rules import sets
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since
from holdfast.terms import AttachType

__all__ = ["attachable", "may_modify_return", "may_sleep", "prototype_accepted", "without_address"]

_DENY: Final = "btf_id_deny in kernel/bpf/verifier.c"
_AT_EXIT: Final = frozenset({AttachType.TRACE_FEXIT, AttachType.TRACE_FSESSION, AttachType.MODIFY_RETURN})
_INJECTION: Final = Sign.func("within_error_injection_list")
# register_btf_fmodret_id_set(), commit 5b481acab4ce (v6.3): net/bpf/test_run.c, drivers/hid/bpf up to v6.10,
# net/mptcp/bpf.c. Before it the test functions were in the error injection list.
_FMOD_RET: Final = frozenset(
    {
        "bpf_fentry_test1",
        "bpf_modify_return_test",
        "bpf_modify_return_test2",
        "bpf_modify_return_test_tp",
        "__hid_bpf_tail_call",
        "hid_bpf_device_event",
        "hid_bpf_rdesc_fixup",
        "update_socket_protocol",
    }
)
_FMOD_RET_SLEEPABLE: Final = frozenset({"bpf_fentry_test1", "hid_bpf_rdesc_fixup"})
_FMOD_RET_SOURCE: Final = "register_btf_fmodret_id_set in kernel/bpf/btf.c"
_MAX_ARGUMENTS: Final = 12  # MAX_BPF_FUNC_ARGS
# has_arch_syscall_prefix
_SYSCALLS: Final = {
    "x86_64": "__x64_",
    "aarch64": "__arm64_",
    "s390x": "__s390x_",
    "riscv64": "__riscv_",
    "ppc64le": "sys_",
    "loongarch64": "sys_",
}


def attachable(function: str, attach_type: AttachType, ask: Ask, *, arch: str | None = None) -> Ruling:
    """Whether the verifier turns the function down by name, or the architecture has no trampoline."""
    denied = sets.member_of("btf_id_deny", function, ask)
    if denied.allowed is not Allowed.NO:
        allowed = Allowed.NO if denied.allowed is Allowed.YES else Allowed.UNKNOWN
        return Ruling(
            allowed, f"tracing programs may not attach to {function}", _DENY, by_release=denied.by_release
        )
    if attach_type in _AT_EXIT:
        never = sets.member_of("noreturn_deny", function, ask)
        if never.allowed is not Allowed.NO:
            # Kernels before that check load such a program and never run its exit part.
            allowed = Allowed.NO if never.allowed is Allowed.YES else Allowed.UNKNOWN
            return Ruling(allowed, f"{function} never returns", "noreturn_deny in kernel/bpf/verifier.c")
    if arch == "aarch64":
        # arch_prepare_bpf_trampoline is not in the arm64 part of the 5.10 tree, and is in that of 6.1.
        there = since(ask, (6, 0))
        if not there:
            allowed = Allowed.NO if since(ask, (5, 11)) is False else Allowed.UNKNOWN
            return Ruling(allowed, "arm64 has no BPF trampolines yet", "arch/arm64/net/bpf_jit_comp.c")
    return Ruling(Allowed.YES, "", _DENY)


def without_address(function: str) -> Ruling:
    """The ruling for a function whose name is in BTF and not among the kernel's symbols.

    pahole 1.25 and newer keeps ``foo`` for a function that the compiler turned into ``foo.isra.0`` or
    ``foo.constprop.0`` when its parameters stayed the same; the verifier then finds no address (-ENOENT).
    """
    return Ruling(
        Allowed.NO,
        f"the compiler left no symbol {function}, only an optimized copy of it",
        "bpf_check_attach_target in kernel/bpf/verifier.c",
    )


def prototype_accepted(btf: Btf, type_id: int, ask: Ask, *, arch: str | None = None) -> Ruling:
    """Whether the trampoline can pass on the arguments of the FUNC ``type_id`` of ``btf``.

    At most 12 arguments, none variable; integers, enumerations, pointers, and by value structs and unions of
    up to 16 bytes; a return value that is neither. Structs came between the 5.10 and 6.1 trees, unions
    between those of 6.12 and 6.18. Arguments beyond the registers load, and fail when attached.
    """
    source = "btf_distill_func_proto in kernel/bpf/btf.c"
    name = btf.name(type_id)
    function = btf.type(type_id)
    proto = btf.type(function.type_id) if isinstance(function, Func) else None
    if not isinstance(proto, FuncProto):
        return Ruling(Allowed.UNKNOWN, f"{name} has no prototype in BTF", source)
    if len(proto.params) > _MAX_ARGUMENTS:
        return Ruling(Allowed.NO, f"{name} has {len(proto.params)} arguments, too many to trace", source)
    if proto.params and proto.params[-1].type_id == 0:
        return Ruling(Allowed.NO, f"{name} takes variable arguments", source)
    returned = _skip(btf, proto.return_type_id)
    if returned and not isinstance(btf.type(returned), Ptr | Int | Enum):
        return Ruling(Allowed.NO, f"{name} returns a type that a trampoline cannot pass on", source)
    registers = 0
    for position, param in enumerate(proto.params, 1):
        kind = btf.type(_skip(btf, param.type_id))
        size = kind.size if isinstance(kind, Int | Enum | Struct | Union) else 8
        if isinstance(kind, Struct | Union):
            ruling = _by_value(f"argument {position} of {name}", kind, ask, source)
            if ruling is not None:
                return ruling
        elif not isinstance(kind, Ptr | Int | Enum):
            return Ruling(Allowed.NO, f"argument {position} of {name} is of a kind not passed on", source)
        registers += (size + 7) // 8
    return _registers(name, registers, ask, arch)


def _by_value(what: str, kind: Struct | Union, ask: Ask, source: str) -> Ruling | None:
    """What speaks against an argument that is a struct or union."""
    word, release, before = (
        ("struct", (6, 1), (5, 11)) if isinstance(kind, Struct) else ("union", (6, 18), (6, 13))
    )
    if not since(ask, release):
        allowed = Allowed.NO if since(ask, before) is False else Allowed.UNKNOWN
        return Ruling(allowed, f"{what} is a {word} by value", source)
    if kind.size > 16:
        return Ruling(Allowed.NO, f"{what} is a {word} of more than 16 bytes", source)
    return None


def _registers(name: str, registers: int, ask: Ask, arch: str | None) -> Ruling:
    """Arguments beyond the registers: the JIT of each architecture learnt them at its own time."""
    source = "arch_prepare_bpf_trampoline in arch/*/net/bpf_jit_comp.c"
    limit = {"x86_64": 6, "aarch64": 8}.get(arch or "", 6)
    if registers <= limit:
        return Ruling(Allowed.YES, "", source)
    # x86: 6 in the 6.1 tree, 12 in that of 6.12; arm64: 8 in that of 6.12, 12 in that of 6.18.
    release = (6, 18) if arch == "aarch64" else (6, 12)
    there = since(ask, release)
    before = since(ask, (6, 13) if arch == "aarch64" else (6, 2))
    if there and arch in ("x86_64", "aarch64"):
        return Ruling(Allowed.YES, "", source)
    why = f"{name} takes its arguments in {registers} registers, more than this kernel's trampolines pass on"
    return Ruling(Allowed.NO if before is False else Allowed.UNKNOWN, why, source)


def _skip(btf: Btf, type_id: int) -> int:
    """The type below qualifiers, typedefs and tags."""
    while type_id:
        kind = btf.type(type_id)
        if not isinstance(kind, Modifier) or isinstance(kind, Ptr):
            break
        type_id = kind.type_id
    return type_id


def may_sleep(function: str, ask: Ask, *, arch: str | None = None) -> Ruling:
    """Whether a sleepable fentry, fexit or fmod_ret program may attach to the function.

    With CONFIG_FUNCTION_ERROR_INJECTION that takes a function in the error injection list, which BTF does not
    show. Without it no function can be in that list; the 7.1 tree then takes a system call's entry, that of
    6.18 none. Functions in an fmod_ret set with KF_SLEEPABLE may too, whatever the attach type.
    """
    source = "check_attach_sleepable in kernel/bpf/verifier.c"
    if function in _FMOD_RET_SLEEPABLE and since(ask, (6, 3)):
        return Ruling(Allowed.YES, "", _FMOD_RET_SOURCE)
    injectable = _injectable(function, ask, arch)
    if injectable is False:
        return Ruling(Allowed.NO, f"{function} is not sleepable", source)
    bad = sets.member_of("btf_non_sleepable_error_inject", function, ask)
    if bad.allowed is Allowed.YES:
        return Ruling(Allowed.NO, f"{function} is not sleepable", source)
    if injectable:
        return Ruling(Allowed.YES, "", source)
    why = f"{function} takes sleepable programs only if open to error injection, which BTF does not show"
    return Ruling(Allowed.UNKNOWN, why, source)


def may_modify_return(function: str, ask: Ask, *, arch: str | None = None) -> Ruling:
    """Whether an fmod_ret program that may not sleep can attach: ``security_*``, functions in an fmod_ret
    set, and what is open to error injection, or in its stead (7.1) system calls.
    """
    source = "check_attach_modify_return in kernel/bpf/verifier.c"
    if function.startswith("security_"):
        return Ruling(Allowed.YES, "", source)
    if function in _FMOD_RET and since(ask, (6, 3)):
        return Ruling(Allowed.YES, "", _FMOD_RET_SOURCE)
    injectable = _injectable(function, ask, arch)
    if injectable is False:
        return Ruling(Allowed.NO, f"{function} is not modifiable", source)
    if injectable:
        return Ruling(Allowed.YES, "", source)
    why = f"{function} is modifiable only where it is open to error injection, which BTF does not show"
    return Ruling(Allowed.UNKNOWN, why, source)


def _injectable(function: str, ask: Ask, arch: str | None) -> bool | None:
    """within_error_injection_list(), or what the 7.1 tree puts in its place without that list.

    SYSCALL_DEFINE opens system calls to error injection (include/linux/syscalls.h).
    """
    enabled = ask.config("FUNCTION_ERROR_INJECTION")
    if enabled is None and ask.btf(_INJECTION):
        enabled = True  # absence is no proof: pahole leaves functions out
    is_syscall = _is_syscall(function, arch)
    if enabled is None:
        return True if is_syscall and since(ask, (7, 1)) else None
    if enabled:
        return True if is_syscall else None
    if not is_syscall or since(ask, (6, 19)) is False:
        return False
    return True if since(ask, (7, 1)) else None


def _is_syscall(function: str, arch: str | None) -> bool:
    prefixes = [_SYSCALLS[arch]] if arch in _SYSCALLS else ["__x64_", "__arm64_", "__s390x_", "__riscv_"]
    return any(function.startswith(f"{prefix.removesuffix('sys_')}sys_") for prefix in prefixes)
