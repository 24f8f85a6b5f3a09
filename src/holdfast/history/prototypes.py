# SPDX-License-Identifier: Apache-2.0
"""Two prototypes of one function compared: what changed, and who notices.

libbpf compares the number of parameters and the BTF kinds behind typedefs and qualifiers
(``bpf_core_types_are_compat()``); names of structs, widths of integers, ``const`` and the suffixes of
parameter names are nothing to it. The verifier reads the suffixes (``is_kfunc_arg_*()`` of
kernel/bpf/verifier.c) and compares the structs that pointers point at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.cformat import declaration, type_name
from holdfast.btf.skip import element_type, skip_mods_and_typedefs
from holdfast.btf.types import BtfType, Composite, Enum, Func, FuncProto, Fwd, Int, Ptr, Struct, Void
from holdfast.history.change import Aspect, Change, Effect
from holdfast.relo.compat import types_are_compat
from holdfast.relo.failure import Refused

__all__ = ["Function", "Prototypes", "compare", "is_implicit", "takes_objects"]

SUFFIXES: Final = (
    "__arena__nullable", "__refcounted_kptr", "__nonown_allowed", "__const_map", "__irq_flag", "__nullable",
    "__uninit", "__alloc", "__arena", "__iter", "__prog", "__szk", "__ign", "__map", "__opt", "__str",
    "__sz", "__k",
)  # fmt: skip
"""Endings of parameter names that the verifier gives a meaning, longest first (7.3; ``__opt`` 6.4 to 6.19,
``__prog`` 6.17 to 6.19)."""

_MAY_BE_NULL: Final = frozenset({"__nullable", "__opt", "__arena__nullable"})
_IGNORED: Final = frozenset({"__ign", "__prog"})
_HIDDEN_STRUCTS: Final = frozenset({"bpf_prog_aux", "btf_struct_meta"})
_NO_OBJECTS: Final = _HIDDEN_STRUCTS | {
    "__sk_buff", "sk_buff", "xdp_md", "xdp_buff", "bpf_sock_addr_kern", "bpf_sock_ops_kern", "bpf_nf_ctx",
    "bpf_dynptr", "bpf_dynptr_kern", "bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node",
    "bpf_refcount", "bpf_wq", "bpf_timer", "bpf_task_work", "bpf_res_spin_lock",
}  # fmt: skip
_CONST: Final = re.compile(r"\bconst\b ?")
_ALIASES: Final = {
    # Renamed, not replaced: cce4c40b9606 (6.11) "Align kfunc signatures to prog point-of-view".
    "struct bpf_dynptr_kern *": "struct bpf_dynptr *",
    "struct sk_buff *": "struct __sk_buff *",
    "struct xdp_buff *": "struct xdp_md *",
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function with its prototype. ``returns`` and the types in ``params`` are C text, so that two that are
    equal have no difference at all; ``btf`` and ``type_id`` are for a closer look.
    """

    name: str
    returns: str
    params: tuple[tuple[str, str], ...]
    """Name and type of each parameter."""
    btf: Btf = field(repr=False, compare=False)
    type_id: int = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The declaration as C text."""
        return declaration(self.btf, self.type_id)

    @property
    def proto(self) -> FuncProto:
        return _proto(self.btf, self.type_id)


class Prototypes:
    """Reads prototypes of one kernel; the text of a type is made once."""

    def __init__(self) -> None:
        self._texts: dict[tuple[int, int], str] = {}

    def read(self, name: str, btf: Btf, type_id: int) -> Function:
        """The function that FUNC ``type_id`` is; ``btf`` must live as long as this object."""
        proto = _proto(btf, type_id)
        params = tuple((param.name, self._text(btf, param.type_id)) for param in proto.params)
        return Function(name, self._text(btf, proto.return_type_id), params, btf, type_id)

    def _text(self, btf: Btf, type_id: int) -> str:
        if btf.base is not None and type_id < btf.start_id:
            btf = btf.base
        key = (id(btf), type_id)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = type_name(btf, type_id)
        return text


def _proto(btf: Btf, type_id: int) -> FuncProto:
    found = btf.type(type_id)
    proto = btf.type(found.type_id) if isinstance(found, Func) else found
    return proto if isinstance(proto, FuncProto) else FuncProto("", 0, ())


def compare(before: Function, after: Function) -> tuple[Change, ...]:
    """What changed from one prototype to the other; empty when nothing did.

    One change for each difference, except that a different number of parameters is told alone: nothing else
    matters then.
    """
    if (before.returns, before.params) == (after.returns, after.params):
        return ()
    if len(before.params) != len(after.params):
        return (_count(before, after),)
    return tuple(_Comparison(before, after).changes())


def is_implicit(name: str, text: str) -> bool:
    """Whether a parameter is one that the verifier fills in: told by its suffix, or by its type
    (KF_IMPLICIT_ARGS, 7.0).
    """
    return _suffix(name) in _IGNORED or _pointee_name(text) in _HIDDEN_STRUCTS


def takes_objects(function: Function) -> bool:
    """Whether a parameter is a kernel object by pointer, to which KF_TRUSTED_ARGS and KF_RCU apply.

    Contexts, memory (with a size, or a struct of plain numbers), and the kinds with rules of their own
    (dynptrs, iterators, lists ...) are told apart as get_kfunc_ptr_arg_type() of kernel/bpf/verifier.c does.
    """
    names = [name for name, _ in function.params]
    for at, (name, text) in enumerate(function.params):
        pointee = _pointee_name(text)
        sized = at + 1 < len(names) and _suffix(names[at + 1]) in ("__sz", "__szk")
        if sized or _suffix(name) or pointee in _NO_OBJECTS or pointee.startswith("bpf_iter_"):
            continue
        if pointee and not _is_memory(function.btf, function.proto.params[at].type_id):
            return True
    return False


def _is_memory(btf: Btf, type_id: int) -> bool:
    """Whether a pointer is to numbers alone (``__btf_type_is_scalar_struct()`` of kernel/bpf/verifier.c)."""
    pointer = skip_mods_and_typedefs(btf, type_id)[1]
    return isinstance(pointer, Ptr) and _is_plain(btf, pointer.type_id, 0, set())


def _is_plain(btf: Btf, type_id: int, depth: int, known: set[tuple[int, int]]) -> bool:
    """``known`` has types, with their depths, that were found to be plain: one may stand in many places."""
    type_id, found = element_type(btf, type_id)
    if isinstance(found, Struct):
        if (type_id, depth) in known:
            return True
        plain = depth < 4 and all(_is_plain(btf, one.type_id, depth + 1, known) for one in found.members)
        if plain:
            known.add((type_id, depth))
        return plain
    return depth > 0 and isinstance(found, Int | Enum)


def _count(before: Function, after: Function) -> Change:
    had, has = len(before.params), len(after.params)
    what = f"takes {has} parameter{'' if has == 1 else 's'}, not {had}"
    more = after.params[had:] if has > had else before.params[has:]
    shared = min(had, has)
    if all(is_implicit(*param) for param in more) and before.params[:shared] == after.params[:shared]:
        verb = "shows" if has > had else "no longer shows"
        what = f"{verb} the implicit parameter {', '.join(name for name, _ in more)}"
    return Change(
        Aspect.PROTOTYPE, Effect.BREAKS, f"{what}: libbpf refuses the other form", before.text, after.text
    )


class _Comparison:
    def __init__(self, before: Function, after: Function) -> None:
        self.before, self.after = before, after
        self.mine, self.theirs = before.proto, after.proto

    def changes(self) -> Iterator[Change]:
        if self.before.returns != self.after.returns:
            yield self._types(
                "the result", self.before.returns, self.after.returns,
                self.mine.return_type_id, self.theirs.return_type_id,
            )  # fmt: skip
        pairs = zip(self.before.params, self.after.params, strict=True)
        for at, ((old_name, old), (new_name, new)) in enumerate(pairs):
            subject = f"parameter {new_name or at + 1}"
            if old != new:
                yield self._types(
                    subject, old, new, self.mine.params[at].type_id, self.theirs.params[at].type_id
                )
            if old_name != new_name:
                yield self._names(at, old_name, new_name)

    def _change(self, effect: Effect, what: str) -> Change:
        return Change(Aspect.PROTOTYPE, effect, what, self.before.text, self.after.text)

    def _names(self, at: int, old: str, new: str) -> Change:
        had, has = _suffix(old), _suffix(new)
        if had == has:
            return self._change(
                Effect.NEUTRAL, f"parameter {at + 1} is called {new or 'nothing'}, not {old or 'nothing'}"
            )
        what = f"parameter {new or at + 1} has the suffix {has or '(none)'}, not {had or '(none)'}"
        if had in _MAY_BE_NULL and has in _MAY_BE_NULL:
            return self._change(Effect.NEUTRAL, f"{what}: both admit NULL")
        if had in _IGNORED and has in _IGNORED:
            return self._change(Effect.NEUTRAL, f"{what}: the verifier fills it in either way")
        if (had, has) == ("__map", "__const_map"):
            return self._change(Effect.SILENT, f"{what}: the rule was split in two (7.3)")
        if has in _MAY_BE_NULL:
            return self._change(Effect.WIDENS, f"{what}: it may be NULL now")
        if had in _MAY_BE_NULL:
            return self._change(Effect.TIGHTENS, f"{what}: it may not be NULL any more")
        return self._change(Effect.TIGHTENS, f"{what}: the verifier judges the argument in another way")

    def _types(self, subject: str, old: str, new: str, old_id: int, new_id: int) -> Change:
        what = f"{subject} is `{new}`, not `{old}`"
        if not self._compatible(old_id, new_id):
            return self._change(Effect.BREAKS, f"{what}: libbpf refuses the other form")
        if _CONST.sub("", old) == _CONST.sub("", new):
            return self._change(Effect.NEUTRAL, f"{what}: libbpf and the verifier take either")
        mine, theirs = self.before.btf, self.after.btf
        left = skip_mods_and_typedefs(mine, old_id)[1]
        right = skip_mods_and_typedefs(theirs, new_id)[1]
        if isinstance(left, Int) and isinstance(right, Int):
            return self._integers(what, left, right)
        if isinstance(left, Enum) and isinstance(right, Enum) and left.size == right.size:
            return self._change(Effect.NEUTRAL, f"{what}: an enumeration of the same size")
        if isinstance(left, Ptr) and isinstance(right, Ptr):
            return self._pointers(what, old, new, left, right)
        return self._change(Effect.SILENT, f"{what}: libbpf accepts either")

    def _integers(self, what: str, left: Int, right: Int) -> Change:
        if left.size < right.size:
            return self._change(Effect.SILENT, f"{what}: {8 * right.size} bits instead of {8 * left.size}")
        if left.size > right.size:
            return self._change(Effect.SILENT, f"{what}: cut to {8 * right.size} bits from {8 * left.size}")
        if left.signed != right.signed:
            sign = "signed" if right.signed else "unsigned"
            return self._change(Effect.SILENT, f"{what}: {sign} now")
        return self._change(Effect.NEUTRAL, f"{what}: the same integer")

    def _pointers(self, what: str, old: str, new: str, left: Ptr, right: Ptr) -> Change:
        if _ALIASES.get(_CONST.sub("", old)) == _CONST.sub("", new):
            return self._change(Effect.NEUTRAL, f"{what}: a new name for the same object")
        pointed = skip_mods_and_typedefs(self.before.btf, left.type_id)[1]
        points = skip_mods_and_typedefs(self.after.btf, right.type_id)[1]
        if _is_struct(pointed) and _is_struct(points):
            if pointed.name == points.name:
                return self._change(Effect.NEUTRAL, f"{what}: the same object")
            return self._change(
                Effect.TIGHTENS, f"{what}: libbpf accepts it, the verifier compares the structs"
            )
        if isinstance(pointed, Int) and isinstance(points, Int):
            if pointed.size == points.size:
                return self._change(Effect.NEUTRAL, f"{what}: the same size behind the pointer")
            return self._change(
                Effect.SILENT, f"{what}: {points.size} bytes behind the pointer instead of {pointed.size}"
            )
        if isinstance(pointed, Void) and isinstance(points, Void):
            return self._change(Effect.NEUTRAL, f"{what}: untyped memory")
        return self._change(Effect.SILENT, f"{what}: libbpf accepts either")

    def _compatible(self, old_id: int, new_id: int) -> bool:
        mine, theirs = self.before.btf, self.after.btf
        try:
            # libbpf skips modifiers of each parameter before it compares kinds
            left = skip_mods_and_typedefs(mine, old_id)[0]
            right = skip_mods_and_typedefs(theirs, new_id)[0]
            return types_are_compat(mine, left, theirs, right)
        except Refused:
            return False


def _is_struct(found: BtfType) -> bool:
    return isinstance(found, Composite | Fwd)


@cache
def _suffix(name: str) -> str:
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _pointee_name(text: str) -> str:
    found = re.fullmatch(r"(?:const )?struct (\w+) \*", text)
    return found[1] if found else ""
