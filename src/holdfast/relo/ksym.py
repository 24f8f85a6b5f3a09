# SPDX-License-Identifier: Apache-2.0
"""Resolve the externs of ``.ksyms``: kernel functions (kfuncs) and kernel variables, typed or not.

As libbpf 1.7 does it (``bpf_object__resolve_ksym_func_btf_id()``, ``..._var_btf_id()``,
``find_ksym_btf_id()``, ``kallsyms_cb()``). libbpf never asks whether a function is a kfunc nor who may call
it: that is the verifier's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.btf import Btf, essential_name
from holdfast.btf.cformat import declaration, type_name
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Func, Kind, Var, Void
from holdfast.errors import BtfError
from holdfast.relo.compat import Shape, type_shape, types_are_compat
from holdfast.relo.failure import Refused, ReloError
from holdfast.relo.spec import kind_word
from holdfast.relo.target import KernelBtf, Side, Target

__all__ = ["Extern", "Kallsyms", "KsymKind", "KsymResolution", "find_ksym", "resolve_ksym"]

Kallsyms = Callable[[str], Collection[int] | None]
"""Addresses of a symbol in /proc/kallsyms by its full name (empty: it has none); None when that cannot be
known.

The name is up to ``.llvm.`` for symbols of type ``d``, as libbpf compares them (libbpf 1.0).
"""


class KsymKind(StrEnum):
    """What an extern of ``.ksyms`` is."""

    FUNC = "func"  # resolved by BTF: a kfunc
    VAR = "var"  # a variable with a type, resolved by BTF
    UNTYPED = "untyped"  # ``extern const void name``, resolved by kallsyms


@dataclass(frozen=True, slots=True)
class KsymResolution:
    """Where an extern was found, or why not.

    ``found`` is None when it cannot be known (an untyped one without kallsyms). ``where`` is "vmlinux" or a
    module's name, with ``type_id`` there (a FUNC or VAR). A weak extern that is not found, or a weak function
    whose prototype is incompatible, is absent: its address is 0, its calls are poisoned, and ``error`` is
    None. ``error`` is set when libbpf stops the whole object here. ``reason`` says why it is absent, in plain
    words. ``expected`` and ``actual`` are the declarations of the object and the kernel as C text.
    """

    name: str
    kind: KsymKind
    weak: bool
    found: bool | None
    where: str | None
    type_id: int | None
    reason: str | None
    error: ReloError | None
    expected: str
    actual: str | None

    @property
    def absent(self) -> bool:
        """Whether the object goes on without it."""
        return self.found is False and self.error is None


def find_ksym(target: KernelBtf, name: str, kind: Kind) -> tuple[Side, int] | None:
    """The first FUNC or VAR of that very name: vmlinux before modules (``find_ksym_btf_id()``)."""
    resolved = Target.of(target)
    for side in resolved.sides():
        found = side.btf.find_all(name, kind)
        if found:
            return side, found[0]
    return None


def resolve_ksym(
    local: Btf,
    type_id: int,
    *,
    weak: bool,
    target: KernelBtf,
    kallsyms: Kallsyms | None = None,
    strip_flavor: bool = True,
) -> KsymResolution:
    """Resolve the extern whose FUNC or VAR is ``type_id`` in the object's BTF.

    ``weak`` is its ELF symbol's binding. ``strip_flavor`` is False for a libbpf before 1.3, which looks for
    ``name___flavor`` as it is written (libbpf commit 6d704c7f). Raises :exc:`~holdfast.errors.BtfError` when
    the id is no FUNC or VAR.
    """
    return Extern.of(local, type_id, weak=weak).resolve(Target.of(target), kallsyms, strip_flavor)


@dataclass(frozen=True, slots=True)
class Extern:
    """An extern as the object declares it, the same for every kernel."""

    btf: Btf
    id: int
    name: str
    kind: KsymKind
    type_id: int  # of the prototype, or of the variable's value behind modifiers
    weak: bool
    expected: str
    shape: Shape | None
    """What of its type the kernel's must go with; None where libbpf would give up on it."""

    @classmethod
    def of(cls, local: Btf, type_id: int, *, weak: bool) -> Extern:
        """As :func:`resolve_ksym` takes it."""
        found = local.type(type_id)
        expected = declaration(local, type_id)
        if isinstance(found, Func):
            shape = _shape(local, found.type_id)
            return cls(local, type_id, found.name, KsymKind.FUNC, found.type_id, weak, expected, shape)
        if not isinstance(found, Var):
            message = f"extern [{type_id}] is a {kind_word(found)}, neither a func nor a var"
            raise BtfError(local.origin, message)
        value_id, value = skip_mods_and_typedefs(local, found.type_id)
        kind = KsymKind.UNTYPED if isinstance(value, Void) else KsymKind.VAR
        shape = None if kind is KsymKind.UNTYPED else _shape(local, value_id)
        return cls(local, type_id, found.name, kind, value_id, weak, expected, shape)

    def resolve(
        self, target: Target, kallsyms: Kallsyms | None = None, strip_flavor: bool = True
    ) -> KsymResolution:
        """As :func:`resolve_ksym`. What names no ids is remembered in ``target`` for all objects that declare
        the same.
        """
        if self.kind is KsymKind.UNTYPED:
            return _untyped(self, kallsyms)
        key = (self.name, self.kind, self.weak, self.expected, self.shape, strip_flavor)
        known = target.ksyms.get(key) if self.shape is not None else None
        if known is None:
            known = _func(self, target, strip_flavor) if self.kind is KsymKind.FUNC else _var(self, target)
            if self.shape is not None and (known.error is None or known.where is None):
                target.ksyms[key] = known
        return known  # type: ignore[return-value]

    def result(
        self,
        found: bool | None,
        at: tuple[Side, int] | None = None,
        *,
        reason: str | None = None,
        error: ReloError | None = None,
    ) -> KsymResolution:
        return KsymResolution(
            self.name,
            self.kind,
            self.weak,
            found,
            at[0].name if at else None,
            at[1] if at else None,
            reason,
            error,
            self.expected,
            declaration(at[0].btf, at[1]) if at else None,
        )

    def compatible(self, side: Side, type_id: int) -> bool:
        try:
            return types_are_compat(self.btf, self.type_id, side.btf, type_id)
        except Refused:  # nested too deep: libbpf takes its error for "incompatible"
            return False


