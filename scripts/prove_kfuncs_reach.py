# SPDX-License-Identifier: Apache-2.0
"""Which statements of a C function a configuration leaves, where it decides in C and not in #if.

``if (!IS_ENABLED(CONFIG_X)) return ret;`` is a constant to the compiler. Conditions are worked out in three
values; what hangs on anything but the configuration may run. Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

import re

from prove_kfuncs_cpp import Config, ReadError

__all__ = ["never_runs"]

LEXEME = re.compile(r"\S+")
ENABLED = {"IS_ENABLED": ("y", "m"), "IS_BUILTIN": ("y",), "IS_MODULE": ("m",)}
DECIDES = re.compile(r"\b(?:IS_ENABLED|IS_BUILTIN|IS_MODULE|IS_REACHABLE)\b")


def never_runs(text: str, body: tuple[int, int], position: int, config: Config) -> bool:
    """Whether what stands at ``position`` of ``text`` never runs, within a function's body from its brace on.

    ``text`` has spaces between its tokens. Raises ReadError where the configuration decides within the very
    expression, or the body is not C as it is known here.
    """
    if not DECIDES.search(text, *body):
        return False
    walker = _Walker(text, body, config)
    walker.block(alive=True)
    for begin, end, alive in walker.spans:
        if begin <= position < end:
            if alive and DECIDES.search(text, begin, end):
                raise ReadError(f"{text[begin:end]!r}: the configuration decides within it")
            return not alive
    raise ReadError(f"there is no statement around {text[position : position + 40]!r}")


class _Walker:
    """``spans`` are the statements and conditions: where each begins and ends, and whether it may run."""

    def __init__(self, text: str, body: tuple[int, int], config: Config) -> None:
        # a word, and where it begins and ends in the text; without the body's own brace
        self.lexemes = [(match[0], match.start(), match.end()) for match in LEXEME.finditer(text, *body)][1:]
        self.config = config
        self.position = 0
        self.spans: list[tuple[int, int, bool]] = []

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.lexemes[index][0] if index < len(self.lexemes) else ""

    def block(self, *, alive: bool) -> bool:
        """Statements up to a closing brace, which is taken; whether control can come out at the end."""
        while self.peek() not in ("", "}"):
            if (
                self.peek(1) == ":"
                and re.fullmatch(r"[A-Za-z_]\w*", self.peek())
                and self.peek() != "default"
            ):
                alive = True  # a goto may come here
                self.position += 2
            elif self.peek() in ("case", "default"):
                alive = True
                while self.peek() not in ("", ":"):
                    self.position += 1
                self.position += 1
            elif self.peek(1) == ":" and re.fullmatch(r"[A-Za-z_]\w*", self.peek()):
                alive = True  # a goto may come here
                self.position += 2
            else:
                alive = self.statement(alive=alive)
        self.position += 1
        return alive

    def statement(self, *, alive: bool) -> bool:
        word = self.peek()
        if word == "{":
            self.position += 1
            return self.block(alive=alive)
        if word == "if":
            self.position += 1
            value = _value(self.parentheses(alive=alive), self.config)
            after = self.statement(alive=alive and value is not False)
            if self.peek() != "else":
                return after or (alive and value is not True)
            self.position += 1
            return self.statement(alive=alive and value is not True) or after
        if word in ("for", "while", "switch"):
            self.position += 1
            self.parentheses(alive=alive)
            self.statement(alive=alive)
            return alive
        if word == "do":
            self.position += 1
            self.statement(alive=alive)
            return self.simple(alive=alive)
        ends = word in ("return", "goto")
        return self.simple(alive=alive) and not ends

    def simple(self, *, alive: bool) -> bool:
        """Up to a semicolon, braces of an initialiser or of a macro's argument included."""
        begin = self.position
        depth = 0
        while self.position < len(self.lexemes):
            word = self.peek()
            depth += (word in "([{") - (word in ")]}") if len(word) == 1 else 0
            if depth < 0:
                raise ReadError("a statement without an end")
            self.position += 1
            if word == ";" and depth == 0:
                break
        self.span(begin, alive=alive)
        return alive

    def span(self, begin: int, *, alive: bool) -> None:
        self.spans.append((self.lexemes[begin][1], self.lexemes[self.position - 1][2], alive))

    def parentheses(self, *, alive: bool) -> list[str]:
        begin = self.position
        if self.peek() != "(":
            raise ReadError(f"{self.peek()!r} where a condition should begin")
        depth = 0
        while self.position < len(self.lexemes):
            word = self.peek()
            self.position += 1
            depth += (word == "(") - (word == ")")
            if depth == 0:
                break
        self.span(begin, alive=alive)
        return [word for word, _, _ in self.lexemes[begin : self.position]]


def _value(words: list[str], config: Config) -> bool | None:
    """A condition in parentheses in three values; None hangs on what happens at run time."""
    reader = _Condition(words, config)
    value = reader.any_of()
    return value if reader.position == len(words) else None


class _Condition:
    def __init__(self, words: list[str], config: Config) -> None:
        self.words, self.config, self.position = words, config, 0

    def peek(self) -> str:
        return self.words[self.position] if self.position < len(self.words) else ""

    def any_of(self) -> bool | None:
        value = self.all_of()
        while self.peek() == "||":
            self.position += 1
            right = self.all_of()
            value = True if value or right else None if value is None or right is None else False
        return value

    def all_of(self) -> bool | None:
        value = self.one()
        while self.peek() == "&&":
            self.position += 1
            right = self.one()
            value = False if value is False or right is False else None if None in (value, right) else True
        return value

    def one(self) -> bool | None:
        word = self.peek()
        if word == "!":
            self.position += 1
            value = self.one()
            return None if value is None else not value
        if word in ENABLED:
            name = self.words[self.position + 2]
            self.position += 4
            return self.config[name] in ENABLED[word]
        start = self.position
        if word == "(":
            self.position += 1
            value = self.any_of()
            self.position += 1
            # what goes on after its parenthesis is a cast or a comparison
            if self.words[self.position - 1 :][:1] == [")"] and self.peek() in ("", ")", "&&", "||"):
                return value
        self.skip(start)
        return None

    def skip(self, start: int) -> None:
        """Over an operand that is not the configuration's, to the operator that ends it."""
        self.position = start
        depth = 0
        while self.position < len(self.words):
            word = self.words[self.position]
            if depth == 0 and word in ("&&", "||", ")"):
                return
            depth += (word == "(") - (word == ")")
            self.position += 1
