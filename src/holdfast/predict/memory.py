# SPDX-License-Identifier: Apache-2.0
"""What was worked out on one kernel and holds on others that answer the same questions alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.predict.questions import Questions
from holdfast.predict.tree import MISSING, Numbers, Trail, Tree

__all__ = ["Memory", "few_collections"]

_T = TypeVar("_T")
_NEW_OBJECTS = 200_000


@contextmanager
def few_collections() -> Iterator[None]:
    """For the time of a long run the garbage collector seldom looks for rings.

    What is kept while many objects are checked are millions of small values without a ring among them, and to
    look through them again and again takes a tenth of the time. Affects the whole process.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@dataclass(slots=True)
class Memory:
    """What one object's programs are found to be, by object; shared by the predictors of several kernels.

    It grows with every object: :meth:`forget` those that are done with. Not for use from several threads at
    once.
    """

    numbers: Numbers = field(default_factory=Numbers)
    ways: dict[Any, Any] = field(default_factory=dict)
    """See :class:`holdfast.relo.resolve.Accesses`."""
    _trees: dict[str, dict[Hashable, Tree]] = field(default_factory=dict)
    _shapes: dict[str, dict[Hashable, dict[Hashable, Any]]] = field(default_factory=dict)

    def recall(self, sha256: str, key: Hashable, facts: Questions, work_out: Callable[[], _T]) -> _T:
        """``work_out()``, or what it gave under ``key`` for a kernel that answers as this one does, so far
        as was asked.
        """
        trees = self._trees.setdefault(sha256, {})
        tree = trees.get(key)
        if tree is None:
            tree = trees[key] = Tree()
        path: Trail | None = {} if facts.is_heard else None
        found = tree.find(facts, path)
        if found is not MISSING:
            if path:
                facts.hear(path)
            return found  # type: ignore[no-any-return]
        with facts.listen() as trail:
            found = work_out()
        tree.keep(trail, found)
        return found

    def shape(self, sha256: str, key: Hashable) -> dict[Hashable, Any]:
        """A place to keep what holds whatever the kernel says, given ``key``."""
        return self._shapes.setdefault(sha256, {}).setdefault(key, {})

    def forget(self, sha256: str) -> None:
        """Drop what is remembered of an object."""
        self._trees.pop(sha256, None)
        self._shapes.pop(sha256, None)
