# SPDX-License-Identifier: Apache-2.0
"""As much of a C preprocessor as it takes to see what one kernel configuration leaves of one source file.

Conditionals are worked out against the configuration; files included as ``"x.c"`` are taken in; headers are
not, they are only asked for macros. Macros are expanded where that can matter: those whose body mentions a
word of interest, and all of them within a region that two such words enclose. A condition that cannot be
worked out is false, and is remembered when it stands around a word of interest. Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

__all__ = ["Config", "Function", "Macro", "Preprocessor", "ReadError", "Unit", "strip_comments", "tokens_of"]

TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[A-Za-z_]\w*|\.?\d(?:[eEpP][+-]|[\w.])*'
    r"|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||##|\S"
)
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)
MARK = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[{}();]")
DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*(.*)", re.S)
CONFIG_MACRO = {"IS_ENABLED": ("y", "m"), "IS_BUILTIN": ("y",), "IS_MODULE": ("m",)}
# Of assembly, tools and other machines; all machines that have kfuncs, but s390, are little-endian.
ABSENT = frozenset(
    {"__ASSEMBLY__", "__ASSEMBLER__", "__CHECKER__", "__GENKSYMS__", "__BINDGEN__", "__BIG_ENDIAN"}
)


class ReadError(Exception):
    """The source says something that this reader does not understand; it never guesses."""


class _Unknown(Exception):
    """A condition hangs on a name that only the compiler or another header knows."""


@dataclass(frozen=True, slots=True)
class Config:
    """A build's configuration: ``CONFIG_X`` to ``y``, ``m`` or a text; what is not set is not there."""

    values: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Config:
        rows = re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.M)
        return cls({name: value.strip('"') for name, value in rows if value != "n"})

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


@dataclass(frozen=True, slots=True)
class Macro:
    """``params`` is None for one without parentheses; a variadic one's last is ``__VA_ARGS__``."""

    params: tuple[str, ...] | None
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function's definition: ``head`` is the text before its name, ``name`` to ``body`` the declarator."""

    name: str
    head: str
    declarator: str
    body: tuple[int, int]


@dataclass
class Unit:
    """One source file after preprocessing: ``text`` is its tokens, a space between them, lines kept."""

    path: Path
    text: str
    headers: list[str] = field(default_factory=list)

    @cached_property
    def functions(self) -> list[Function]:
        return list(_functions(self.text))

    def function(self, name: str) -> Function | None:
        return next((found for found in self.functions if found.name == name), None)

    def around(self, position: int) -> Function | None:
        return next((f for f in self.functions if f.body[0] <= position < f.body[1]), None)


def _functions(text: str) -> Iterator[Function]:
    depth = start = opened = 0
    group: tuple[int, int] | None = None  # the last parentheses outside of braces
    parens = 0
    found: tuple[str, str, str] | None = None
    for match in MARK.finditer(text):
        mark, at = match[0], match.start()
        if mark == "{":
            if depth == 0 and group and not text[group[1] : at].strip():
                named = re.search(r"(\w+)\s*$", text[start : group[0]])
                if named:
                    head = text[start : start + named.start()]
                    # What stands in front without a semicolon are macros with arguments.
                    found = (named[1], head[head.rfind(")") + 1 :], text[start + named.start() : group[1]])
                    opened = at
            depth += 1
        elif mark == "}":
            depth = max(0, depth - 1)
            if depth == 0:
                if found:
                    yield Function(*found, (opened, at))
                found, group, start, parens = None, None, at + 1, 0
        elif depth == 0:
            if mark == "(":
                parens += 1
                if parens == 1:
                    group = (at, at)
            elif mark == ")" and group:
                parens = max(0, parens - 1)
                if parens == 0:
                    group = (group[0], at + 1)
            elif mark == ";" and parens == 0:
                group, start = None, at + 1


@dataclass(slots=True)
class _Frame:
    outer: bool
    taken: bool
    active: bool
    unsure: str = ""


