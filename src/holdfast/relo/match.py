# SPDX-License-Identifier: Apache-2.0
"""Match a local spec to one candidate type (``bpf_core_spec_match()`` and ``bpf_core_match_member()`` of
libbpf).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from holdfast.btf import essential_name
from holdfast.btf.ext import CoreReloKind
from holdfast.btf.skip import UnsizedError, resolve_size, skip_mods_and_typedefs
from holdfast.btf.types import Array, Composite, Enum
from holdfast.relo.compat import Shape, field_fits, field_shape, types_are_compat, types_match
from holdfast.relo.failure import Refused, ReloError
from holdfast.relo.spec import (
    BPF_CORE_SPEC_MAX_LEN,
    ENUMVAL_BASED,
    TYPE_BASED,
    UINT32_MAX,
    Accessor,
    Spec,
    is_flex_arr,
)
from holdfast.relo.target import Side, Steps

__all__ = ["Match", "Mismatch", "match_candidate", "steps_of"]

_MAX_VISITS: Final = 500_000  # members looked at for one field; libbpf's search is bounded in depth only


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A candidate lacks the access: at accessor number ``step``, in type ``type_id`` of ``side``.

    ``member`` is the index of a member that has the right name but an incompatible type.
    """

    side: Side
    root_type_id: int
    step: int
    type_id: int
    member: int | None = None


Match = Spec | Mismatch | ReloError
"""What a candidate says: the target spec, where it differs, or the error that makes libbpf stop."""


def steps_of(spec: Spec) -> Steps:
    """The :data:`Steps` of a local spec of a field or an enumerator."""
    if spec.kind in ENUMVAL_BASED:
        return ((essential_name(spec.accessors[0].name or ""), ()),)
    btf = spec.btf
    steps: list[tuple[str, Shape] | int] = []
    for accessor in spec.accessors:
        if accessor.name is None:
            steps.append(accessor.idx)
        else:
            holder = btf.type(accessor.type_id)
            assert isinstance(holder, Composite)
            steps.append((accessor.name, field_shape(btf, holder.members[accessor.idx].type_id)))
    return tuple(steps)


def match_candidate(local: Spec, steps: Steps, side: Side, type_id: int) -> Match:
    """Match a spec, whose :func:`steps_of` is ``steps`` (unused for types), against a candidate."""
    kind = local.kind
    try:
        if kind in TYPE_BASED:
            relation = types_match if kind == CoreReloKind.TYPE_MATCHES else types_are_compat
            if relation(local.btf, local.root_type_id, side.btf, type_id):
                return Spec(side, type_id, kind, (), (), 0)
            return Mismatch(side, type_id, 0, type_id)
        if kind in ENUMVAL_BASED:
            return _match_enumerator(kind, steps, side, type_id)
        return _Search(side, kind, type_id).run(steps)
    except Refused as refused:
        return ReloError(refused.errno, refused.message)
    except UnsizedError as error:
        return ReloError(error.errno, error.message)


def _match_enumerator(kind: CoreReloKind, steps: Steps, side: Side, type_id: int) -> Match:
    enum_id, found = skip_mods_and_typedefs(side.btf, type_id)
    step = steps[0]
    if isinstance(found, Enum) and isinstance(step, tuple):
        for at, enumerator in enumerate(found.values):
            # the plain test first: names with a flavor are rare
            if enumerator.name.startswith(step[0]) and essential_name(enumerator.name) == step[0]:
                return Spec(side, type_id, kind, (Accessor(enum_id, at, enumerator.name),), (at,), 0)
    return Mismatch(side, type_id, 0, enum_id)


class _Search:
    """The state of matching one candidate, changed in the order in which libbpf changes its own."""

    def __init__(self, side: Side, kind: CoreReloKind, root_type_id: int) -> None:
        self.side = side
        self.btf = side.btf
        self.kind = kind
        self.root_type_id = root_type_id
        self.accessors: list[Accessor] = []
        self.raw: list[int] = []
        self.bit_offset = 0
        self.visits = 0
        self.next_id = 0
        self.wrong_type: tuple[int, int] | None = None

    def run(self, steps: Steps) -> Match:
        type_id = self.root_type_id
        for at, step in enumerate(steps):
            type_id, found = skip_mods_and_typedefs(self.btf, type_id)
            if isinstance(step, tuple):
                self.wrong_type = None
                if not self.member(type_id, *step):
                    holder, member = self.wrong_type or (type_id, None)
                    return Mismatch(self.side, self.root_type_id, at, holder, member)
                type_id = self.next_id
                continue
            if at > 0:
                if not isinstance(found, Array):
                    return Mismatch(self.side, self.root_type_id, at, type_id)
                if step >= found.nelems and not is_flex_arr(self.btf, self.accessors[-1], found):
                    return Mismatch(self.side, self.root_type_id, at, type_id)
                type_id, _ = skip_mods_and_typedefs(self.btf, found.type_id)
            self.deeper()
            self.accessors.append(Accessor(type_id, step, None))
            self.raw.append(step)
            self.bit_offset += step * resolve_size(self.btf, type_id, self.side.pointer_bytes) * 8
        return Spec(
            self.side,
            self.root_type_id,
            self.kind,
            tuple(self.accessors),
            tuple(self.raw),
            self.bit_offset & UINT32_MAX,
        )

    def deeper(self) -> None:
        if len(self.raw) == BPF_CORE_SPEC_MAX_LEN:
            raise Refused(errno.E2BIG, "types nest too deep")

    def member(self, type_id: int, name: str, shape: Shape) -> bool:
        """Find a field by name, in anonymous members too; on success ``next_id`` is its type."""
        type_id, found = skip_mods_and_typedefs(self.btf, type_id)
        if not isinstance(found, Composite):
            return False
        self.visits += len(found.members)
        if self.visits > _MAX_VISITS:
            raise Refused(errno.E2BIG, "the type has too many members to search")
        for at, member in enumerate(found.members):
            if member.name:
                if member.name != name:
                    continue
                self.deeper()
                self.bit_offset += member.bit_offset
                self.raw.append(at)
                if not field_fits(shape, self.btf, member.type_id):
                    # Left as it is, because libbpf does: only when BTF has a second member of that name does
                    # it matter.
                    self.wrong_type = (type_id, at)
                    return False
                self.accessors.append(Accessor(type_id, at, name))
                self.next_id = member.type_id
                return True
            self.deeper()
            self.bit_offset += member.bit_offset
            self.raw.append(at)
            if self.member(member.type_id, name, shape):
                return True
            self.bit_offset -= member.bit_offset
            self.raw.pop()
        return False
