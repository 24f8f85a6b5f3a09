# SPDX-License-Identifier: Apache-2.0
"""Maps that the program uses: does a program of its kind get to use them (check_map_prog_compatibility())."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Array, Composite, Datasec, Ptr, TypeTag, Var
from holdfast.elf.spec import MapSpec, ProgramSpec, ReferenceKind
from holdfast.predict.codes import ReasonCode
from holdfast.predict.context import Loaded
from holdfast.predict.model import Reason, Stage
from holdfast.rules import kptrs, map_fields, map_use
from holdfast.rules.ask import Allowed, Ruling
from holdfast.rules.map_fields import Field
from holdfast.terms import Evidence, MapType

__all__ = ["exchanged", "field_reasons", "fields_of", "map_use_reasons", "special_fields"]

_MAX_DEPTH = 8  # the kernel follows nested structs 4 deep (MAX_RESOLVE_DEPTH in btf_find_struct_field)
_BY_NAME = {field.value: field for field in Field if field.value.startswith("bpf_")}
_TAGS = dict.fromkeys(("kptr", "kptr_ref", "kptr_untrusted", "percpu_kptr"), Field.KPTR) | {
    "uptr": Field.UPTR
}
_Special = tuple[frozenset[Field], frozenset[str]]


def special_fields(btf: Btf, type_id: int) -> _Special:
    """Fields in a map's value that the kernel treats in its own way (``btf_parse_fields()``), and the tags of
    the pointers among them.
    """
    found: set[Field] = set()
    tags: set[str] = set()
    work = [(type_id, 0)]
    seen: dict[int, int] = {}  # how deep each was met; a file's types may hold themselves
    while work:
        at, depth = work.pop()
        if seen.get(at, depth + 1) <= depth:
            continue
        seen[at] = depth
        _, shape = skip_mods_and_typedefs(btf, at)
        if isinstance(shape, Composite):
            known = _BY_NAME.get(shape.name)
            if known is not None:
                found.add(known)
            elif depth < _MAX_DEPTH:
                work += [(member.type_id, depth + 1) for member in shape.members]
        elif isinstance(shape, Array):
            work.append((shape.type_id, depth + 1))
        elif isinstance(shape, Datasec):
            work += [(variable.type_id, depth + 1) for variable in shape.variables]
        elif isinstance(shape, Var):
            work.append((shape.type_id, depth + 1))
        elif isinstance(shape, Ptr):
            tag = btf.type(shape.type_id)
            if isinstance(tag, TypeTag) and tag.name in _TAGS:
                found.add(_TAGS[tag.name])
                tags.add(tag.name)
    return frozenset(found), frozenset(tags)


def field_reasons(loaded: Loaded) -> Iterator[Reason]:
    """Maps that are not created because of a field in their value (``map_check_btf()``).

    Of maps that need no BTF libbpf makes one without it then; that is for :func:`map_use_reasons`.
    """
    for order, spec in enumerate(loaded.spec.maps):
        if not spec.autocreate or not isinstance(spec.type, MapType) or not map_fields.needs_btf(spec.type):
            continue
        for field in fields_of(loaded, spec):
            ruling = loaded.facts.rule(map_fields.map_takes, field, spec.type)
            yield from _reason(spec, ruling, Stage.MAPS, order)


def map_use_reasons(loaded: Loaded, program: ProgramSpec) -> Iterator[Reason]:
    """What speaks against this program's use of a map; the verifier asks for every map that it names."""
    named = {
        r.name: r.slot
        for r in reversed(program.references)
        if r.kind in (ReferenceKind.MAP, ReferenceKind.MAP_VALUE)
    }
    for spec in loaded.spec.maps:
        if spec.name not in named or not isinstance(spec.type, MapType):
            continue
        rule, sleepable = loaded.facts.rule, program.sleepable
        rulings = list(rule(map_use.program_takes, spec.type, spec.flags, program.type, sleepable))
        fields = fields_of(loaded, spec)
        lost = [rule(map_fields.map_takes, field, spec.type) for field in fields]
        if all(ruling.allowed is Allowed.YES for ruling in lost):
            rulings += [rule(map_fields.program_takes, field, program.type, sleepable) for field in fields]
        elif not map_fields.needs_btf(spec.type) and _works_on(program, fields):
            # Which map the helper works on is the verifier's to know.
            rulings += [
                replace(ruling, allowed=Allowed.UNKNOWN, why=f"libbpf creates it without BTF: {ruling.why}")
                for ruling in lost
                if ruling.allowed is not Allowed.YES
            ]
        for ruling in rulings:
            yield from _reason(spec, ruling, Stage.VERIFIER, named[spec.name])


def _works_on(program: ProgramSpec, fields: frozenset[Field]) -> bool:
    helpers = {insn.imm for insn in program.insns if insn.is_helper_call}
    return any(map_fields.users(field) & helpers for field in fields)


def _special(loaded: Loaded, spec: MapSpec) -> _Special:
    if loaded.spec.btf is None or not spec.value_type_id or spec.struct_ops:
        return frozenset(), frozenset()
    values = loaded.own.values
    if spec.value_type_id not in values:
        values[spec.value_type_id] = special_fields(loaded.spec.btf, spec.value_type_id)
    return values[spec.value_type_id]  # type: ignore[no-any-return]


def fields_of(loaded: Loaded, spec: MapSpec) -> frozenset[Field]:
    """Those that this kernel finds."""
    fields, tags = _special(loaded, spec)
    return loaded.facts.rule(kptrs.found, fields, tags) if tags else fields


def exchanged(loaded: Loaded, program: ProgramSpec) -> Ruling:
    """Whether bpf_kptr_xchg() finds a kptr in any map that the program names."""
    named = {r.name for r in program.references if r.kind in (ReferenceKind.MAP, ReferenceKind.MAP_VALUE)}
    tags = frozenset(_special(loaded, spec)[1] for spec in loaded.spec.maps if spec.name in named)
    return loaded.facts.rule(kptrs.exchanged, tags)


def _reason(spec: MapSpec, ruling: Ruling, stage: Stage, order: int) -> Iterator[Reason]:
    if ruling.allowed is Allowed.YES:
        return
    certain = ruling.allowed is Allowed.NO
    yield Reason(
        ReasonCode.MAP_INVALID if certain else ReasonCode.MAP_UNKNOWN,
        f"map {spec.name}",
        ruling.told,
        stage,
        Evidence.RULE,
        certain,
        order=order,
    )
