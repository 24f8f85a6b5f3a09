# SPDX-License-Identifier: Apache-2.0
"""What tells a distribution's own archive from others that apt is configured with, and what signs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from holdfast.errors import UsageError
from holdfast.kernels.sources.apt import AptConfig, Entry

__all__ = ["DISTRIBUTIONS", "Distribution", "candidates", "machine", "named"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """``origins`` are what its Release files say, ``keyrings`` names of its keyring's file, best first.

    ``suites`` only help to tell whom to ask: a suite that is missing there is found all the same where it is
    this machine's own, is the one that was asked for, or the distribution's keyring is named beside it.
    """

    name: str
    origins: frozenset[str]
    keyrings: tuple[str, ...]
    keyring_package: str
    components: tuple[str, ...]
    suites: frozenset[str]


_DEBIAN_SUITES: Final = frozenset(
    {
        *("stable", "oldstable", "oldoldstable", "testing", "unstable", "sid", "experimental"),
        *("bullseye", "bookworm", "trixie", "forky", "duke"),
    }
)
DISTRIBUTIONS: Final[Mapping[str, Distribution]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Distribution(
                "debian",
                frozenset({"Debian", "Debian Backports"}),
                ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp"),
                "debian-archive-keyring",
                ("main",),
                _DEBIAN_SUITES,
            ),
            Distribution(
                "ubuntu",
                frozenset({"Ubuntu"}),
                ("ubuntu-archive-keyring.gpg",),
                "ubuntu-keyring",
                ("main", "universe"),
                frozenset(["devel", "focal", "jammy", "noble", "questing", "resolute"]),
            ),
        )
    }
)


def named(name: str) -> Distribution:
    """Return the distribution of that name; raise :exc:`~holdfast.errors.UsageError` when there is none."""
    found = DISTRIBUTIONS.get(name.lower())
    if found is None:
        raise UsageError(
            f"no distribution {name!r} is known; there are {', '.join(DISTRIBUTIONS)}",
            hint="`holdfast kernels add` takes any kernel package or image that you have",
        )
    return found


def machine() -> tuple[str, str]:
    """Return this machine's (distribution, codename): ``debian``, ``stable`` where it says nothing of use."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    system = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    like = (system.get("ID", ""), *system.get("ID_LIKE", "").split())
    own = next((name for name in like if name in DISTRIBUTIONS), "debian")
    return own, system.get("VERSION_CODENAME") or "stable"


def candidates(config: AptConfig, distribution: Distribution, suite: str) -> list[Entry]:
    """Return the archives that may have a suite, likeliest first, each address once.

    Any suite of an archive can be asked for, not only those that apt is configured for. Others' archives use
    the distribution's suite names too, so the Release file has the last word on whose it is.
    """
    own, codename = machine()
    words = {*distribution.suites, suite.split("-")[0]}
    if own == distribution.name:
        words.add(codename)
    security = suite.endswith("-security")
    ranked: dict[str, tuple[int, Entry]] = {}
    for entry in config.entries:
        keys = any(name in entry.signed_by for name in distribution.keyrings)
        bases = {one.split("-")[0] for one in entry.suites}
        if not (keys or bases & words) or "main" not in entry.components:
            continue
        # Debian keeps security apart, under an address of its own; Ubuntu's main archive has it as well.
        fits = any(one.endswith("-security") for one in entry.suites) == security
        rank = (0 if suite in entry.suites else 1) + (0 if fits else 2) + (0 if keys else 4)
        if entry.address not in ranked or rank < ranked[entry.address][0]:
            ranked[entry.address] = rank, entry
    return [entry for _, entry in sorted(ranked.values(), key=lambda one: one[0])]
