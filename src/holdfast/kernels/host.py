# SPDX-License-Identifier: Apache-2.0
"""What the machine and this process add to a kernel: capabilities, sysctls, lockdown, security modules."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HostFacts"]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Policy around the running kernel. None means that it could not be read.

    ``capabilities`` are the effective ones of the calling thread, ``CAP_BPF`` and so on; they count only when
    ``initial_user_namespace`` (the kernel's bpf_capable() asks the initial namespace). The sysctls are
    ``kernel.unprivileged_bpf_disabled`` (0 allowed, 1 off for good, 2 off) and ``net.core.bpf_jit_enable``.
    ``lockdown`` is none, integrity or confidentiality. ``lsms`` are the active security modules in order.
    """

    capabilities: frozenset[str]
    initial_user_namespace: bool = True
    unprivileged_bpf_disabled: int | None = None
    bpf_jit_enable: int | None = None
    lockdown: str | None = None
    lsms: tuple[str, ...] | None = None

    def capable(self, capability: str) -> bool:
        """Whether the process has ``capability`` for bpf(2).

        CAP_SYS_ADMIN stands for CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: bpf_capable(), perfmon_capable() and
        bpf_net_capable() of the kernel (5.8).
        """
        if not self.initial_user_namespace:
            return False
        if capability in self.capabilities:
            return True
        return "CAP_SYS_ADMIN" in self.capabilities and capability in {
            "CAP_BPF",
            "CAP_PERFMON",
            "CAP_NET_ADMIN",
        }
