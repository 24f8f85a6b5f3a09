# SPDX-License-Identifier: Apache-2.0
"""A type as C text, for messages and reports: ``struct task_struct *``, ``int f(u64 flags, struct foo *p)``.

This is for people: it names types and never lists members. Text for BTF that refers to itself ends in
``...``.
"""

from __future__ import annotations

from typing import Final

from holdfast.btf.reader import Btf
from holdfast.btf.types import (
    Array,
    BtfType,
    Const,
    Enum,
    Func,
    FuncProto,
    Fwd,
    Kind,
    Ptr,
    Restrict,
    Struct,
    TypeTag,
    Union,
    Var,
    Void,
    Volatile,
)

__all__ = ["declaration", "keyword", "type_name"]

_MAX_CHAIN: Final = 64  # pointers, qualifiers and arrays around one type
_MAX_NESTED: Final = 4  # prototypes inside prototypes
_MAX_STEPS: Final = 400  # types looked at for one text
_QUALIFIERS: Final = {Const: "const", Volatile: "volatile", Restrict: "restrict"}


def keyword(found: BtfType) -> str:
    """The C keyword before a type's name: "struct", "union", "enum", or "" for a typedef, integer and the
    like.
    """
    match found:
        case Struct():
            return "struct"
        case Union():
            return "union"
        case Fwd():
            return "union" if found.is_union else "struct"
        case Enum():
            return "enum"
        case _:
            return ""


def type_name(btf: Btf, type_id: int) -> str:
    """A type without a declarator: ``struct task_struct *``, ``int (*)(void *)``, ``char[16]``."""
    return _Text(btf).declare(type_id, "", 0)


def declaration(btf: Btf, type_id: int) -> str:
    """A function or variable with its type: ``int bpf_sock_destroy(struct sock_common *sock)``.

    For any other kind the same as :func:`type_name`. Raises :exc:`~holdfast.errors.BtfError` for an id that
    does not exist.
    """
    found = btf.type(type_id)
    if isinstance(found, Func | Var):
        return _Text(btf).declare(found.type_id, found.name, 0)
    return type_name(btf, type_id)


class _Text:
    """One text in the making; ``left`` is how many types may still be looked at."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.left = _MAX_STEPS

    def declare(self, type_id: int, name: str, nested: int) -> str:
        declarator, qualifiers = name, ""
        for _ in range(_MAX_CHAIN):
            self.left -= 1
            if self.left < 0:
                break
            found = self.btf.type(type_id)
            match found:
                case Const() | Volatile() | Restrict():
                    qualifiers = f"{_QUALIFIERS[type(found)]} {qualifiers}"
                    type_id = found.type_id
                case TypeTag():
                    qualifiers = f"{_tag(found.name)} {qualifiers}"
                    type_id = found.type_id
                case Ptr():
                    space = " " if qualifiers and declarator else ""
                    declarator, qualifiers = f"*{qualifiers.rstrip()}{space}{declarator}", ""
                    type_id = found.type_id
                case Array():
                    declarator = f"{_grouped(declarator)}[{found.nelems or ''}]"
                    type_id = found.type_id
                case FuncProto():
                    declarator = f"{_grouped(declarator)}({self.params(found, nested)})"
                    type_id = found.return_type_id
                case _:
                    return _join(qualifiers + _base(found), declarator)
        return _join("...", declarator)

    def params(self, proto: FuncProto, nested: int) -> str:
        if nested >= _MAX_NESTED or self.left <= 0:
            return "..."
        if not proto.params:
            return "void"
        return ", ".join(
            "..."
            if param.type_id == 0 and not param.name
            else self.declare(param.type_id, param.name, nested + 1)
            for param in proto.params
        )


def _tag(name: str) -> str:
    # The kernel's macros are called so: btf_type_tag("rcu") is __rcu. Others are whole attributes.
    return f"__{name}" if name.isidentifier() else f"__attribute__(({name}))"


def _grouped(declarator: str) -> str:
    return f"({declarator})" if declarator.startswith("*") else declarator


def _join(base: str, declarator: str) -> str:
    return base + declarator if declarator.startswith("[") or not declarator else f"{base} {declarator}"


def _base(found: BtfType) -> str:
    if isinstance(found, Void):
        return "void"
    word = keyword(found)
    text = f"{word} {found.name or '{...}'}" if word else found.name
    return text or f"<{Kind(found.kind).name.lower()}>"
