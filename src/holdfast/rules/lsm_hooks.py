# SPDX-License-Identifier: Apache-2.0
"""What an LSM program may attach to, where it may sleep, and what it may return.

A hook ``<name>`` is the function ``bpf_lsm_<name>`` (kernel/bpf/bpf_lsm.c); its FUNC in BTF says that the
kernel has it. The sets are in ``btf_sets``.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules import sets
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.rules.eras import since, trees_in
from holdfast.rules.helper_table import TREES
from holdfast.terms import AttachType

__all__ = ["attachable", "return_range", "sleepable"]

_MAX_ERRNO: Final = 4095


def _function(hook: str) -> str:
    return hook if hook.startswith("bpf_lsm_") else f"bpf_lsm_{hook}"


def attachable(hook: str, ask: Ask) -> Ruling:
    """Whether the kernel has the hook and lets BPF use it; ``hook`` with or without ``bpf_lsm_``."""
    function = _function(hook)
    found = ask.btf(Sign.func(function))
    if found is False:
        return Ruling(Allowed.NO, f"this kernel has no LSM hook {function.removeprefix('bpf_lsm_')}", "BTF")
    if ask.config("BPF_LSM") is False:
        return Ruling(Allowed.NO, "the kernel is built without CONFIG_BPF_LSM", "kernel/bpf/Kconfig")
    disabled = sets.member_of("bpf_lsm_disabled_hooks", function, ask)
    source = "bpf_lsm_verify_prog, bpf_lsm_disabled_hooks in kernel/bpf/bpf_lsm.c"
    if disabled.allowed is Allowed.YES:
        return Ruling(Allowed.NO, f"LSM hook {hook} is closed to BPF", source, by_release=disabled.by_release)
    if disabled.allowed is Allowed.UNKNOWN:
        return Ruling(Allowed.UNKNOWN, f"LSM hook {hook} was closed to BPF in releases this may be", source)
    if found is None:
        return Ruling(Allowed.UNKNOWN, f"without BTF nothing tells whether there is LSM hook {hook}", source)
    return Ruling(Allowed.YES, "", source, by_release=disabled.by_release)


def sleepable(hook: str, ask: Ask) -> Ruling:
    """Whether a sleepable program may attach to the hook."""
    found = sets.member_of("sleepable_lsm_hooks", _function(hook), ask)
    if found.allowed is Allowed.NO:
        return Ruling(
            Allowed.NO, f"LSM hook {hook} is no place to sleep", found.source, by_release=found.by_release
        )
    return found


def return_range(hook: str, attach_type: AttachType, returns_void: bool, ask: Ask) -> tuple[int, int] | None:
    """What the program may return; None where the kernel does not look.

    LSM_CGROUP: 0 or 1, only 1 for hooks that return nothing (check_return_code, since the attach type is
    there). LSM_MAC: 0 or a negative error (-4095), or 0 and 1 for the hooks in bool_lsm_hooks, since commit
    5d99e198be27 ("bpf, lsm: Add check for BPF LSM return value", v6.12).
    """
    if attach_type is AttachType.LSM_CGROUP:
        return (1, 1) if returns_void else (0, 1)
    if returns_void:
        return None
    if not since(ask, (6, 12)):
        return None
    trees, _ = trees_in(ask, TREES)
    if _function(hook) in sets.members("bool_lsm_hooks", max(trees)):
        return 0, 1
    return -_MAX_ERRNO, 0
