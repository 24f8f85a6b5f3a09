# SPDX-License-Identifier: Apache-2.0
"""What Holdfast claims of one kernel's kfuncs, in the words of sources. Used by scripts/prove-kfuncs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prove_kfuncs_compare import Claim

from holdfast.btf.types import Kind
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.probed import ProbeFacts
from holdfast.kernels.record import KernelRecord

__all__ = ["Kernel", "kernels"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel as Holdfast sees it. ``version`` is that of its source package, "" where it is not known;
    ``functions`` are the names of functions in any BTF of the build; ``probes`` what the catalogue has of the
    kernel's own answers.
    """

    id: str
    arch: str
    version: str
    distribution: str
    config: Mapping[str, str] | None
    claims: Mapping[str, Claim]
    functions: frozenset[str]
    probes: ProbeFacts | None


def kernels(selector: str) -> Iterator[Kernel]:
    """The kernel of a path (package, image, folder), else those that an id or glob of the catalogue names.

    Raises :exc:`~holdfast.errors.HoldfastError`.
    """
    if Path(selector).exists():
        from holdfast.kernels.build import facts_of, record_of_path

        record = record_of_path(selector)
        yield _kernel(record, facts_of(record))
        return
    from holdfast.kernels.catalogue import find

    for entry in find([selector]):
        yield _kernel(entry.record(), entry.facts())


def _kernel(record: KernelRecord, facts: KernelFacts) -> Kernel:
    package = record.package
    return Kernel(
        record.id,
        record.arch,
        (package.source_version or package.version) if package else "",
        package.distribution if package else "",
        record.config,
        {name: claim for name in facts.kfunc_names() if (claim := _claim(facts, name))},
        frozenset(btf.name(type_id) for _, btf in facts.btfs() for type_id in btf.own_of_kind(Kind.FUNC)),
        record.probes,
    )


def _claim(facts: KernelFacts, name: str) -> Claim | None:
    found = facts.kfunc(name)
    if found is None:
        return None
    row = (facts.registrations or {}).get(name)
    by_type = row.by_type if row else None
    return Claim(
        name,
        found.module,
        found.flags,
        None if found.program_types is None else frozenset(kind.name for kind in found.program_types),
        found.narrowed,
        None if by_type is None else {kind.name: flags for kind, flags in by_type.items()},
        found.prototype,
    )