def _shape(btf: Btf, type_id: int) -> Shape | None:
    try:
        return type_shape(btf, type_id)
    except Refused:
        return None


_WHERE: Final = {False: "vmlinux", True: "vmlinux or modules"}


def _func(extern: Extern, target: Target, strip_flavor: bool) -> KsymResolution:
    name = essential_name(extern.name) if strip_flavor else extern.name
    at = find_ksym(target, name, Kind.FUNC)
    if at is None:
        reason = f"no function {name} in {_WHERE[bool(target.modules)]}"
        text = f"extern (func ksym) '{extern.name}': not found in kernel or module BTFs"
        error = None if extern.weak else ReloError(errno.EINVAL, text)
        return extern.result(False, reason=reason, error=error)
    side, func_id = at
    func = side.btf.type(func_id)
    assert isinstance(func, Func)
    if extern.compatible(side, func.type_id):
        return extern.result(True, at)
    expected, actual = declaration(extern.btf, extern.id), declaration(side.btf, func_id)
    reason = f"the kernel's {actual} is incompatible with {expected}"
    text = (
        f"extern (func ksym) '{extern.name}': func_proto [{extern.type_id}] incompatible with {side.name} "
        f"[{func.type_id}]"
    )
    error = None if extern.weak else ReloError(errno.EINVAL, text)
    return extern.result(False, at, reason=reason, error=error)


def _var(extern: Extern, target: Target) -> KsymResolution:
    at = find_ksym(target, extern.name, Kind.VAR)
    if at is None:
        text = f"extern (var ksym) '{extern.name}': not found in kernel BTF"
        reason = f"no variable {extern.name} in the BTF of {_WHERE[bool(target.modules)]}"
        error = None if extern.weak else ReloError(errno.EINVAL, text)
        return extern.result(False, reason=reason, error=error)
    side, var_id = at
    var = side.btf.type(var_id)
    assert isinstance(var, Var)
    value_id, value = skip_mods_and_typedefs(side.btf, var.type_id)
    if extern.compatible(side, value_id):
        return extern.result(True, at)
    mine = extern.btf.type(extern.type_id)
    # Unlike a function's, a weak variable's wrong type is an error too.
    text = (
        f"extern (var ksym) '{extern.name}': incompatible types, expected [{extern.type_id}] "
        f"{kind_word(mine)} {mine.name}, but kernel has [{value_id}] {kind_word(value)} {value.name}"
    )
    reason = (
        f"variable {extern.name} is {type_name(side.btf, var.type_id)} in the kernel and "
        f"{type_name(extern.btf, extern.type_id)} in the object"
    )
    return extern.result(False, at, reason=reason, error=ReloError(errno.EINVAL, text))


def _untyped(extern: Extern, kallsyms: Kallsyms | None) -> KsymResolution:
    addresses = kallsyms(extern.name) if kallsyms else None
    if addresses is None:
        return extern.result(None, reason="the kernel's symbols are not known")
    several = sorted(set(addresses))
    if len(several) > 1:
        text = f"extern (ksym) '{extern.name}': resolution is ambiguous: {several[0]:#x} or {several[1]:#x}"
        reason = f"{len(several)} symbols are called {extern.name}"
        return extern.result(False, reason=reason, error=ReloError(errno.EINVAL, text))
    if several:
        return extern.result(True)
    text = f"extern '{extern.name}' (strong): not resolved"
    error = None if extern.weak else ReloError(errno.ESRCH, text)
    reason = f"no symbol {extern.name} in the kernel"
    return extern.result(False, reason=reason, error=error)