def strip_comments(text: str) -> str:
    """C text with comments made spaces (their newlines kept) and lines that end in a backslash joined."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return " " + "\n" * found.count("\n") if found[0] == "/" else found

    return COMMENT.sub(blank, text.replace("\\\n", " "))


def tokens_of(text: str) -> list[str]:
    return TOKEN.findall(text)


class Preprocessor:
    """Files of one tree under one configuration. ``words`` are the words of interest; ``opens`` and
    ``closes`` those that begin and end a region; ``keep`` says of a name that headers are never asked for it.
    """

    def __init__(
        self,
        tree: Path,
        config: Config,
        *,
        arch: str,
        words: frozenset[str] = frozenset(),
        opens: frozenset[str] = frozenset(),
        closes: frozenset[str] = frozenset(),
        keep: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self.tree, self.config, self.arch = tree, config, arch
        self.words, self.opens, self.closes, self.keep = words, opens, closes, keep
        self._word = re.compile(r"\b(?:" + "|".join(sorted(words)) + r")\b") if words else None
        self._headers: dict[Path, tuple[dict[str, Macro], list[str]]] = {}

    def read(self, path: Path) -> Unit:
        """The file at ``path``. Raises ReadError where a word of interest hangs on an unknown condition."""
        run = _Run(self, path)
        run.file(path)
        run.flush()
        return Unit(path, "".join(run.out), run.headers)

    def find_macro(self, name: str, origin: Path, headers: list[str], depth: int = 3) -> Macro | None:
        """What a header calls ``name``: those of the file first, then the headers that these include."""
        layer = [path for header in headers if (path := self.header(header, origin))]
        seen: set[Path] = set()
        for _ in range(depth):
            below: list[Path] = []
            for path in layer:
                if path in seen:
                    continue
                seen.add(path)
                macros, further = self._header(path)
                if name in macros:
                    return macros[name]
                below += [found for header in further if (found := self.header(header, path))]
            layer = below
        return None

    def header(self, name: str, origin: Path) -> Path | None:
        """The file that ``#include <name>`` or ``"name"`` means; None for one that only a build makes."""
        roots = (
            origin.parent,
            self.tree / "arch" / self.arch / "include",
            self.tree / "include",
            self.tree / "include/uapi",
        )
        return next((root / name for root in roots if (root / name).is_file()), None)

    def _header(self, path: Path) -> tuple[dict[str, Macro], list[str]]:
        if path not in self._headers:
            run = _Run(self, path, is_header=True)
            run.file(path)
            self._headers[path] = (run.macros, run.headers)
        return self._headers[path]

    def has_word(self, text: str) -> bool:
        return self._word is not None and self._word.search(text) is not None


