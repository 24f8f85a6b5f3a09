# SPDX-License-Identifier: Apache-2.0
"""What was asked of a kernel while something was worked out, so that it need not be worked out again for a
kernel that gives the same answers.

Most of what tells two kernel builds apart is no matter to a given program. :class:`Questions` passes each
question on to the facts and writes question and answer down while somebody listens, as numbers
(:mod:`.tree`) that are the same for all kernels. :meth:`Questions.told` asks another kernel the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from types import GeneratorType
from typing import Any, Final, Generic, TypeVar

from holdfast.btf import Btf
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Array, Composite, FuncProto, Ptr
from holdfast.kernels.facts import Answer, KernelFacts, Place
from holdfast.predict.tree import MISSING, Numbers, Question, Trail, Tree
from holdfast.rules.ask import Allowed, Ask, Ruling, Sign
from holdfast.terms import Evidence

__all__ = ["THIS_ARCH", "NotedAsk", "Once", "Questions"]

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
_RULED: Final = ("rule", "work", "conclude", "judge")
THIS_ARCH: Final = "(the kernel's)"
"""Given to :meth:`Questions.rule` as ``arch``: the rule gets the kernel's, None where that is not known."""
_YES: Final = Answer(True, Evidence.NONE)
_PROBED_YES: Final = Answer(True, Evidence.PROBE)
_UNTOLD: Final = Answer(None, Evidence.NONE)
_DEPTH: Final = 3  # struct_ops: a struct's members, what they point to, and its parameters


class Questions(KernelFacts):
    """The facts of one kernel, with each question written down that predictions ask.

    A plain yes comes without its note and its evidence, as no verdict may depend on them. Attributes are
    those of ``facts`` and are not noted; those that predictions read are in :attr:`constants`. Not for use
    from several threads at once.
    """

    __slots__ = (
        "_ask",
        "_listening",
        "_outlines",
        "_rulings",
        "_subject",
        "_subject_answers",
        "_subject_told",
        "answered",
        "numbers",
        "real",
    )

    def __init__(self, facts: KernelFacts, numbers: Numbers | None = None) -> None:
        super().__init__(**{one.name: getattr(facts, one.name) for one in fields(facts) if one.init})
        self.real = facts
        self.numbers = numbers if numbers is not None else Numbers()
        self._subject: Any = None
        self._subject_answers: dict[int, Any] = {}
        self._subject_told: dict[int, int] = {}
        self._listening: list[Trail] = []
        self.answered: dict[int, int] = {}
        """The numbers of answers by the numbers of questions, of those that are the same for all objects."""
        self._rulings: dict[int, Any] = {}
        self._outlines: dict[tuple[int, int], Any] = {}

    @property
    def constants(self) -> tuple[Any, ...]:
        """What is read without a question; answers hold only among kernels that share it."""
        order = None if self.vmlinux is None else self.vmlinux.byteorder
        return (order, self.config is None, self.host)

    @property
    def arch(self) -> str:
        """As in ``uname -m``; noted, since rules are given it and not all programs meet such a rule."""
        self.note(("arch", ()), self.real.arch)
        return self.real.arch

    @arch.setter
    def arch(self, arch: str) -> None:
        """Nothing: it is that of :attr:`real`."""

    @contextmanager
    def listen(self) -> Iterator[Trail]:
        """Write down what is asked within the block."""
        trail: Trail = {}
        self._listening.append(trail)
        try:
            yield trail
        finally:
            self._listening.pop()

    def hear(self, trail: Trail) -> None:
        """Write down what was asked before, for what is taken over from another kernel."""
        for listener in self._listening:
            listener.update(trail)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listening)

    def rule(self, rule: Callable[..., _T], *args: Any, **more: Any) -> _T:
        """``rule(*args, ask=..., **more)``, called once; its answer is what is noted, not what it asks.

        For ``arch`` pass :data:`THIS_ARCH`.
        """
        return self._ruled(("rule", (rule, args, tuple(more.items()))))  # type: ignore[no-any-return]

    def work(self, rule: Callable[..., _T], *args: Any) -> _T:
        """``rule(facts, ask, *args)``, noted as :meth:`rule` does."""
        return self._ruled(("work", (rule, args)))  # type: ignore[no-any-return]

    def conclude(self, work: Callable[..., _T], *args: Any) -> _T:
        """``work(self, *args)``, called once for all kernels that answer its questions alike; its answer is
        what is noted, not what it asks. For conclusions in which many different answers end.
        """
        return self._ruled(("conclude", (work, args)))  # type: ignore[no-any-return]

    def judge(self, work: Callable[[Ask, Any], _T], about: Any) -> _T:
        """``work(ask, about)``, called once; its answer is what is noted, not what it asks."""
        return self._ruled(("judge", (work, about)))  # type: ignore[no-any-return]

    def _ruled(self, question: Question) -> Any:
        number = self.numbers.question(question)
        answer = self._ruling(number)
        if self._listening:
            self._write(number, answer)
        return answer

    def _ruling(self, number: int) -> Any:
        answer = self._rulings.get(number, MISSING)
        if answer is not MISSING:
            return answer
        name, args = self.numbers.asked[number]
        if name == "work":
            answer = args[0](self.real, self._ask, *args[1])
        elif name == "judge":
            answer = args[0](self._ask, args[1])
        else:
            # Rules are asked the same for many programs, and kernels differ in little of what they ask.
            tree = self.numbers.trees.get(number)
            if tree is None:
                tree = self.numbers.trees[number] = Tree()
            answer = tree.find(self)
            if answer is MISSING:
                trail: Trail = {}
                before, self._listening = self._listening, [trail]
                try:
                    answer = args[0](self, *args[1]) if name == "conclude" else self._by_rule(*args)
                    if type(answer) is GeneratorType:
                        answer = tuple(answer)
                finally:
                    self._listening = before
                tree.keep(trail, answer)
        if type(answer) is GeneratorType:
            answer = tuple(answer)
        self._rulings[number] = answer
        return answer

    def _by_rule(
        self, rule: Callable[..., Any], args: tuple[Any, ...], named: tuple[tuple[str, Any], ...]
    ) -> Any:
        more = dict(named)
        if more.get("arch") is THIS_ARCH:
            more["arch"] = self.arch or None
        return rule(*args, ask=NotedAsk(self._ask, self), **more)

    def told(self, number: int) -> int:
        """The number of this kernel's answer to the question of that number."""
        told = self.answered.get(number)
        if told is not None:
            return told
        told = self._subject_told.get(number)
        if told is not None:
            return told
        name, args = self.numbers.asked[number]
        if name == "own":
            return self._own_told(number, self._of_subject(number))
        answer = self._ruling(number) if name in _RULED else self._answer(name, args)
        told = self.answered[number] = self.numbers.answer(self._told_apart(answer))
        return told

    def note(self, question: Question, answer: object) -> None:
        """Write down a question that was asked of this kernel."""
        if self._listening:
            self._write(self.numbers.question(question), answer)

    @contextmanager
    def about(self, subject: object) -> Iterator[None]:
        """Within the block :meth:`own` is about this object."""
        self._subject = subject
        try:
            yield
        finally:
            self._subject = None  # the two would keep each other, and mapped files open
            self._subject_answers.clear()
            self._subject_told.clear()

    def own(self, work: Callable[..., _T], *args: Any) -> _T:
        """``work(subject, *args)``: what this kernel says of the object at hand only, not of another that
        asks the same. Its answer is what is noted, not what it asks.
        """
        number = self.numbers.question(("own", (work, args)))
        answer = self._of_subject(number)
        if self._listening:
            told = self._subject_told.get(number)
            if told is None:
                told = self._own_told(number, answer)
            for listener in self._listening:
                listener[number] = told
        return answer  # type: ignore[no-any-return]

    def _own_told(self, number: int, answer: object) -> int:
        told = self._subject_told[number] = self.numbers.answer(self._told_apart(answer))
        return told

    def _of_subject(self, number: int) -> Any:
        answer = self._subject_answers.get(number, MISSING)
        if answer is MISSING:
            work, args = self.numbers.asked[number][1]
            before, self._listening = self._listening, []
            try:
                answer = self._subject_answers[number] = work(self._subject, *args)
            finally:
                self._listening = before
        return answer

    def _write(self, number: int, answer: object) -> None:
        told = self.answered.get(number)
        if told is None:
            told = self.answered[number] = self.numbers.answer(self._told_apart(answer))
        for listener in self._listening:
            listener[number] = told

    def _answer(self, name: str, args: tuple[Any, ...]) -> Any:
        source = self._ask if name.startswith("ask.") else self.real
        found = getattr(source, name.removeprefix("ask."))
        return _plain(name, found(*args) if callable(found) else found)

    def _told_apart(self, answer: Any) -> Any:
        kind = type(answer)
        if kind is bool or kind is Answer or answer is None:
            return answer
        if kind is Ruling:
            # what else is said of a yes goes into no message
            return (Allowed.YES, answer.assumes) if answer.allowed is Allowed.YES else answer
        if kind is Place:
            return (answer.module, self._outline(answer.btf, answer.type_id, _DEPTH))
        if kind is tuple or kind is list:
            return tuple([self._told_apart(one) for one in answer])
        if isinstance(answer, Mapping):
            return tuple(answer.items())
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
        return NotedAsk(ask, self)  # not kept: the two would keep each other, and mapped files open


