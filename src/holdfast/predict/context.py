# SPDX-License-Identifier: Apache-2.0
"""What the judges of the single kinds of needs work with: one object, one program, one kernel, one libbpf."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from holdfast.elf.spec import ObjectSpec, ProgramSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.questions import Questions
from holdfast.relo.ksym import KsymResolution, resolve_ksym
from holdfast.relo.resolve import Accesses, Relocator
from holdfast.relo.target import Target
from holdfast.rules.ask import Ask
from holdfast.rules.btf_ask import FORBIDDEN_BY_LOCKDOWN, BtfAsk

__all__ = ["LIBBPF_FLAVORED_KFUNCS", "Kernel", "Loaded"]

LIBBPF_FLAVORED_KFUNCS = (1, 3)
"""libbpf commit 6d704c7f: ``___flavor`` of a kfunc's name is left out since 1.3."""


@dataclass(eq=False)
class Kernel:
    """One kernel and loader, with what is remembered over objects."""

    facts: Questions
    libbpf: tuple[int, int]

    @cached_property
    def ask(self) -> Ask:
        """The kernel as the rules ask it."""
        host = self.facts.host
        lockdown = FORBIDDEN_BY_LOCKDOWN.get(_lockdown(self.facts) or "")
        capabilities = None
        if host is not None:
            capabilities = host.capabilities if host.initial_user_namespace else frozenset[str]()
        facts = self.facts
        return facts.asking(
            BtfAsk(
                facts.vmlinux, facts.config, capabilities, lockdown, release_pair(facts.release), facts.arch
            )
        )

    @cached_property
    def constants(self) -> Hashable:
        """What verdicts rest on without a question: they hold for kernels that share it."""
        assert self.ask is not None  # made here, so that agreeing can ask
        return (self.libbpf, *self.facts.constants)

    @cached_property
    def target(self) -> Target | None:
        """The kernel as relocation sees it; None without BTF."""
        return Target.of(_Btfs(self.facts)) if self.facts.vmlinux else None


class _Btfs:
    """``KernelBtf`` for facts that do have BTF."""

    def __init__(self, facts: KernelFacts) -> None:
        assert facts.vmlinux is not None
        self.vmlinux = facts.vmlinux
        self.modules = facts.modules


def _lockdown(facts: KernelFacts) -> str | None:
    """The level as it is; where securityfs does not show it, the one that the config forces at boot.

    A forced level can only be raised afterwards (lock_kernel_down() in security/lockdown/lockdown.c).
    """
    if facts.host is not None and facts.host.lockdown is not None:
        return facts.host.lockdown
    for level in ("confidentiality", "integrity"):
        if facts.config_value(f"CONFIG_LOCK_DOWN_KERNEL_FORCE_{level.upper()}") == "y":
            return level
    return None


def release_pair(release: str) -> tuple[int, int] | None:
    """(6, 12) of ``6.12.107+deb13-cloud-amd64``; None for a release that is not known."""
    head = release.split("-")[0].split("+")[0].split(".")
    if len(head) >= 2 and head[0].isdigit() and head[1].isdigit():
        return int(head[0]), int(head[1])
    return None


@dataclass(eq=False)
class Loaded:
    """One object on one kernel: what libbpf works out once for all its programs."""

    kernel: Kernel
    spec: ObjectSpec
    accesses: Accesses | None = None
    settled: dict[int, Any] = field(default_factory=dict)
    """Relocations that are the same for each program, by function (:mod:`.resolved`)."""

    @property
    def facts(self) -> Questions:
        return self.kernel.facts

    @cached_property
    def relocator(self) -> Relocator | None:
        if self.spec.btf is None or self.kernel.target is None:
            return None
        return Relocator(self.spec.btf, self.kernel.target, self.accesses)

    @cached_property
    def ksyms(self) -> dict[str, KsymResolution]:
        """How each extern of ``.ksyms`` is resolved; empty without BTF on either side."""
        btf, target = self.spec.btf, self.kernel.target
        if btf is None or target is None:
            return {}
        strip = self.kernel.libbpf >= LIBBPF_FLAVORED_KFUNCS
        return {
            extern.name: resolve_ksym(
                btf,
                extern.btf_id,
                weak=extern.weak,
                target=target,
                kallsyms=self.facts.kallsyms,
                strip_flavor=strip,
            )
            for extern in self.spec.externs
            if extern.kind.value != "kconfig"
        }

    @cached_property
    def ksyms_key(self) -> Hashable:
        """What tells these resolutions apart, ids left out."""
        return tuple(
            (k.name, k.found, k.where, k.reason, k.error, k.expected, k.actual) for k in self.ksyms.values()
        )

    def needs_kernel_btf(self, program: ProgramSpec) -> bool:
        """``obj_needs_vmlinux_btf()`` of libbpf: CO-RE, typed ksyms, struct_ops, or a BTF attach target."""
        if self.spec.core_relos or any(m.struct_ops for m in self.spec.maps):
            return True
        if any(e.kind.value in ("kfunc", "typed ksym") for e in self.spec.externs):
            return True
        return program.definition is not None and program.definition.attaches_by_btf