class _Run:
    """One file on its way through."""

    def __init__(self, rules: Preprocessor, path: Path, *, is_header: bool = False) -> None:
        self.rules, self.path, self.is_header = rules, path, is_header
        self.macros: dict[str, Macro] = {}
        self.carriers: set[str] = set()
        self.headers: list[str] = []
        self.out: list[str] = []
        self.pending: list[str] = []
        self.frames: list[_Frame] = []
        self.inside = False

    # Lines and directives.

    def file(self, path: Path) -> None:
        text = strip_comments(path.read_text(errors="replace"))
        for number, line in enumerate(text.split("\n"), 1):
            directive = DIRECTIVE.match(line)
            if directive is None:
                self.line(line, path, number)
                continue
            self.flush()
            self.directive(directive[1], directive[2].strip(), path, number)

    @property
    def active(self) -> bool:
        return not self.frames or self.frames[-1].active

    def line(self, line: str, path: Path, number: int) -> None:
        if self.frames and not self.is_header and self.rules.has_word(line):
            for frame in self.frames:
                if frame.unsure and frame.outer:
                    raise ReadError(f"{path}:{number}: it cannot be told whether {frame.unsure!r} holds")
        if self.active and not self.is_header:
            self.pending += tokens_of(line)
            self.pending.append("\n")

    def directive(self, word: str, rest: str, path: Path, number: int) -> None:
        if word in ("if", "ifdef", "ifndef"):
            outer = self.active
            value, unsure = self.test(word, rest) if outer else (False, "")
            self.frames.append(_Frame(outer, value, outer and value, unsure))
        elif word in ("elif", "else", "endif"):
            if not self.frames:
                raise ReadError(f"{path}:{number}: #{word} without #if")
            frame = self.frames[-1]
            if word == "endif":
                self.frames.pop()
            elif word == "else":
                frame.active, frame.taken = frame.outer and not frame.taken, True
            else:
                value, unsure = self.test("if", rest) if frame.outer and not frame.taken else (False, "")
                frame.active, frame.taken = frame.outer and value, frame.taken or value
                frame.unsure = frame.unsure or unsure
        elif not self.active:
            return
        elif word == "define":
            self.define(rest)
        elif word == "undef":
            self.macros.pop(rest.split()[0], None)
        elif word == "include":
            named = re.match(r'[<"]([^>"]+)[>"]', rest)
            if named and named[1].endswith(".c") and not self.is_header:
                self.file(path.parent / named[1])
            elif named:
                self.headers.append(named[1])

    def define(self, rest: str) -> None:
        match = re.match(r"([A-Za-z_]\w*)(\(([^)]*)\))?(.*)", rest, re.S)
        if match is None:
            return
        params = None
        if match[2] is not None:
            named = [part.strip() for part in match[3].split(",") if part.strip()]
            params = tuple("__VA_ARGS__" if name == "..." else name.removesuffix("...") for name in named)
        body = tuple(tokens_of(match[4]))
        self.macros[match[1]] = Macro(params, body)
        if self.carries(body):
            self.carriers.add(match[1])
        else:
            self.carriers.discard(match[1])

    def carries(self, body: tuple[str, ...]) -> bool:
        return any(token in self.rules.words or token in self.carriers for token in body)

    # Conditions.

    def test(self, word: str, rest: str) -> tuple[bool, str]:
        try:
            if word == "if":
                return bool(_Expression(self.condition_tokens(tokens_of(rest))).value()), ""
            name = rest.split()[0]
            return self.defined(name) == (word == "ifdef"), ""
        except _Unknown:
            return False, f"#{word} {rest}"

    def defined(self, name: str) -> bool:
        if name.startswith("CONFIG_"):
            base = name.removesuffix("_MODULE")
            if name != base and self.rules.config[base] == "m":
                return True
            return self.rules.config[name] not in ("", "m")
        if name in self.macros or name == "__KERNEL__":
            return True
        if name in ABSENT:
            return False
        # An include guard is about the header itself; anything else may be defined where this does not look.
        if self.is_header and re.fullmatch(r"_*[A-Z0-9_]+_H_*", name):
            return False
        raise _Unknown(name)

    def condition_tokens(self, tokens: list[str]) -> list[str]:
        out: list[str] = []
        position = 0
        while position < len(tokens):
            token = tokens[position]
            position += 1
            if token == "defined" or token in CONFIG_MACRO or token == "IS_REACHABLE":
                bare = tokens[position : position + 1] != ["("]
                name = tokens[position] if bare else tokens[position + 1]
                position += 1 if bare else 3
                if token == "defined":
                    out.append(str(int(self.defined(name))))
                elif token == "IS_REACHABLE":
                    raise _Unknown(name)
                else:
                    out.append(str(int(self.rules.config[name] in CONFIG_MACRO[token])))
            elif token.startswith("CONFIG_"):
                value = self.rules.config[token]
                out.append(
                    "1" if value == "y" else value if re.fullmatch(r"0[xX][\da-fA-F]+|\d+", value) else "0"
                )
            elif token == "BITS_PER_LONG":
                out.append("64" if self.rules.config["CONFIG_64BIT"] else "32")
            elif token in self.macros and self.macros[token].params is None:
                out += self.condition_tokens(list(self.macros[token].body))
            elif re.match(r"[A-Za-z_]", token):
                raise _Unknown(token)
            else:
                out.append(token)
        return out

    # Macros.

    def flush(self) -> None:
        if self.pending:
            expanded = list(self.expand(self.pending, frozenset()))
            self.out.append(" ".join(expanded) + " ")
            self.pending = []

    def macro(self, name: str) -> Macro | None:
        if name in self.rules.words:
            return None
        if name in self.macros:
            return self.macros[name] if self.inside or name in self.carriers else None
        if not self.inside or self.rules.keep(name):
            return None
        return self.rules.find_macro(name, self.path, self.headers)

    def expand(self, tokens: list[str], hidden: frozenset[str]) -> Iterator[str]:
        position = 0
        while position < len(tokens):
            token = tokens[position]
            position += 1
            if token in self.rules.opens:
                self.inside = True
            elif token in self.rules.closes:
                self.inside = False
            if token in self.rules.words:
                # A word's own arguments stay as they are, but for flags that hide behind a name.
                yield token
                arguments, position = _arguments(tokens, position)
                if arguments is not None:
                    yield "("
                    for index, argument in enumerate(arguments):
                        yield from (",",) if index else ()
                        yield from self.expand(argument, hidden) if index >= 2 and self.inside else argument
                    yield ")"
                continue
            found = self.macro(token) if token[0].isalpha() or token[0] == "_" else None
            if found is None or token in hidden:
                yield token
                continue
            if found.params is None:
                yield from self.expand(list(found.body), hidden | {token})
                continue
            arguments, after = _arguments(tokens, position)
            if arguments is None:
                yield token
                continue
            position = after
            yield from self.expand(_substitute(found, arguments), hidden | {token})