def _plain(name: str, answer: Any) -> Any:
    """The answer without what no verdict rests on: what says yes is named nowhere, but for who may call a
    helper, where a probe counts for more than the rules.
    """
    if type(answer) is not Answer:
        return answer
    if name == "helper":
        if answer.evidence is not Evidence.PROBE or answer.value is None:
            return _UNTOLD
        return _PROBED_YES if answer.value else answer
    return _YES if answer.value else answer


def _noted(name: str) -> Callable[..., Any]:
    def asked(self: Questions, *args: Any) -> Any:
        answer = _plain(name, getattr(self.real, name)(*args))
        self.note((name, args), answer)
        return answer

    asked.__name__ = name
    asked.__doc__ = getattr(KernelFacts, name).__doc__
    return asked


for _name in _ASKED:
    setattr(Questions, _name, _noted(_name))


class Once(Generic[_T]):
    """Something that several findings rest on: worked out when it is first asked for, and what was asked of
    the kernel for it is noted for each of them.
    """

    __slots__ = ("_facts", "_found", "_make", "_trail")

    def __init__(self, facts: Questions, make: Callable[[], _T]) -> None:
        self._facts = facts
        self._make: Callable[[], _T] | None = make
        self._trail: Trail | None = None

    def value(self) -> _T:
        """What ``make()`` gave."""
        if self._make is not None:
            with self._facts.listen() as trail:
                self._found = self._make()
            self._trail = trail
            self._make = None  # it may hold what holds this
        elif self._trail:
            self._facts.hear(self._trail)
        return self._found


class NotedAsk:
    """An :class:`~holdfast.rules.ask.Ask` whose questions are written down."""

    __slots__ = ("_ask", "_notes")

    def __init__(self, ask: Ask, notes: Questions) -> None:
        self._ask, self._notes = ask, notes

    def judged(self, work: Callable[[Ask, Any], _T], about: Any) -> _T:
        """``work(ask, about)``: the eras do not ask of each kernel twice where it stands."""
        return self._notes.judge(work, about)

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
