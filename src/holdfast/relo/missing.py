# SPDX-License-Identifier: Apache-2.0
"""Say in plain words what a kernel lacks when no candidate matches."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.btf import essential_name
from holdfast.btf.cformat import keyword, type_name
from holdfast.btf.ext import CoreReloKind
from holdfast.btf.types import Array, BtfType, Composite, Typedef
from holdfast.relo.match import Mismatch
from holdfast.relo.spec import ENUMVAL_BASED, TYPE_BASED, Spec
from holdfast.relo.target import Target

__all__ = ["missing"]


def missing(local: Spec, mismatches: Sequence[Mismatch], target: Target) -> str:
    """What is missing, from the candidate that came nearest; ``mismatches`` is empty when there was no
    candidate.
    """
    root = local.btf.type(local.root_type_id)
    if not mismatches:
        return _no_type(root, target)
    nearest = max(mismatches, key=lambda mismatch: mismatch.step)  # the first of several
    there = _spelled(nearest.side.btf.type(nearest.root_type_id))
    if local.kind in TYPE_BASED:
        if local.kind == CoreReloKind.TYPE_MATCHES:
            return f"{there} does not have all that the object's declares"
        return f"{there} is of another kind than the object's"
    if local.kind in ENUMVAL_BASED:
        return f"{there} has no value {essential_name(local.accessors[0].name or '')!r}"
    return _no_access(local, nearest, there)


def _spelled(found: BtfType) -> str:
    word = keyword(found) or ("typedef" if isinstance(found, Typedef) else "")
    return f"{word} {essential_name(found.name) or '<anon>'}".lstrip()


def _no_type(root: BtfType, target: Target) -> str:
    name = essential_name(root.name)
    where = "vmlinux or modules" if target.modules else "vmlinux"
    text = f"no {_spelled(root)} in {where}"
    others = {_spelled(target.vmlinux.type(i)) for i in target.vmlinux.candidates(name)} - {_spelled(root)}
    return f"{text} (there is {', '.join(sorted(others))})" if others else text


def _path(local: Spec, upto: int) -> str:
    text = ""
    for accessor in local.accessors[1 : upto + 1]:
        text += f"[{accessor.idx}]" if accessor.name is None else f".{accessor.name}"
    return text.lstrip(".")


def _no_access(local: Spec, nearest: Mismatch, there: str) -> str:
    accessor = local.accessors[nearest.step]
    btf = nearest.side.btf
    holder = btf.type(nearest.type_id)
    if accessor.name is None:
        path = _path(local, nearest.step - 1)
        if isinstance(holder, Array):
            return (
                f"{there} has {holder.nelems} elements in {path!r}, and element {accessor.idx} is asked for"
            )
        return f"field {path!r} of {there} is no array but {type_name(btf, nearest.type_id)}"
    if holder.name and isinstance(holder, Composite):
        owner, field = _spelled(holder), accessor.name
    else:
        owner, field = there, _path(local, nearest.step)
    if nearest.member is not None and isinstance(holder, Composite):
        mine = local.btf.type(accessor.type_id)
        assert isinstance(mine, Composite)
        expected = type_name(local.btf, mine.members[accessor.idx].type_id)
        actual = type_name(btf, holder.members[nearest.member].type_id)
        return f"field {field!r} of {owner} is {actual}, and the object expects {expected}"
    if nearest.step > 1 and not isinstance(holder, Composite):
        path = _path(local, nearest.step - 1)
        return f"field {path!r} of {there} is no struct but {type_name(btf, nearest.type_id)}"
    return f"{owner} has no field {field!r}"
