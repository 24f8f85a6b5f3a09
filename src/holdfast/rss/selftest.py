# SPDX-License-Identifier: Apache-2.0
"""Whether receive-side scaling is right on this machine: every bundle, every variant, every fallback.

Each gets the rounds of its bundle's proof: the published vectors, and random frames against a reference
that shares no code with it. What cannot run here says why; that is no failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.bundle.bundle import BuiltVariant, Bundle
from holdfast.bundle.plan import Plan, PlanStep
from holdfast.bundle.proof import Count
from holdfast.errors import HoldfastError
from holdfast.load.prove import ground, prepared, prove
from holdfast.load.runner import carry_out
from holdfast.rss import reference
from holdfast.rss.config import RssConfig
from holdfast.rss.fallback import Steering
from holdfast.rss.shipped import bundle_path
from holdfast.rss.terms import ALL_TUNNELS, HashType
from holdfast.rss.traffic import random_frames
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.rss.vectors import KEY, VECTORS
from holdfast.terms import Verdict

__all__ = ["SelfTest", "bundles", "self_test"]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What came of one variant or fallback: counts, or in ``cannot`` why it did not run.

    ``left_out`` says what of its proof this kernel has no ground for.
    """

    bundle: str
    name: str
    counts: tuple[Count, ...] = ()
    wrong: tuple[str, ...] = ()
    cannot: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Returns whether every frame that there was went where it had to."""
        return not self.wrong and all(one.right == one.of for one in self.counts)

    def to_dict(self) -> dict[str, object]:
        """Returns it for JSON."""
        return {
            "bundle": self.bundle,
            "name": self.name,
            "ran": self.cannot is None,
            "right": self.right if self.cannot is None else None,
            "cannot": self.cannot,
            "counts": [{"what": one.what, "right": one.right, "of": one.of} for one in self.counts],
            "wrong": list(self.wrong),
            "left_out": list(self.left_out),
        }


def self_test(
    flows: int = 1000, *, seed: int = 1, step: Callable[[str], object] = lambda _name: None
) -> Iterator[SelfTest]:
    """Yields one result for hashing in Python, and for each variant and fallback of each bundle.

    ``flows`` and ``seed`` are for the first; the others get the frames of their proofs. ``step`` is called
    with a name before each. What is loaded and made is gone when the result is there.
    """
    step("in Python")
    yield _in_python(flows, seed)
    for bundle in bundles():
        rounds: Any = None
        for variant in bundle.variants:
            step(f"{bundle.name} {variant.name}")
            try:
                rounds = prepared(bundle.manifest) if rounds is None else rounds
                yield _tried(bundle, variant, rounds)
            except HoldfastError as error:
                yield SelfTest(bundle.name, variant.name, cannot=error.message)
        if bundle.fallback is not None:
            step(f"{bundle.name} {bundle.fallback.name}")
            yield _tried(bundle, None, rounds)


def bundles() -> list[Bundle]:
    """Returns the bundles of receive-side scaling that this installation has and that can be proven."""
    folders = sorted(one.parent for one in bundle_path("net/rss").parent.glob("rss*/holdfast.toml"))
    return [one for one in map(Bundle.open, folders) if one.manifest.proof is not None]


def _in_python(flows: int, seed: int) -> SelfTest:
    config = RssConfig(KEY, tunnel_types=ALL_TUNNELS)
    steering, wrong = Steering(config), list[str]()
    published = [(data, kind, value) for one in VECTORS for data, kind, value in one.frames()]
    right = sum(_told(steering, data) == (kind, value) for data, kind, value in published)
    counts = [Count("frames of the published vectors", right, len(published))]
    right = 0
    for data in (*random_frames(flows // 2, seed), *random_tunnels(flows - flows // 2, seed)):
        kind, hashed = reference.select(reference.dissect(data, config.tunnel_types), config.types)
        wanted = kind, reference.toeplitz(KEY, hashed) if kind else None
        if (got := _told(steering, data)) == wanted:
            right += 1
        elif len(wrong) < 5:
            wrong.append(f"{data.hex()}: {got}, expected {wanted}")
    counts.append(Count("random flows, half of them in tunnels", right, flows))
    return SelfTest("holdfast.rss", "Steering", tuple(counts), tuple(wrong))


def _told(steering: Steering, data: bytes) -> tuple[HashType, int | None]:
    found = steering.classify(data)
    return found.type, found.hash


def _tried(bundle: Bundle, variant: BuiltVariant | None, rounds: Any) -> SelfTest:
    """Carry out that variant alone, or the fallback alone (None), and prove it."""
    steps: tuple[PlanStep, ...] = ()
    name = bundle.fallback.name if bundle.fallback is not None else ""
    if variant is not None:
        steps, name = (PlanStep(variant, Verdict.UNKNOWN, ()),), variant.name
    try:
        with (
            ground(bundle.manifest) as prepare,
            carry_out(Plan(bundle, "live", steps), prepare=prepare) as out,
        ):
            if variant is not None and out.is_fallback:
                return SelfTest(bundle.name, name, cannot=out.steps[0].words or "it does not load here")
            proved = prove(out, rounds)
    except HoldfastError as error:
        return SelfTest(bundle.name, name, cannot=error.message)
    left_out = tuple(str(one) for one in proved.details.get("left_out", ()))
    return SelfTest(bundle.name, name, proved.counts, proved.wrong, proved.cannot or None, left_out)
