# SPDX-License-Identifier: Apache-2.0
"""What was found on some kernels, by the answers that they gave: ask, follow the answer, ask on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final, Protocol

__all__ = ["MISSING", "Asked", "Numbers", "Question", "Trail", "Tree"]

Question = tuple[str, tuple[Any, ...]]
"""The name of a question and its arguments."""

Trail = dict[int, int]
"""The numbers of questions and answers, in the order in which the questions were asked."""

MISSING: Final = object()
"""Stands for a finding that there is not yet; a finding may be None."""


class Numbers:
    """A number for each question and each answer, the same for all kernels, so that many need be compared
    and looked up only once as what they are.
    """

    __slots__ = ("_answers", "_questions", "asked", "trees")

    def __init__(self) -> None:
        self._questions: dict[Question, int] = {}
        self._answers: dict[Hashable, int] = {}
        self.asked: list[Question] = []
        """The questions, by number."""
        self.trees: dict[int, Tree] = {}
        """The answers to questions that are worked out by asking others."""

    def question(self, question: Question) -> int:
        """Its number; equal questions have the same."""
        number = self._questions.get(question)
        if number is None:
            number = self._questions[question] = len(self.asked)
            self.asked.append(question)
        return number

    def answer(self, answer: Hashable) -> int:
        """Its number; equal answers have the same."""
        return self._answers.setdefault(answer, len(self._answers))


class Asked(Protocol):
    """Who answers."""

    answered: dict[int, int]
    """The numbers of answers by the numbers of questions, as far as they are known."""

    def told(self, number: int) -> int:
        """The number of the answer to the question of that number."""


class _Fork:
    __slots__ = ("question", "ways")

    def __init__(self, question: int) -> None:
        self.question = question
        self.ways: dict[int, _Fork | _Leaf] = {}


class _Leaf:
    __slots__ = ("found",)

    def __init__(self, found: Any) -> None:
        self.found = found


class Tree:
    """Findings of one matter. What is asked next must depend on what was answered before, and on nothing
    else; a finding that came about otherwise is not kept.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Fork | _Leaf | None = None

    def find(self, asked: Asked, path: Trail | None = None) -> Any:
        """What was found where the same was answered, :data:`MISSING` if that has not been. What is asked
        goes into ``path``.
        """
        at = self._root
        answered = asked.answered
        while type(at) is _Fork:
            answer = answered.get(at.question)
            if answer is None:
                answer = asked.told(at.question)
            if path is not None:
                path[at.question] = answer
            at = at.ways.get(answer)
        return MISSING if at is None else at.found  # type: ignore[union-attr]

    def keep(self, trail: Mapping[int, int], found: Any) -> None:
        """Remember what was found when this was asked and answered."""
        ways: dict[int, _Fork | _Leaf] | None = None
        last = -1
        at = self._root
        for question, answer in trail.items():
            if at is None:
                at = _Fork(question)
                if ways is None:
                    self._root = at
                else:
                    ways[last] = at
            if type(at) is not _Fork or at.question != question:
                return
            ways, last = at.ways, answer
            at = ways.get(answer)
        if at is None:
            if ways is None:
                self._root = _Leaf(found)
            else:
                ways[last] = _Leaf(found)
