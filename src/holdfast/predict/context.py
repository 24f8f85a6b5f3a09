# SPDX-License-Identifier: Apache-2.0
"""What the judges of the single kinds of needs work with: one object, one program, one kernel, one libbpf."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from holdfast.elf.spec import ExternKind, ObjectSpec, ProgramSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.questions import Questions
from holdfast.predict.resolved import Profile, Relocations, Resolved
from holdfast.relo.ksym import Extern, KsymResolution
from holdfast.relo.resolve import Accesses, Relocator
from holdfast.relo.target import Target
from holdfast.rules.ask import Ask
from holdfast.rules.btf_ask import FORBIDDEN_BY_LOCKDOWN, BtfAsk

__all__ = ["LIBBPF_FLAVORED_KFUNCS", "Kernel", "Ksyms", "Loaded", "Own"]

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


class Own:
    """What there is to know of one object whatever the kernel; ``ways`` are those of all objects."""

    def __init__(self, spec: ObjectSpec, ways: dict[Any, Any]) -> None:
        self.spec = spec
        self.accesses = Accesses(ways)
        self.relocations = Relocations(spec)
        self.values: dict[int, Any] = {}
        """What was found in values of maps, by the BTF id of their type."""

    @cached_property
    def externs(self) -> dict[str, Extern]:
        """The externs of ``.ksyms`` by name; none without BTF."""
        btf = self.spec.btf
        if btf is None:
            return {}
        return {
            one.name: Extern.of(btf, one.btf_id, weak=one.weak)
            for one in self.spec.externs
            if one.kind is not ExternKind.KCONFIG
        }


class Ksyms:
    """How each extern of ``.ksyms`` is resolved, by name; nothing without BTF on either side.

    Worked out when asked for, and the question is noted.
    """

    def __init__(self, kernel: Kernel, own: Own) -> None:
        self._kernel, self._own = kernel, own
        self._known: dict[str, KsymResolution | None] = {}

    def get(self, name: str) -> KsymResolution | None:
        """None for what is no such extern."""
        if name not in self._own.externs:
            return None
        self._kernel.facts.own(_ksym, name)
        return self.unnoted(name)

    def unnoted(self, name: str) -> KsymResolution | None:
        """As :meth:`get`, without a note."""
        if name not in self._known:
            self._known[name] = self._resolve(name)
        return self._known[name]

    def _resolve(self, name: str) -> KsymResolution | None:
        kernel = self._kernel
        extern, target = self._own.externs.get(name), kernel.target
        if extern is None or target is None:
            return None
        strip = kernel.libbpf >= LIBBPF_FLAVORED_KFUNCS
        return extern.resolve(target, kernel.facts.kallsyms, strip)


@dataclass(eq=False)
class Loaded:
    """One object on one kernel: what libbpf works out once for all its programs."""

    kernel: Kernel
    own: Own
    ksyms: Ksyms = field(init=False)
    _resolved: dict[int, Resolved] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ksyms = Ksyms(self.kernel, self.own)

    @property
    def spec(self) -> ObjectSpec:
        return self.own.spec

    @property
    def facts(self) -> Questions:
        return self.kernel.facts

    @cached_property
    def relocator(self) -> Relocator | None:
        if self.spec.btf is None or self.kernel.target is None:
            return None
        return Relocator(self.spec.btf, self.kernel.target, self.own.accesses)

    @cached_property
    def profile(self) -> Profile:
        """What the kernel makes of the object's relocations."""
        return self.own.relocations.profile(self.relocator)

    def resolved(self, number: int) -> Resolved:
        """The relocations of the program of that number."""
        found = self._resolved.get(number)
        if found is None:
            found = self._resolved[number] = self.profile.resolved(number, self.relocator)
        return found

    @cached_property
    def relocations_key(self) -> Hashable:
        """Equal for kernels on which all programs' relocations mean the same."""
        return tuple([self.resolved(number).key for number in range(len(self.spec.programs))])

    def needs_kernel_btf(self, program: ProgramSpec) -> bool:
        """``obj_needs_vmlinux_btf()`` of libbpf: CO-RE, typed ksyms, struct_ops, or a BTF attach target."""
        if self.spec.core_relos or any(m.struct_ops for m in self.spec.maps):
            return True
        if any(e.kind.value in ("kfunc", "typed ksym") for e in self.spec.externs):
            return True
        return program.definition is not None and program.definition.attaches_by_btf


def _ksym(loaded: Loaded, name: str) -> Hashable:
    """What tells resolutions of a symbol apart, ids left out."""
    found = loaded.ksyms.unnoted(name)
    return None if found is None else (found.found, found.where, found.reason, found.error, found.actual)
