# SPDX-License-Identifier: Apache-2.0
"""What is shared between kernels changes no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import lacks

from holdfast.elf import open_object
from holdfast.kernels.catalogue import Catalogue
from holdfast.predict import Predictor
from holdfast.predict.memory import Memory
from holdfast.predict.tree import MISSING, Numbers, Tree

KERNELS = ("5.10.*-cloud-amd64", "6.1.*-cloud-amd64", "6.12.107*-arm64", "6.18.*-cloud-amd64", "7.2.12*")


class Kernel:
    """Answers by question, the odd ones known before, the even ones only when told."""

    def __init__(self, answers: dict[int, int]) -> None:
        self.answered = {number: answer for number, answer in answers.items() if number % 2}
        self._answers = answers

    def told(self, number: int) -> int:
        assert number not in self.answered
        return self._answers[number]


@pytest.mark.corpus
def test_verdicts_are_those_of_a_predictor_that_shares_nothing(corpus: list[Path]) -> None:
    catalogue = Catalogue.builtin()
    chosen = [row.id for row in catalogue.rows() if any(Path(row.release).match(glob) for glob in KERNELS)]
    if len(chosen) < 2:
        lacks("the built-in catalogue has been left out")
    kernels = [catalogue.facts(kernel) for kernel in chosen]
    memory = Memory()
    sharing = [Predictor(facts, memory=memory) for facts in kernels]
    alone = [Predictor(facts) for facts in kernels]
    for path in corpus[:: max(1, len(corpus) // 12)]:
        spec = open_object(path)
        for one, other in zip(sharing, alone, strict=True):
            assert one.check(spec) == other.check(spec), (path.name, one.kernel.facts.id)
            # and again, now that all of it is remembered
            assert one.check(spec) == other.check(spec), (path.name, one.kernel.facts.id)
        memory.forget(spec.sha256)


def test_a_finding_is_found_by_the_answers_that_it_rests_on() -> None:
    tree = Tree()
    tree.keep({1: 10, 2: 20}, "both")
    tree.keep({1: 11, 3: 30}, "other")
    path: dict[int, int] = {}
    assert tree.find(Kernel({1: 10, 2: 20, 3: 99}), path) == "both"
    assert path == {1: 10, 2: 20}
    assert tree.find(Kernel({1: 11, 3: 30})) == "other"
    assert tree.find(Kernel({1: 10, 2: 21})) is MISSING
    assert tree.find(Kernel({1: 12})) is MISSING


def test_a_finding_that_rests_on_nothing_holds_for_all() -> None:
    tree = Tree()
    tree.keep({}, None)
    assert tree.find(Kernel({})) is None


def test_a_finding_that_asked_otherwise_is_not_kept() -> None:
    tree = Tree()
    tree.keep({1: 10, 2: 20}, "first")
    tree.keep({2: 21, 1: 10}, "second")
    assert tree.find(Kernel({1: 10, 2: 20})) == "first"
    assert tree.find(Kernel({1: 10, 2: 21})) is MISSING


def test_equal_questions_and_answers_have_one_number() -> None:
    numbers = Numbers()
    first = numbers.question(("find", ("sk_buff",)))
    assert numbers.question(("find", ("sk_buff",))) == first
    assert numbers.question(("find", ("sock",))) != first
    assert numbers.asked[first] == ("find", ("sk_buff",))
    assert numbers.answer((1, "a")) == numbers.answer((1, "a")) != numbers.answer((1, "b"))
