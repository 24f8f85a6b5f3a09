# SPDX-License-Identifier: Apache-2.0
"""Contracts held against kernels and objects: what contradicts a promise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.btf import Btf
from holdfast.btf.skip import UnsizedError, element_type, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Composite, Kind, Struct
from holdfast.history.builds import Build, Presence
from holdfast.history.change import Aspect, Effect
from holdfast.history.contract import Contract, ContractError, Promise, PromiseKind
from holdfast.history.life import Lives
from holdfast.history.options import option_of
from holdfast.history.prototypes import compare

__all__ = ["contradictions", "layout_contradictions", "layout_of", "require"]

_POINTER_SIZE = 8  # bytes, of BPF


def contradictions(contract: Contract, lives: Lives) -> Iterator[ContractError]:
    """An error for each promise that a kernel breaks, with the line of the promise and the kernel.

    A kernel whose configuration leaves the thing out breaks nothing, nor does one that cannot tell.
    """
    for promise in contract.promises:
        if promise.kind is PromiseKind.KFUNC:
            found = _kfunc(promise, lives)
        elif promise.kind is PromiseKind.MAP:
            continue  # of a bundle, not of a kernel: layout_contradictions()
        else:
            found = _elsewhere(promise, lives)
        if found:
            yield ContractError(contract.path, found, place=f"line {promise.line}", hint=_HINT)


_HINT = "correct since, until or the prototypes; the kernel is as it is"


def require(contracts: Iterable[Contract], lives: Lives) -> None:
    """Raises :exc:`ContractError` for the first promise that a kernel contradicts."""
    for contract in contracts:
        for error in contradictions(contract, lives):
            raise error


def _kfunc(promise: Promise, lives: Lives) -> str | None:
    life = lives.life(promise.name)
    first = None
    for one in life.sightings:
        if not promise.covers(one.build.series) or one.hidden_by:
            continue
        where = f"kfunc {promise.name} is promised {promise.span}, and {one.build.id}"
        if one.presence is Presence.ABSENT:
            if _could_have(one.build, promise.name):
                return f"{where} does not have it"
            continue
        state = one.state
        if state.function is None or state.exposed:
            continue
        if promise.prototypes and state.function.text not in promise.prototypes:
            return f"{where} has `{state.function.text}`"
        if state.program_types is not None:
            missing = set(promise.program_types) - {kind.name for kind in state.program_types}
            if missing:
                return f"{where} does not let {' '.join(sorted(missing))} call it"
        first = first or state
        assert first.function is not None
        for change in compare(first.function, state.function):
            if change.effect is Effect.BREAKS and change.aspect is Aspect.PROTOTYPE:
                return f"{where} changed its prototype: {change.what}"
    return None


def _could_have(build: Build, name: str) -> bool:
    """Whether its absence counts: the configuration is known, or the name hangs on no option."""
    return option_of(name) is None or build.facts.config is not None


def _elsewhere(promise: Promise, lives: Lives) -> str | None:
    for build in lives.builds:
        if not promise.covers(build.series) or build.facts.vmlinux is None:
            continue
        option = option_of(promise.name)
        if option and option[0] not in (build.facts.config or {}):
            continue
        if promise.kind is PromiseKind.HELPER:
            there = f"BPF_FUNC_{promise.name}" in (build.facts.enumerators("bpf_func_id") or {})
        else:
            there = _member(build, promise.name)
        if not there:
            return (
                f"{promise.kind} {promise.name} is promised {promise.span}, and {build.id} does not have it"
            )
    return None


def _member(build: Build, name: str) -> bool:
    kind, _, member = name.partition(".")
    if build.facts.struct_ops_type(kind).value is not True:
        return not build.sees_modules  # a module that is not at hand may register it
    place = build.facts.find(kind, Kind.STRUCT)
    found = place.btf.type(place.type_id) if place else None
    if not member or not isinstance(found, Struct):
        return True
    return any(one.name == member for one in found.members)


# -- layouts of maps --------------------------------------------------------------------------------------


def layout_contradictions(contract: Contract, btf: Btf) -> Iterator[ContractError]:
    """An error for each map whose value in the BTF of an object is not laid out as promised."""
    for promise in contract.promises:
        if promise.kind is not PromiseKind.MAP:
            continue
        found = btf.find(promise.value.removeprefix("struct "), Kind.STRUCT)
        if found is None:
            problem = f"map {promise.name}: {btf.origin} has no {promise.value}"
        else:
            struct = btf.type(found)
            size = struct.size if isinstance(struct, Composite) else 0
            layout = layout_of(btf, found)
            if (size, layout) == (promise.size, promise.layout):
                continue
            odd = next((row for row in layout if row not in promise.layout), None)
            gone = next((row for row in promise.layout if row not in layout), None)
            detail = (
                f"there is member `{odd}`" if odd else f"there is no member `{gone}`" if gone else "order"
            )
            problem = f"map {promise.name}: {promise.value} has {size} bytes and {detail} in {btf.origin}"
        hint = "a new layout takes a new name: keep the promised one, or add another map beside it"
        yield ContractError(contract.path, problem, place=f"line {promise.line}", hint=hint)


def layout_of(btf: Btf, type_id: int) -> tuple[str, ...]:
    """``offset size name`` of each member of a struct, in bytes, inner structs and arrays of them unfolded
    (``slot.hash_types`` is that of the first element; the array itself stands before, as ``slot``).
    """
    return tuple(_rows(btf, type_id, 0, "", 0))


def _rows(btf: Btf, type_id: int, base: int, prefix: str, depth: int) -> Iterator[str]:
    found = skip_mods_and_typedefs(btf, type_id)[1]
    if not isinstance(found, Composite) or depth > 8:
        return
    for member in found.members:
        at = base + member.bit_offset // 8
        inner_id, inner = skip_mods_and_typedefs(btf, member.type_id)
        if not member.name and isinstance(inner, Composite):
            yield from _rows(btf, inner_id, at, prefix, depth + 1)
            continue
        name = prefix + member.name
        yield f"{at} {_size(btf, member.type_id)} {name}"
        yield from _rows(btf, element_type(btf, inner_id)[0], at, f"{name}.", depth + 1)


def _size(btf: Btf, type_id: int) -> int:
    try:
        return resolve_size(btf, type_id, _POINTER_SIZE)
    except UnsizedError:
        return 0
