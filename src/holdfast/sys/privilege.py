# SPDX-License-Identifier: Apache-2.0
"""What this process may do: capabilities, user namespace, sysctls, lockdown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

__all__ = [
    "Lockdown", "capabilities", "in_initial_user_namespace", "lockdown", "missing",
    "unprivileged_bpf_disabled",
]  # fmt: skip

# include/uapi/linux/capability.h, by bit.
_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL",
    "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip


class Lockdown(StrEnum):
    """Levels of ``/sys/kernel/security/lockdown``."""

    NONE = "none"
    INTEGRITY = "integrity"
    CONFIDENTIALITY = "confidentiality"


def capabilities() -> frozenset[str]:
    """Returns the effective capabilities of the calling thread, ``CAP_BPF`` and so on.

    In a user namespace of its own a process can show all of them and yet load nothing: the kernel asks
    bpf_capable() of the initial namespace; see :func:`in_initial_user_namespace`.
    """
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            mask = int(line.split()[1], 16)
            return frozenset(f"CAP_{name}" for bit, name in enumerate(_NAMES) if mask >> bit & 1)
    return frozenset()


def in_initial_user_namespace() -> bool:
    """Returns whether user ids are not mapped (an identity map of all ids is the initial namespace's)."""
    try:
        return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    except OSError:
        return True  # a kernel without user namespaces has no such file


def missing(wanted: frozenset[str]) -> frozenset[str]:
    """Returns which of ``wanted`` this process lacks. CAP_SYS_ADMIN stands for BPF, PERFMON and NET_ADMIN.

    Kernel bpf_capable() and perfmon_capable() (5.8); bpf_net_capable() admits CAP_SYS_ADMIN as well.
    """
    held = capabilities()
    if "CAP_SYS_ADMIN" in held:
        held |= {"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"}
    return wanted - held


def lockdown() -> Lockdown | None:
    """Returns the lockdown level, or None where the kernel has none or /sys/kernel/security is not
    mounted.
    """
    try:
        text = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        return None
    chosen = text[text.find("[") + 1 : text.find("]")]
    return Lockdown(chosen) if chosen in {level.value for level in Lockdown} else None


def unprivileged_bpf_disabled() -> int | None:
    """Returns ``kernel.unprivileged_bpf_disabled``: 0 allowed, 1 off for good, 2 off; None where
    unreadable.
    """
    try:
        return int(Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text())
    except (OSError, ValueError):
        return None