def _arguments(tokens: list[str], position: int) -> tuple[list[list[str]] | None, int]:
    """The arguments in parentheses at ``position`` and where they end; None when there are none."""
    start = position
    while position < len(tokens) and tokens[position] == "\n":
        position += 1
    if position >= len(tokens) or tokens[position] != "(":
        return None, start
    arguments: list[list[str]] = [[]]
    depth = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token in ("(", "[", "{"):
            depth += 1
            if depth == 1:
                continue
        elif token in (")", "]", "}"):
            depth -= 1
            if depth == 0:
                return arguments, position
        if token == "," and depth == 1:
            arguments.append([])
        elif token != "\n":
            arguments[-1].append(token)
    return None, start


def _substitute(macro: Macro, arguments: list[list[str]]) -> list[str]:
    assert macro.params is not None
    params = macro.params
    if params and params[-1] == "__VA_ARGS__" and len(arguments) >= len(params):
        last: list[str] = []
        for argument in arguments[len(params) - 1 :]:
            last += [",", *argument] if last else argument
        arguments = [*arguments[: len(params) - 1], last]
    given: dict[str, list[str]] = {name: [] for name in params}  # an empty __VA_ARGS__ may be left out
    given |= dict(zip(params, arguments, strict=False))
    out: list[str] = []
    body = macro.body
    position = 0
    while position < len(body):
        token = body[position]
        if token == "##" and out and position + 1 < len(body):
            right = given.get(body[position + 1], [body[position + 1]])
            if out[-1] != ",":
                out[-1:] = [out[-1] + "".join(right[:1]), *right[1:]]
            elif right:  # GNU's comma that goes away with an empty __VA_ARGS__
                out += right
            else:
                out.pop()
            position += 2
            continue
        if token == "#" and position + 1 < len(body) and body[position + 1] in given:
            out.append('"' + " ".join(given[body[position + 1]]) + '"')
            position += 2
            continue
        out += given.get(token, [token])
        position += 1
    return out


class _Expression:
    """An integer expression of #if, by precedence climbing."""

    BINARY = (("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"))
    ARITHMETIC = (("+", "-"), ("*", "/", "%"))

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0

    def value(self) -> int:
        value = self.level(0)
        if self.position != len(self.tokens):
            raise _Unknown(" ".join(self.tokens))
        return value

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def level(self, depth: int) -> int:
        levels = self.BINARY + self.ARITHMETIC
        if depth == len(levels):
            return self.unary()
        left = self.level(depth + 1)
        while self.peek() in levels[depth]:
            operator = self.peek()
            self.position += 1
            left = _apply(operator, left, self.level(depth + 1))
        return left

    def unary(self) -> int:
        token = self.peek()
        self.position += 1
        if token == "!":
            return int(not self.unary())
        if token in ("-", "+", "~"):
            value = self.unary()
            return -value if token == "-" else ~value if token == "~" else value
        if token == "(":
            value = self.level(0)
            if self.peek() != ")":
                raise _Unknown(" ".join(self.tokens))
            self.position += 1
            return value
        number = re.fullmatch(r"(0[xX][\da-fA-F]+|\d+)[uUlL]*", token)
        if number is None:
            raise _Unknown(token)
        text = number[1]
        return int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text, 0)


def _apply(operator: str, left: int, right: int) -> int:
    if operator in ("/", "%"):
        if right == 0:
            raise _Unknown("division by 0")
        return left // right if operator == "/" else left % right
    operations: dict[str, Callable[[int, int], int]] = {
        "||": lambda a, b: int(bool(a) or bool(b)),
        "&&": lambda a, b: int(bool(a) and bool(b)),
        "|": lambda a, b: a | b,
        "^": lambda a, b: a ^ b,
        "&": lambda a, b: a & b,
        "==": lambda a, b: int(a == b),
        "!=": lambda a, b: int(a != b),
        "<": lambda a, b: int(a < b),
        ">": lambda a, b: int(a > b),
        "<=": lambda a, b: int(a <= b),
        ">=": lambda a, b: int(a >= b),
        "<<": lambda a, b: a << b,
        ">>": lambda a, b: a >> b,
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
    }
    return operations[operator](left, right)
