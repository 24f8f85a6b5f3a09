# SPDX-License-Identifier: Apache-2.0
"""What a rule may ask of a kernel, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

__all__ = ["Allowed", "Ask", "Nothing", "Ruling", "Sign", "SignKind", "combine"]


class SignKind(StrEnum):
    """Kinds of BTF entry that can witness a change of the kernel."""

    FUNC = "func"
    STRUCT = "struct"
    ENUM_VALUE = "enumerator"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Sign:
    """A BTF entry that came with a change: where it is present the change is in, where BTF lacks it, it is
    not.

    ``of`` is the enumeration of an enumerator or the struct of a member.
    """

    kind: SignKind
    name: str
    of: str = ""

    @classmethod
    def func(cls, name: str) -> Sign:
        """A FUNC, static ones included."""
        return cls(SignKind.FUNC, name)

    @classmethod
    def struct(cls, name: str) -> Sign:
        """A STRUCT or UNION with its definition."""
        return cls(SignKind.STRUCT, name)

    @classmethod
    def value(cls, enum: str, name: str) -> Sign:
        """An enumerator of an ENUM or ENUM64."""
        return cls(SignKind.ENUM_VALUE, name, enum)

    @classmethod
    def member(cls, struct: str, name: str) -> Sign:
        """A direct member of a struct or union."""
        return cls(SignKind.MEMBER, name, struct)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.of}.{self.name}" if self.of else f"{self.kind.value} {self.name}"


class Ask(Protocol):
    """Facts of one kernel and one loader. ``None`` always means: cannot be told."""

    def btf(self, sign: Sign) -> bool | None:
        """Whether the vmlinux BTF (not a module's) holds that entry; None without BTF."""

    def config(self, option: str) -> bool | None:
        """Whether ``CONFIG_<option>`` is y or m."""

    def capability(self, name: str) -> bool | None:
        """Whether the loading process holds it (``CAP_BPF``); None: not asked, assume that it can."""

    def locked_down(self, reason: str) -> bool | None:
        """Whether lockdown forbids ``LOCKDOWN_<reason>`` (as BPF_READ_KERNEL)."""

    def release(self) -> tuple[int, int] | None:
        """Release as (6, 12). Only rules without any trace look at it, and say so."""


class Nothing:
    """An Ask that knows nothing; useful to subclass."""

    def btf(self, sign: Sign) -> bool | None:
        return None

    def config(self, option: str) -> bool | None:
        return None

    def capability(self, name: str) -> bool | None:
        return None

    def locked_down(self, reason: str) -> bool | None:
        return None

    def release(self) -> tuple[int, int] | None:
        return None


class Allowed(StrEnum):
    """The answer of a rule."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A rule's answer for one kernel.

    ``why`` is one clause that a message can end with (empty for a plain yes); ``source`` names the kernel's
    function and the trees or the commit. ``capabilities`` are those that a yes rests on and that nobody could
    check, ``assumes`` the lockdown reasons that it takes to be off. ``by_release`` tells that only the
    release number decided.
    """

    allowed: Allowed
    why: str = ""
    source: str = ""
    capabilities: tuple[str, ...] = ()
    by_release: bool = False
    assumes: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The clause with its source, and a word where the release number alone decided."""
        release = "; only the release number tells" if self.by_release else ""
        return f"{self.why} ({self.source}{release})"

    def __bool__(self) -> bool:
        raise TypeError("a Ruling has three answers: compare .allowed")


def combine(rulings: list[Ruling]) -> Ruling:
    """One ruling out of those for all kernels that this one may be: their common answer, or unknown.

    The newest kernel's comes last and speaks for all where they agree; the capabilities of all are named.
    """
    first = rulings[-1]
    answers = {ruling.allowed for ruling in rulings}
    if len(answers) == 1:
        wanted = dict.fromkeys(name for ruling in rulings for name in ruling.capabilities)
        assumed = dict.fromkeys(name for ruling in rulings for name in ruling.assumes)
        return replace(first, capabilities=tuple(wanted), assumes=tuple(assumed))
    why = next((ruling.why for ruling in rulings if ruling.allowed is not Allowed.YES and ruling.why), "")
    return Ruling(
        Allowed.UNKNOWN,
        f"it changed between releases that this kernel may be ({why})" if why else "it changed over releases",
        first.source,
        first.capabilities,
    )
