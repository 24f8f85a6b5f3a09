# SPDX-License-Identifier: Apache-2.0
"""C prototypes in a form in which two writings of one type are equal. Used by scripts/prove-kfuncs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from prove_kfuncs_cpp import ReadError, Unit, tokens_of

__all__ = ["Prototype", "definition", "parse"]

# Words in front of a function or in a parameter that are about the compiler, the linker or sparse.
ATTRIBUTES = frozenset(
    [
        "__bpf_kfunc",
        "static",
        "inline",
        "__inline",
        "__always_inline",
        "noinline",
        "__noinline",
        "extern",
        "__weak",
        "__used",
        "notrace",
        "__init",
        "noinline_for_stack",
        "__must_check",
        "__user",
        "__rcu",
        "__percpu",
        "__iomem",
        "__force",
        "__arena",
        "__maybe_unused",
        "__kernel",
        "__bpf_hook_start",
        "__visible",
        "asmlinkage",
        "__pure",
        "__cold",
        "__hot",
        "__flatten",
        "__no_kcsan",
        "__no_sanitize_address",
        "__sched",
        "noinstr",
        "__nocfi",
        "register",
        "__latent_entropy",
        "__uptr",
    ]
)
CALLED = frozenset({"__attribute__", "__printf", "__scanf", "__alloc_size", "__section", "__aligned"})
QUALIFIERS = frozenset({"const", "volatile", "restrict", "__restrict"})
BASE = frozenset({"unsigned", "signed", "int", "long", "short", "char", "_Bool", "void", "float", "double"})
IMPLICIT = ("struct bpf_prog_aux *", "struct btf_struct_meta *")
"""kf_implicit_arg_types of tools/bpf/resolve_btfids (7.0): from the first of them on BTF drops arguments."""


@dataclass(frozen=True)
class Prototype:
    """Types as text in one spelling; ``params`` as (type, name), the name empty where there is none."""

    returns: str
    params: tuple[tuple[str, str], ...]

    @cached_property
    def text(self) -> str:
        return f"{self.returns} ({', '.join(f'{kind} {name}'.strip() for kind, name in self.params)})"

    def without_implicit(self) -> Prototype:
        """What BTF shows of a kfunc with KF_IMPLICIT_ARGS."""
        kept: list[tuple[str, str]] = []
        for kind, name in self.params:
            if kind.replace("const ", "") in IMPLICIT:
                break
            kept.append((kind, name))
        return Prototype(self.returns, tuple(kept))


def definition(unit: Unit, name: str) -> Prototype | None:
    """The prototype of the function that a file defines; None when it does not."""
    found = unit.function(name)
    return None if found is None else parse(found.head + found.declarator)


def parse(declaration: str) -> Prototype:
    """A function's declaration, with or without its semicolon. Raises ReadError."""
    parser = _Parser(tokens_of(declaration.rstrip(" ;\n")))
    base = parser.specifiers()
    kind, _ = parser.declarator(base)
    if not isinstance(kind, tuple):
        raise ReadError(f"{' '.join(declaration.split())!r} declares no function")
    return Prototype(_text(kind[0]), tuple((_text(param), name) for param, name in kind[1]))


# A type is its text, or (return type, parameters) for a function; pointers to functions are text again.
Type = "str | tuple[Type, tuple[tuple[Type, str], ...]]"


