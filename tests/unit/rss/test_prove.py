# SPDX-License-Identifier: Apache-2.0
"""The proof of net/rss finds what is wrong, and says what could not be tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.bundle import read_manifest
from holdfast.errors import KernelAccessError
from holdfast.load.prove import prepared
from holdfast.rss import RssConfig, Steering, prove, reference
from holdfast.rss.fallback import Classified
from holdfast.rss.shipped import bundle_path
from holdfast.rss.terms import TunnelType
from holdfast.rss.tunnel_traffic import random_tunnels
from holdfast.vm.values import pack, unpack


class Outcome:
    """The fallback that is given, or a variant that nothing is known of."""

    def __init__(self, fallback: Any) -> None:
        self.fallback = fallback
        self.is_fallback = fallback is not None

    fd = -1

    def program(self, name: str) -> Any:
        return self

    map = program


@pytest.fixture(scope="module")
def rounds() -> Any:
    """As a guest gets them."""
    manifest = read_manifest(bundle_path())
    assert manifest.proof is not None and "tun" in manifest.proof.modules
    return unpack(pack(prepared(manifest)))


def test_the_fallback_works(rounds: Any) -> None:
    found = prove.prove(Outcome(Steering), rounds)
    assert found.works
    assert [one.of for one in found.counts] == [24, *prove.FLOWS]
    assert sum(found.details["queues"]) == 24 + sum(prove.FLOWS) and found.details["lost"] == 0
    assert min(found.details["types"].values()) > 5 and len(found.details["types"]) >= 10


def test_tunnels_of_every_kind(rounds: Any) -> None:
    """Of the flows inside tunnels, none is steered as it would be by its outer headers alone."""
    sent = list(random_tunnels(prove.TUNNELS, 3))
    assert max(map(len, sent)) <= 1514 and len(set(sent)) == len(sent)
    for kind in TunnelType:
        inside = [reference.dissect(one, kind) != reference.dissect(one) for one in sent]
        assert sum(inside) > 30, kind
    found = prove.prove(Outcome(Steering), prove.prepare_tunnels())
    assert found.works and [one.of for one in found.counts[3:]] == [prove.TUNNELS] * 2


def test_who_does_not_look_into_tunnels_is_found() -> None:
    class Outside(Steering):
        def configure(self, config: RssConfig) -> None:
            super().configure(replace(config, tunnel_types=TunnelType.NONE))

    found = prove.prove(Outcome(Outside), prove.prepare_tunnels())
    assert [one.right < one.of for one in found.counts] == [False, False, False, True, True]


class OneKey(Steering):
    """Does not notice that the key has changed."""

    first = b""

    def configure(self, config: RssConfig) -> None:
        self.first = self.first or config.key.strip(b"\0")
        super().configure(replace(config, key=self.first or config.key))


class OneQueue(Steering):
    def classify(self, frame: bytes) -> Classified:
        found = super().classify(frame)
        return Classified(found.type, found.hash, 0)


@pytest.mark.parametrize(("broken", "wrong"), [(OneKey, [False, False, True]), (OneQueue, [True] * 3)])
def test_what_is_wrong_is_found(rounds: Any, broken: type[Steering], wrong: list[bool]) -> None:
    found = prove.prove(Outcome(broken), rounds)
    assert found.works is False
    assert [one.right < one.of for one in found.counts] == wrong
    assert "expected queue" in found.wrong[0] and len(found.wrong) == 5


def test_without_a_tap_nothing_is_proven(rounds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_tap(queues: int) -> object:
        raise KernelAccessError("this kernel offers no TAP")

    monkeypatch.setattr(prove, "MultiqueueTap", no_tap)
    found = prove.prove(Outcome(None), rounds)
    assert found.works is None and found.cannot == "this kernel offers no TAP"
