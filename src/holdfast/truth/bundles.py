# SPDX-License-Identifier: Apache-2.0
"""Bundles that are verified: what is sent to guests, and what was predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from holdfast.bundle.bundle import Bundle
from holdfast.bundle.manifest import MANIFEST_NAME
from holdfast.bundle.plan import Plan, plan
from holdfast.elf import ObjectSpec
from holdfast.errors import HoldfastError
from holdfast.kernels.facts import KernelFacts
from holdfast.predict import ProgramVerdict
from holdfast.truth.judge import Predictions
from holdfast.vm.guest.carry_bundle import FALLBACK, PLAN, variant_trial
from holdfast.vm.values import pack

__all__ = ["BundlePart", "bundles_of", "modules_of", "packages_of", "part_of", "plans", "with_prepared"]


@dataclass(frozen=True, slots=True)
class BundlePart:
    """One bundle as one guest gets it: bytes, names and verdicts, what another process and a port can carry.

    ``number`` is the bundle's in its run. ``digest`` changes with anything that a trial's end may hang on
    but the kernel, the loader, and the Python that goes along, which makes ``prepared``, too.
    """

    number: int
    name: str
    files: Mapping[str, bytes] = field(repr=False)
    verdicts: Sequence[Mapping[str, Any]] = field(repr=False)
    trials: tuple[str, ...]
    digest: str
    prepared: Any = field(default=None, repr=False)


def bundles_of(paths: Iterable[str | Path]) -> list[Bundle]:
    """The bundles among these paths, each folder once. Raises what :meth:`Bundle.open` does."""
    found: dict[Path, Bundle] = {}
    for path in map(Path, paths):
        folder = path.parent if path.name == MANIFEST_NAME else path
        if (folder / MANIFEST_NAME).is_file() and folder.resolve() not in found:
            found[folder.resolve()] = Bundle.open(path)
    return list(found.values())


def plans(
    bundles: Iterable[Bundle], facts: Iterable[KernelFacts], predicted: Predictions
) -> dict[tuple[int, str], Plan]:
    """The plan for each bundle, by its number, and kernel id, from verdicts that were made already."""

    def check(spec: ObjectSpec, one: KernelFacts) -> list[ProgramVerdict]:
        return [predicted[one.id, spec.sha256, program.name] for program in spec.programs]

    kernels = list(facts)
    return {
        (number, one.id): plan(bundle, one, check) for number, bundle in enumerate(bundles) for one in kernels
    }


def part_of(number: int, planned: Plan) -> BundlePart:
    """What one guest gets of a bundle, before its proof was prepared."""
    bundle = planned.bundle
    # from the folder alone, so that the guest sees the name that every bundle's manifest has
    files = {MANIFEST_NAME: bundle.manifest.path.read_bytes()}
    files |= {one.variant.object: one.content for one in bundle.variants}
    verdicts = [
        {"verdict": step.verdict.value, "reasons": [_plain(reason) for reason in step.reasons]}
        for step in planned.steps
    ]
    trials = [PLAN, *(variant_trial(one.name) for one in bundle.variants)]
    if bundle.manifest.proof and bundle.fallback and bundle.fallback.python:
        trials.append(FALLBACK)
    state = blake2b(pack([files, verdicts]), digest_size=32)
    return BundlePart(number, bundle.name, files, verdicts, tuple(trials), state.hexdigest())


def with_prepared(part: BundlePart, value: Any) -> BundlePart:
    """The part with what :func:`holdfast.load.prove.prepared` returned.

    Raises :exc:`~holdfast.errors.HoldfastError` for a value that cannot be sent.
    """
    try:
        pack(value)
    except TypeError as error:
        raise HoldfastError(f"{part.name}: what [proof] prepare returned cannot be sent: {error}") from None
    return replace(part, prepared=value)


def _plain(reason: Any) -> dict[str, Any]:
    row = {name: getattr(reason, name) for name in type(reason).__slots__}
    # an enumeration is a string to JSON, and its member's name to repr()
    return {name: str(value) if isinstance(value, str) else value for name, value in row.items()}


def modules_of(bundles: Iterable[Bundle]) -> tuple[str, ...]:
    """The kernel modules that their proofs ask for."""
    return tuple(
        dict.fromkeys(name for one in bundles if one.manifest.proof for name in one.manifest.proof.modules)
    )


def packages_of(bundles: Iterable[Bundle]) -> tuple[str, ...]:
    """The Python packages that their proofs need besides Holdfast, by import name."""
    return tuple(
        dict.fromkeys(name for one in bundles if one.manifest.proof for name in one.manifest.proof.packages)
    )