def _text(kind: object) -> str:
    if isinstance(kind, tuple):
        inner = ", ".join(_text(param) for param, _ in kind[1])
        return f"{_text(kind[0])} (*)({inner})"
    assert isinstance(kind, str)
    return kind


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [token for token in tokens if token.strip()]
        self.position = 0

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def skip_attributes(self) -> None:
        while True:
            if self.peek() in ATTRIBUTES:
                self.take()
            elif self.peek() in CALLED:
                self.take()
                depth = 0
                while self.peek():
                    token = self.take()
                    depth += (token == "(") - (token == ")")
                    if depth == 0:
                        break
            else:
                return

    def specifiers(self) -> str:
        words: list[str] = []
        qualifiers: set[str] = set()
        named = ""
        while True:
            self.skip_attributes()
            token = self.peek()
            if token in QUALIFIERS:
                qualifiers.add(self.take().strip("_"))
            elif token in ("struct", "union", "enum") and not named and not words:
                self.take()
                self.skip_attributes()
                named = f"{token} {self.take()}"
            elif token in BASE:
                words.append(self.take())
            elif re.match(r"[A-Za-z_]", token) and not named and not words:
                named = self.take()
            else:
                break
        base = named or _integer(words)
        if not base:
            raise ReadError(f"no type in {' '.join(self.tokens)!r}")
        return " ".join([*sorted(qualifiers), base])

    def declarator(self, base: object) -> tuple[object, str]:
        kind = base
        self.skip_attributes()
        while self.peek() == "*":
            self.take()
            kind = f"{_text(kind)} *".replace("* *", "**") if not isinstance(kind, tuple) else _text(kind)
            self.skip_attributes()
            while self.peek() in QUALIFIERS:
                assert isinstance(kind, str)
                kind = f"{kind}{self.take().strip('_')}"
                self.skip_attributes()
        inner: tuple[int, int] | None = None
        name = ""
        if self.peek() == "(" and (self.peek(1) in ("*", "(") or self._is_name(self.peek(1))):
            start = self.position + 1
            self._matching()
            inner = (start, self.position - 1)
        elif self._is_name(self.peek()):
            name = self.take()
        self.skip_attributes()
        pointer = False
        while self.peek() in ("(", "["):
            if self.peek() == "[":
                self._matching()
                pointer = True
            else:
                kind = (kind, self.parameters())
        if pointer:
            kind = f"{_text(kind)} *".replace("* *", "**")
        if inner is not None:
            outer, self.position = self.position, inner[0]
            kind, name = self._inner(kind, inner[1])
            self.position = outer
        return kind, name

    def _inner(self, kind: object, end: int) -> tuple[object, str]:
        """What is in parentheses, which may only be pointers to, or the plain name of, a function."""
        stars = 0
        name = ""
        while self.position < end:
            token = self.take()
            if token == "*":
                stars += 1
            elif self._is_name(token) and token not in QUALIFIERS | ATTRIBUTES:
                name = token
        if stars > 1:
            return f"{_text(kind)} {'*' * (stars - 1)}", name
        return kind, name

    def _matching(self) -> None:
        depth = 0
        while self.peek():
            token = self.take()
            depth += (token in "([") - (token in ")]")
            if depth == 0:
                return
        raise ReadError(f"parentheses in {' '.join(self.tokens)!r}")

    def parameters(self) -> tuple[tuple[object, str], ...]:
        self.take()
        params: list[tuple[object, str]] = []
        while self.peek() != ")":
            if self.peek() == "...":
                self.take()
                params.append(("...", ""))
            elif self.peek() == "void" and self.peek(1) == ")":
                self.take()
            else:
                params.append(self.declarator(self.specifiers()))
            if self.peek() == ",":
                self.take()
            elif self.peek() != ")":
                raise ReadError(f"{self.peek()!r} in {' '.join(self.tokens)!r}")
        self.take()
        return tuple(params)

    @staticmethod
    def _is_name(token: str) -> bool:
        return re.match(r"[A-Za-z_]\w*$", token) is not None


def _integer(words: list[str]) -> str:
    """``long unsigned int`` and ``unsigned long`` as one."""
    if not words:
        return ""
    count = {word: words.count(word) for word in words}
    sign = "unsigned " if "unsigned" in count else ""
    for plain in ("void", "_Bool", "float", "double"):
        if plain in count:
            return plain
    if "char" in count:
        return f"{'signed ' if 'signed' in count else sign}char"
    if "short" in count:
        return f"{sign}short"
    return sign + {0: "int", 1: "long", 2: "long long"}[count.get("long", 0)]
