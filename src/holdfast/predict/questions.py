# SPDX-License-Identifier: Apache-2.0
"""What was asked of a kernel while something was worked out, so that it need not be worked out again for a
kernel that gives the same answers.

Most of what tells two kernel builds apart is no matter to a given program. :class:`Questions` passes each
question on to the facts and writes question and answer down while somebody listens; a :data:`Trail` is the
list of them. :meth:`Questions.agree` asks another kernel the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Final, TypeVar

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Array, Composite, FuncProto, Ptr
from holdfast.kernels.facts import Answer, KernelFacts, Place
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign

__all__ = ["NotedAsk", "Questions", "Trail"]

Question = tuple[str, tuple[Any, ...]]
Trail = dict[Question, Any]
"""Questions and what tells their answers apart, in the order in which they were asked."""

_T = TypeVar("_T")
_ASKED: Final = (
    "attach_type",
    "config_enabled",
    "config_value",
    "enumerators",
    "find",
    "function",
    "has_func",
    "helper",
    "helper_known",
    "kfunc_callable",
    "kfunc_flags",
    "map_type",
    "module_function",
    "permitted",
    "program_type",
    "symbol",
    "tracepoint_btf",
    "unloaded_module_with",
    "version_text",
)
_DEPTH: Final = 3  # struct_ops: a struct's members, what they point to, and its parameters


class Questions(KernelFacts):
    """The facts of one kernel, with each question written down that predictions ask.

    Attributes are those of ``facts`` and are not noted; those that predictions read are in
    :attr:`constants`. Not for use from several threads at once.
    """

    __slots__ = ("_ask", "_keys", "_listening", "_outlines", "_rulings", "real")

    def __init__(self, facts: KernelFacts) -> None:
        super().__init__(**{one.name: getattr(facts, one.name) for one in fields(facts) if one.init})
        self.real = facts
        self._listening: list[Trail] = []
        self._keys: Trail = {}
        self._rulings: dict[Question, Any] = {}
        self._outlines: dict[tuple[int, int], Any] = {}

    @property
    def constants(self) -> tuple[Any, ...]:
        """What is read without a question; answers hold only among kernels that share it."""
        order = None if self.vmlinux is None else self.vmlinux.byteorder
        return (self.arch, order, self.config is None, self.host, bool(self.modules))

    @contextmanager
    def listen(self) -> Iterator[Trail]:
        """Write down what is asked within the block."""
        trail: Trail = {}
        self._listening.append(trail)
        try:
            yield trail
        finally:
            self._listening.pop()

    def rule(self, rule: Callable[..., _T], *args: Any, **more: Any) -> _T:
        """``rule(*args, ask=..., **more)``, called once; its answer is what is noted, not what it asks."""
        question = ("rule", (rule, args, tuple(more.items())))
        return self._ruled(question)  # type: ignore[no-any-return]

    def work(self, rule: Callable[..., _T], *args: Any) -> _T:
        """``rule(facts, ask, *args)``, noted as :meth:`rule` does."""
        return self._ruled(("work", (rule, args)))  # type: ignore[no-any-return]

    def _ruled(self, question: Question) -> Any:
        answer = self._rulings.get(question, self)
        if answer is self:
            answer = self._answer(*question)
            answer = self._rulings[question] = tuple(answer) if isinstance(answer, Iterator) else answer
        self.note(question, answer)
        return answer

    def agree(self, trail: Trail) -> bool:
        """Whether this kernel gives the same answers."""
        return all(self._key(question) == answer for question, answer in trail.items())

    def note(self, question: Question, answer: object) -> None:
        """Write down a question that was asked of this kernel."""
        key = self._keys.get(question, self)
        if key is self:
            key = self._keys[question] = self._told_apart(answer)
        for listener in self._listening:
            listener[question] = key

    def _key(self, question: Question) -> object:
        if question not in self._keys:
            self._keys[question] = self._told_apart(self._answer(*question))
        return self._keys[question]

    def _answer(self, name: str, args: tuple[Any, ...]) -> Any:
        if name == "rule":
            rule, args, more = args
            return rule(*args, ask=self._ask, **dict(more))
        if name == "work":
            rule, args = args
            return rule(self.real, self._ask, *args)
        source = self._ask if name.startswith("ask.") else self.real
        return getattr(source, name.removeprefix("ask."))(*args)

    def _told_apart(self, answer: object) -> object:
        if isinstance(answer, Place):
            return (answer.module, self._outline(answer.btf, answer.type_id, _DEPTH))
        if isinstance(answer, Mapping):
            return tuple(answer.items())
        if isinstance(answer, list | tuple | Iterator):
            return tuple(self._told_apart(one) for one in answer)
        # What is said of a yes goes into no message.
        if isinstance(answer, Ruling) and answer.allowed is Allowed.YES:
            return (Allowed.YES, answer.assumes)
        if isinstance(answer, Answer) and answer.value is True:
            return (True, answer.evidence)
        return answer

    def _outline(self, btf: Btf, type_id: int, depth: int) -> Any:
        """All that a rule may look at: names, kinds, sizes, members, parameters; what is behind a pointer
        to a struct by its name alone.
        """
        key = (id(btf), type_id * 4 + depth)
        if key not in self._outlines:
            self._outlines[key] = self._drawn(btf, type_id, depth)
        return self._outlines[key]

    def _drawn(self, btf: Btf, type_id: int, depth: int) -> Any:
        kind = btf.type(type_id)
        if isinstance(kind, Composite):
            head = (kind.kind, kind.name, kind.size)
            if depth < _DEPTH:
                return head
            return head, tuple(
                (m.name, m.bit_offset, m.bitfield_size, self._outline(btf, m.type_id, depth - 1))
                for m in kind.members
            )
        if isinstance(kind, FuncProto):
            result = self._outline(btf, kind.return_type_id, 0)
            return kind.kind, result, tuple((p.name, self._outline(btf, p.type_id, 0)) for p in kind.params)
        if isinstance(kind, Array):
            return kind.kind, kind.nelems, self._outline(btf, kind.type_id, min(depth, _DEPTH - 1))
        below = getattr(kind, "type_id", None)
        if below is None:
            return kind
        if isinstance(kind, Ptr):
            _, pointee = skip_mods_and_typedefs(btf, below)
            if isinstance(pointee, Composite):
                return kind.kind, pointee.kind, pointee.name
        return kind.kind, kind.name, self._outline(btf, below, min(depth, _DEPTH - 1))

    def asking(self, ask: Ask) -> Ask:
        """``ask`` with its questions written down here too."""
        self._ask = ask
        return NotedAsk(ask, self)


def _noted(name: str) -> Callable[..., Any]:
    def asked(self: Questions, *args: Any) -> Any:
        answer = getattr(self.real, name)(*args)
        self.note((name, args), answer)
        return answer

    asked.__name__ = name
    asked.__doc__ = getattr(KernelFacts, name).__doc__
    return asked


for _name in _ASKED:
    setattr(Questions, _name, _noted(_name))


class NotedAsk:
    """An :class:`~holdfast.rules.ask.Ask` whose questions are written down."""

    __slots__ = ("_ask", "_notes")

    def __init__(self, ask: Ask, notes: Questions) -> None:
        self._ask, self._notes = ask, notes

    def btf(self, sign: Sign) -> bool | None:
        answer = self._ask.btf(sign)
        self._notes.note(("ask.btf", (sign,)), answer)
        return answer

    def config(self, option: str) -> bool | None:
        answer = self._ask.config(option)
        self._notes.note(("ask.config", (option,)), answer)
        return answer

    def capability(self, name: str) -> bool | None:
        answer = self._ask.capability(name)
        self._notes.note(("ask.capability", (name,)), answer)
        return answer

    def locked_down(self, reason: str) -> bool | None:
        answer = self._ask.locked_down(reason)
        self._notes.note(("ask.locked_down", (reason,)), answer)
        return answer

    def release(self) -> tuple[int, int] | None:
        answer = self._ask.release()
        self._notes.note(("ask.release", ()), answer)
        return answer
