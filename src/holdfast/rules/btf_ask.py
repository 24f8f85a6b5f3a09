# SPDX-License-Identifier: Apache-2.0
"""The Ask of a kernel whose vmlinux BTF, configuration and loader are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.btf.reader import Btf
from holdfast.btf.types import Composite, Enum, Kind
from holdfast.rules.ask import Sign, SignKind
from holdfast.rules.options import OPTIONS_OF_ARCH, SIGNS_OF_OPTION

__all__ = ["FORBIDDEN_BY_LOCKDOWN", "BtfAsk"]

# Lockdown level -> reasons that matter to BPF (enum lockdown_reason in include/linux/security.h; 5.10 has but
# BPF_READ for what was BPF_READ_KERNEL later).
FORBIDDEN_BY_LOCKDOWN = {
    "none": frozenset[str](),
    "integrity": frozenset({"BPF_WRITE_USER"}),
    "confidentiality": frozenset({"BPF_WRITE_USER", "BPF_READ", "BPF_READ_KERNEL"}),
}


@dataclass(slots=True)
class BtfAsk:
    """Answers from vmlinux BTF, options and the loader's capabilities; whatever is None cannot be told.

    ``options`` maps ``CONFIG_X`` to its value as in a kernel's config; an option that it lacks is off.
    ``arch`` is as in ``uname -m``.
    ``capabilities`` are those of the loading process (``CAP_BPF``), ``lockdown`` the reasons that are
    forbidden (BPF_READ_KERNEL).
    """

    vmlinux: Btf | None = None
    options: Mapping[str, str] | None = None
    capabilities: frozenset[str] | None = None
    lockdown: frozenset[str] | None = None
    version: tuple[int, int] | None = None
    arch: str = ""
    _seen: dict[Sign, bool] = field(default_factory=dict, repr=False)
    _enums: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def btf(self, sign: Sign) -> bool | None:
        """Whether vmlinux BTF holds it; None without BTF or where it lacks the whole enumeration."""
        if self.vmlinux is None:
            return None
        if sign.kind is SignKind.ENUM_VALUE:
            names = self._enumerators(sign.of)
            return sign.name in names if names else None
        if sign not in self._seen:
            self._seen[sign] = self._look(self.vmlinux, sign)
        return self._seen[sign]

    def _look(self, btf: Btf, sign: Sign) -> bool:
        if sign.kind is SignKind.FUNC:
            return btf.find(sign.name, Kind.FUNC) is not None
        if sign.kind is SignKind.STRUCT:
            return btf.find(sign.name, Kind.STRUCT, Kind.UNION) is not None
        found = btf.find(sign.of, Kind.STRUCT, Kind.UNION)
        kind = btf.type(found) if found is not None else None
        return isinstance(kind, Composite) and any(member.name == sign.name for member in kind.members)

    def _enumerators(self, enum: str) -> frozenset[str]:
        if enum not in self._enums:
            assert self.vmlinux is not None
            found = self.vmlinux.find(enum, Kind.ENUM, Kind.ENUM64)
            kind = self.vmlinux.type(found) if found is not None else None
            names = (value.name for value in kind.values) if isinstance(kind, Enum) else ()
            self._enums[enum] = frozenset(names)
        return self._enums[enum]

    def config(self, option: str) -> bool | None:
        """Whether the option is y or m; without a config what BTF and the architecture give away."""
        if self.options is not None:
            return self.options.get(f"CONFIG_{option}") in ("y", "m")
        if option in OPTIONS_OF_ARCH.get(self.arch, ()):
            return True
        return any(self.btf(sign) for sign in SIGNS_OF_OPTION.get(option, ())) or None

    def capability(self, name: str) -> bool | None:
        """Whether the loader holds it; the kernel lets CAP_SYS_ADMIN stand in for the three that were split
        off.
        """
        if self.capabilities is None:
            return None
        stand_in = (
            name in ("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN") and "CAP_SYS_ADMIN" in self.capabilities
        )
        return stand_in or name in self.capabilities

    def locked_down(self, reason: str) -> bool | None:
        """Whether lockdown forbids it; None where nobody looked."""
        return None if self.lockdown is None else reason in self.lockdown

    def release(self) -> tuple[int, int] | None:
        """The release number that the kernel gives itself."""
        return self.version
