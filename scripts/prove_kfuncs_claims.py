# SPDX-License-Identifier: Apache-2.0
"""What Holdfast claims of one kernel's kfuncs, in the words of sources. Used by scripts/prove-kfuncs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prove_kfuncs_compare import Claim

from holdfast.kernels.facts import KernelFacts

__all__ = ["Kernel", "kernel"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel as Holdfast sees it. ``version`` is that of its source package, "" where it is not known;
    ``functions`` are the names of functions in any BTF of the build.
    """

    id: str
    arch: str
    version: str
    distribution: str
    config: Mapping[str, str] | None
    claims: Mapping[str, Claim]
    functions: frozenset[str]


def kernel(selector: str) -> Kernel:
    """The kernel that a path (package, image, folder) or an id of the catalogue names.

    Raises :exc:`~holdfast.errors.HoldfastError`.
    """
    from holdfast.kernels.build import facts_of, record_of_path

    if Path(selector).exists():
        record = record_of_path(selector)
        package = record.package
        version = (package.source_version or package.version) if package else ""
        return _kernel(facts_of(record), version, package.distribution if package else "")
    from holdfast.kernels.select import select

    (facts,) = select([selector])
    return _kernel(facts, "", "")


def _kernel(facts: KernelFacts, version: str, distribution: str) -> Kernel:
    return Kernel(
        facts.id,
        facts.arch,
        version,
        distribution,
        facts.config,
        {name: claim for name in facts.kfunc_names() if (claim := _claim(facts, name))},
        _functions(facts),
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


def _functions(facts: KernelFacts) -> frozenset[str]:
    from holdfast.btf.types import Kind

    return frozenset(btf.name(type_id) for _, btf in facts.btfs() for type_id in btf.own_of_kind(Kind.FUNC))
