# SPDX-License-Identifier: Apache-2.0
"""Maps of the object: does this kernel create them (``bpf_object__create_maps()`` of libbpf,
BPF_MAP_CREATE).
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.elf.spec import MapOrigin, MapSpec
from holdfast.needs.collect import application_sets
from holdfast.predict.codes import HazardCode, ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.map_use import fields_of
from holdfast.predict.model import Hazard, Reason, Stage
from holdfast.rules import map_types, map_use
from holdfast.rules.ask import Allowed, Ruling, Sign
from holdfast.rules.map_fields import Field
from holdfast.terms import Evidence, MapFlag, MapType

__all__ = ["map_hazards", "map_reasons"]

# Their operations have no map_meta_equal, in the trees 5.10 to 6.18
_NEVER_INNER = frozenset(
    {
        MapType.PROG_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.STRUCT_OPS,
    }
)
PAGE_SIZE = 4096  # bytes, of amd64 and of Debian's arm64 kernels


def map_reasons(loaded: Loaded) -> Iterator[Reason]:
    """Maps that the kernel refuses: libbpf creates them all before any program, used or not."""
    for order, spec in enumerate(loaded.spec.maps):
        if not spec.autocreate or spec.origin is MapOrigin.STRUCT_OPS:
            continue
        yield from _created(loaded, spec, order)
        if spec.inner is not None:
            yield from _created(loaded, spec.inner, order)
            yield from _as_inner(loaded, spec, spec.inner, order)


def _created(loaded: Loaded, spec: MapSpec, order: int) -> Iterator[Reason]:
    need = f"map {spec.name}"
    if not isinstance(spec.type, MapType):
        yield _newer(loaded, spec, spec.type, order)
        return
    answer = loaded.facts.map_type(spec.type)
    if answer.value is False:
        message = f"the kernel has no map type {spec.type.name}: {answer.note}"
        yield _reason(ReasonCode.MAP_TYPE_MISSING, need, message, order, True, answer.evidence)
        return
    if answer.value is None and not _assumed(loaded, spec.type):
        message = f"whether the kernel has map type {spec.type.name} cannot be told: {answer.note}"
        yield _reason(ReasonCode.MAP_TYPE_UNKNOWN, need, message, order, False, answer.evidence)
    if "inner map" in application_sets(spec):
        # libbpf passes inner_map_fd 0, and bpf_map_meta_alloc() finds no map behind it
        message = f"{spec.type.name} wants the shape of its inner maps, and the object declares none"
        hint = "declare it (__array(values, ...)), or call bpf_map__set_inner_map_fd() before the load"
        yield _reason(ReasonCode.MAP_INVALID, need, message, order, True, Evidence.OBJECT, hint)
    for ruling in _problems(loaded, spec):
        certain = ruling.allowed is Allowed.NO
        code = ReasonCode.MAP_INVALID if certain else ReasonCode.MAP_UNKNOWN
        message = ruling.told
        yield _reason(code, need, message, order, certain, Evidence.RULE)


def _newer(loaded: Loaded, spec: MapSpec, number: int, order: int) -> Reason:
    """A type that came after this Holdfast: the kernel's enumeration has it or not."""
    known = loaded.facts.enumerators("bpf_map_type")
    need = f"map {spec.name}"
    if known is not None and number not in known.values():
        message = f"the kernel has no map type {number}: enum bpf_map_type ends before it"
        return _reason(ReasonCode.MAP_TYPE_MISSING, need, message, order, True, Evidence.BTF)
    message = f"map type {number} is new to Holdfast"
    return _reason(ReasonCode.MAP_TYPE_UNKNOWN, need, message, order, False)


def _as_inner(loaded: Loaded, outer: MapSpec, spec: MapSpec, order: int) -> Iterator[Reason]:
    if Field.SPIN_LOCK in fields_of(loaded, spec):
        ruling = loaded.facts.rule(map_use.locked_inside)
        if ruling.allowed is Allowed.NO:
            message, name = ruling.told, f"map {outer.name}"
            yield _reason(ReasonCode.MAP_INVALID, name, message, order, True, Evidence.RULE)
    if spec.type in _NEVER_INNER and isinstance(spec.type, MapType):
        message = f"a map of type {spec.type.name} cannot be an inner map (bpf_map_meta_alloc(), since v5.10)"
        yield _reason(ReasonCode.MAP_INVALID, f"map {outer.name}", message, order, True, Evidence.RULE)


def _assumed(loaded: Loaded, kind: MapType) -> bool:
    """Types that every kernel with BPF and networking has: their options are not worth an UNKNOWN."""
    ruling = loaded.facts.rule(map_types.compiled_in, kind)
    return ruling.allowed is Allowed.YES


def _problems(loaded: Loaded, spec: MapSpec) -> list[Ruling]:
    """What BPF_MAP_CREATE would object to, with sizes as libbpf passes them."""
    assert isinstance(spec.type, MapType)
    entries = spec.max_entries
    if spec.type is MapType.PERF_EVENT_ARRAY and entries == 0:
        entries = 1  # libbpf: the number of CPUs (map_set_def_max_entries())
    if entries == 0 and application_sets(spec):
        entries = PAGE_SIZE if spec.type in (MapType.RINGBUF, MapType.USER_RINGBUF) else 1
    if spec.type in (MapType.RINGBUF, MapType.USER_RINGBUF):
        entries = _ring_size(entries)
    flags = spec.flags
    if spec.is_internal and loaded.kernel.ask.btf(Sign.func("array_map_mmap")) is False:
        flags &= ~int(MapFlag.MMAPABLE)  # bpf_object__sanitize_maps()
    value = 4 if spec.inner is not None else spec.value_size
    return list(loaded.facts.rule(map_types.problems, spec.type, spec.key_size, value, entries, flags))


def _ring_size(entries: int) -> int:
    """``adjust_ringbuf_sz()``: up to the next power of two of pages, in bytes."""
    size = PAGE_SIZE
    while size < entries and size < 1 << 31:
        size *= 2
    return size


def _reason(
    code: ReasonCode,
    need: str,
    message: str,
    order: int,
    certain: bool,
    evidence: Evidence = Evidence.NONE,
    hint: str | None = None,
) -> Reason:
    if certain and hint is None:
        hint = "set bpf_map__set_autocreate(map, false) where the program can do without it"
    return Reason(code, need, message, Stage.MAPS, evidence, certain, None, hint, order)


def map_hazards(loaded: Loaded) -> Iterator[Hazard]:
    """What the object leaves to the application."""
    for spec in loaded.spec.maps:
        for what in application_sets(spec):
            message = (
                f"the object leaves {what} of {spec.name} open: the application must set it before it loads"
            )
            yield Hazard(HazardCode.APPLICATION_MUST_SET, f"map {spec.name}", message, Evidence.OBJECT)
