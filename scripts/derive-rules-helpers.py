# SPDX-License-Identifier: Apache-2.0
"""Which program types may call which helpers, read out of the get_func_proto functions of kernel trees.

Each function is a switch over the helper's number whose answers depend on the configuration, capabilities,
attach type and sleepability, and whose default passes the question on. They are parsed and run symbolically:
all paths that end in a prototype, as a disjunction of conditions. Names, numbers and relations come out; no
source text. Used by scripts/derive-rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

TOKEN = re.compile(r"[A-Za-z_]\w*|\d\w*|->|==|!=|<=|>=|&&|\|\||[{}()\[\];:,?&!<>=.*+-]|\"[^\"]*\"")
FUNCTION = re.compile(
    r"\n[^\n;{}#()]*?\b(\w*proto)\s*\(((?:[^;{}()]*bpf_func_id[^;{}()]*)|\s*void\s*)\)\s*\{(.*?)\n\}", re.S
)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)

# A path's condition: the attach types it is limited to (or from which it is excluded), and named conditions.
Attach = tuple[bool, frozenset[str]]
ANY: Attach = (False, frozenset())


@dataclass(frozen=True)
class Guard:
    attach: Attach = ANY
    atoms: frozenset[tuple[str, bool]] = frozenset()

    def also(self, name: str, value: bool) -> Guard | None:
        if (name, not value) in self.atoms:
            return None
        return Guard(self.attach, self.atoms | {(name, value)})

    def among(self, positive: bool, types: frozenset[str]) -> Guard | None:
        was, now = self.attach, (positive, types)
        if was[0] and now[0]:
            both = (True, was[1] & now[1])
        elif was[0]:
            both = (True, was[1] - now[1])
        elif now[0]:
            both = (True, now[1] - was[1])
        else:
            both = (False, was[1] | now[1])
        return None if both == (True, frozenset()) else Guard(both, self.atoms)


# Where a prototype lives tells which option compiles it; elsewhere the switch says so itself.
FILE_CONFIG = {
    "kernel/trace/bpf_trace.c": "BPF_EVENTS",
    "net/core/filter.c": "NET",
    "net/core/bpf_sk_storage.c": "NET",
    "kernel/bpf/bpf_inode_storage.c": "BPF_LSM",
    "kernel/bpf/stackmap.c": "PERF_EVENTS",
    "kernel/bpf/bpf_lsm.c": "BPF_LSM",
    "kernel/bpf/cgroup.c": "CGROUP_BPF",
}


@dataclass
class Tree:
    path: Path
    functions: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (file, body)
    protos: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        files = [
            *self.path.glob("kernel/**/*.c"),
            *self.path.glob("net/**/*.c"),
            *self.path.glob("drivers/**/*.c"),
        ]
        for file in sorted(files):
            text = file.read_text(errors="replace")
            if "bpf_func_proto" not in text:
                continue
            name = str(file.relative_to(self.path))
            text = COMMENT.sub(" ", text)
            for match in FUNCTION.finditer(text):
                # A __weak definition gives way to the real one, whichever file comes first.
                weak = "__weak" in text[max(0, match.start() - 80) : match.start(1)]
                if match[1] not in self.functions or not weak:
                    self.functions[match[1]] = (name, match[3])
            for match in re.finditer(
                r"const struct bpf_func_proto\s+(\w+)\s*=\s*\{(.*?)\n\s*\};", text, re.S
            ):
                row = dict(re.findall(r"\.(\w+)\s*=\s*([^,\n]+)", match[2]))
                row["file"] = name
                self.protos[match[1]] = row

    @cached_property
    def helpers(self) -> dict[str, int]:
        text = (self.path / "include/uapi/linux/bpf.h").read_text()
        old = re.findall(r"^\s*FN\((\w+)\),", text, re.M)
        if old:
            return {name: number for number, name in enumerate(old)}
        return {name: int(number) for name, number in re.findall(r"^\s*FN\((\w+),\s*(\d+),", text, re.M)}

    @cached_property
    def trampoline(self) -> dict[str, list[str]]:
        """Attach types for which bpf_prog_has_trampoline() says yes."""
        text = (self.path / "kernel/bpf/trampoline.c").read_text()
        match = re.search(r"^bool bpf_prog_has_trampoline\(.*?^\}", text, re.M | re.S)
        if not match:
            return {}
        found = {"TRACING": [], "LSM": []}  # type: dict[str, list[str]]
        for name in re.findall(r"eatype == BPF_(\w+)", match[0]):
            found["LSM" if name.startswith("LSM") else "TRACING"].append(name)
        return found


class Parser:
    """A statement tree of one C function, with the configuration stack of every token."""

    def __init__(self, body: str) -> None:
        self.tokens: list[tuple[str, tuple[tuple[str, bool], ...]]] = []
        stack: list[tuple[str, bool]] = []
        for line in body.replace("\\\n", " ").split("\n"):
            directive = re.match(r"\s*#\s*(ifdef|ifndef|if|elif|else|endif)\b(.*)", line)
            if directive:
                word, rest = directive[1], re.search(r"CONFIG_(\w+)", directive[2])
                name = ("config:" + rest[1]) if rest else "config:?"
                if word in ("ifdef", "if"):
                    stack.append((name, True))
                elif word == "ifndef":
                    stack.append((name, False))
                elif word == "else":
                    stack[-1] = (stack[-1][0], not stack[-1][1])
                elif word == "endif":
                    stack.pop()
                continue
            self.tokens += [(token, tuple(stack)) for token in TOKEN.findall(line)]
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][0]

    def config(self) -> tuple[tuple[str, bool], ...]:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ()

    def group(self) -> list[str]:
        """Tokens within the next pair of parentheses."""
        assert self.take() == "("
        depth, found = 1, []
        while True:
            token = self.take()
            depth += (token == "(") - (token == ")")
            if not depth:
                return found
            found.append(token)

    def until(self, end: str) -> list[str]:
        depth, found = 0, []
        while depth or self.peek() != end:
            token = self.take()
            depth += (token in "({[") - (token in ")}]")
            found.append(token)
        self.take()
        return found

    def block(self) -> list[tuple]:
        found = []
        while self.peek() not in ("", "}"):
            found.append(self.statement())
        return found

    def statement(self) -> tuple:
        config = self.config()
        token = self.peek()
        if token == "{":
            self.take()
            inner = self.block()
            self.take()
            return ("block", inner)
        if token == "if":
            self.take()
            condition = self.group()
            then = self.statement()
            other: tuple = ("block", [])
            if self.peek() == "else":
                self.take()
                other = self.statement()
            return ("if", condition, then, other)
        if token == "switch":
            self.take()
            subject = self.group()
            self.take()
            body = self.block()
            self.take()
            return ("switch", subject, body)
        if token == "case":
            self.take()
            return ("case", self.until(":")[0], config)
        if token == "default":
            self.take()
            self.take()
            return ("case", None, config)
        if token == "return":
            self.take()
            return ("return", self.until(";"), config)
        words = self.until(";")
        if words == ["break"]:
            return ("break",)
        if "=" in words:
            at = words.index("=")
            return ("set", words[at - 1], words[at + 1 :])
        return ("block", [])


class Evaluator:
    def __init__(self, tree: Tree, program_type: str) -> None:
        self.tree = tree
        self.program_type = program_type
        self.parsed: dict[str, list[tuple]] = {}

    def call(self, function: str, helper: str, guard: Guard) -> Iterator[tuple[Guard, str | None]]:
        if function not in self.tree.functions:
            yield guard, None
            return
        if function not in self.parsed:
            self.parsed[function] = Parser(self.tree.functions[function][1]).block()
        for after, _, value in self.run(self.parsed[function], helper, guard, {}):
            yield after, None if value in (None, "NULL") else value

    # run() yields (guard, variables, value); value "" means that the block fell through, "break" that it
    # broke out
    def run(
        self, body: list[tuple], helper: str, guard: Guard, names: dict
    ) -> Iterator[tuple[Guard, dict, str | None]]:
        if not body:
            yield guard, names, ""
            return
        for after, now, value in self.step(body[0], helper, guard, names):
            if value == "":
                yield from self.run(body[1:], helper, after, now)
            else:
                yield after, now, value

    def step(
        self, node: tuple, helper: str, guard: Guard, names: dict
    ) -> Iterator[tuple[Guard, dict, str | None]]:
        kind = node[0]
        if kind == "block":
            yield from self.run(node[1], helper, guard, names)
        elif kind == "case":
            yield guard, names, ""
        elif kind == "break":
            yield guard, names, "break"
        elif kind == "set":
            for after, value in self.value(node[2], helper, guard, names):
                yield after, {**names, node[1]: value}, ""
        elif kind == "return":
            for after, value in self.value(node[1], helper, guard, names):
                yield after, names, value or "NULL"
        elif kind == "if":
            for after, truth in self.truth(node[1], helper, guard, names):
                yield from self.step(node[2] if truth else node[3], helper, after, names)
        elif kind == "switch":
            for after, now, value in self.switch(node, helper, guard, names):
                yield after, now, "" if value == "break" else value

    def switch(
        self, node: tuple, helper: str, guard: Guard, names: dict
    ) -> Iterator[tuple[Guard, dict, str | None]]:
        labels = [(at, item[1], item[2]) for at, item in enumerate(node[2]) if item[0] == "case"]
        default = next((at for at, name, _ in labels if name is None), None)
        subject = node[1][-1]
        if subject == "func_id":
            rest: Guard | None = guard
            for at, name, config in labels:
                if name != f"BPF_FUNC_{helper}":
                    continue
                inside: Guard | None = guard
                for option, value in config:
                    inside = inside and inside.also(option, value)
                if inside:
                    yield from self.run(node[2][at:], helper, inside, names)
                rest = guard.also(*_negate(config)) if config else None
                break
            if rest is not None:
                if default is None:
                    yield rest, names, ""
                else:
                    yield from self.run(node[2][default:], helper, rest, names)
        elif subject == "expected_attach_type":
            named = frozenset(name.removeprefix("BPF_") for _, name, _ in labels if name)
            for at, name, _ in labels:
                chosen = (True, frozenset([name.removeprefix("BPF_")])) if name else (False, named)
                after = guard.among(*chosen)
                if after:
                    yield from self.run(node[2][at:], helper, after, names)
        else:
            raise ValueError(f"switch over {node[1]}")

    def truth(self, words: list[str], helper: str, guard: Guard, names: dict) -> Iterator[tuple[Guard, bool]]:
        text = " ".join(words)
        if words[0] == "!" and "&&" not in words and "||" not in words:
            for after, value in self.truth(words[1:], helper, guard, names):
                yield after, not value
            return
        if "||" in words:
            at = words.index("||")
            for after, value in self.truth(words[:at], helper, guard, names):
                if value:
                    yield after, True
                else:
                    yield from self.truth(words[at + 1 :], helper, after, names)
            return
        if "&&" in words:
            at = words.index("&&")
            for after, value in self.truth(words[:at], helper, guard, names):
                if not value:
                    yield after, False
                else:
                    yield from self.truth(words[at + 1 :], helper, after, names)
            return
        if text in names:
            yield guard, names[text] not in (None, "NULL")
            return
        match = re.fullmatch(r"prog -> (?:expected_attach_type|type) (==|!=) BPF_(\w+)", text)
        if match and " type " in text:
            yield guard, (f"BPF_{match[2]}" == f"BPF_PROG_TYPE_{self.program_type}") == (match[1] == "==")
            return
        if match:
            for positive in (True, False):
                after = guard.among(positive, frozenset([match[2]]))
                if after:
                    yield after, positive == (match[1] == "==")
            return
        if text == "bpf_prog_has_trampoline ( prog )":
            types = frozenset(self.tree.trampoline.get(self.program_type, []))
            for positive in (True, False):
                after = guard.among(positive, types) if types else (None if positive else guard)
                if after:
                    yield after, positive
            return
        name, want = self.atom(text)
        for value in (True, False):
            after = guard.also(name, value)
            if after:
                yield after, value == want

    def atom(self, text: str) -> tuple[str, bool]:
        """The named condition that a C expression is, and which value of it makes the expression true."""
        for pattern, name in (
            (r"bpf_token_capable \( .* CAP_(\w+) \)", "cap:{}"),
            (r"capable \( CAP_(\w+) \)", "cap:{}"),
            (r"bpf_capable \( \)", "cap:BPF"),
            (r"perfmon_capable \( \)", "cap:PERFMON"),
            (r"prog -> (?:aux -> )?sleepable", "sleepable"),
            (r"security_locked_down \( LOCKDOWN_(\w+) \) < 0", "lockdown:{}"),
            (r"btf_id_set_contains \( & (\w+) .*", "hook:{}"),
            (r"prog_ops_moff \( prog \) != offsetof \( struct (\w+) , (\w+) \)", "!member:{}.{}"),
            (
                r"(is_kprobe_multi|is_uprobe_multi|bpf_prog_check_recur|is_kprobe_session) \( prog \)",
                "proto:{}",
            ),
        ):
            match = re.fullmatch(pattern, text)
            if match:
                made = name.format(*match.groups())
                return made.removeprefix("!"), not made.startswith("!")
        raise ValueError(f"condition {text!r} is not understood")

    def value(
        self, words: list[str], helper: str, guard: Guard, names: dict
    ) -> Iterator[tuple[Guard, str | None]]:
        text = " ".join(words)
        if "?" in words:
            at = words.index("?")
            colon = len(words) - 1 - words[::-1].index(":")
            for after, truth in self.truth(words[:at], helper, guard, names):
                yield from self.value(
                    words[at + 1 : colon] if truth else words[colon + 1 :], helper, after, names
                )
        elif text == "NULL":
            yield guard, None
        elif words[0] == "&":
            yield guard, words[1]
        elif text in names:
            yield guard, names[text]
        elif (
            text.endswith("( func_id , prog )")
            or text == "bpf_base_func_proto ( func_id )"
            or (text == "bpf_sk_base_func_proto ( func_id )")
        ):
            if words[0] == "bpf_iter_get_func_proto":
                # Each iterator may add helpers of its own; none of them is in this function.
                yield guard, None
            else:
                yield from self.call(words[0], helper, guard)
        elif words[0] in self.tree.functions:
            found = re.findall(r"return\s+&(\w+)", self.tree.functions[words[0]][1])
            yield guard, found[-1] if found else None
        else:
            found_name = re.fullmatch(r"bpf_get_(\w+)_proto \( (?:func_id)? ?\)", text)
            yield guard, f"bpf_{found_name[1]}_proto" if found_name else None


def _negate(config: tuple[tuple[str, bool], ...]) -> tuple[str, bool]:
    name, value = config[-1]
    return name, not value


def callable_when(
    evaluator: Evaluator, root: str, helper: str, functions: set[str] | None = None
) -> list[Guard]:
    """All conditions under which the helper has a usable prototype; empty: never.

    ``functions`` receives the names of the functions that implement it.
    """
    tree = evaluator.tree
    paths: set[Guard] = set()
    for guard, proto in evaluator.call(root, helper, Guard()):
        if proto is None:
            continue
        row = tree.protos.get(proto)
        if row is not None and functions is not None:
            functions.add(row.get("func", "").strip())
        now: Guard | None = Guard(
            guard.attach, frozenset(a for a in guard.atoms if not a[0].startswith("proto:"))
        )
        if row is not None:
            option = FILE_CONFIG.get(row["file"])
            if option:
                now = now and now.also(f"config:{option}", True)
            if row.get("gpl_only", "false").strip() == "true":
                now = now and now.also("gpl", True)
            if row.get("might_sleep", "false").strip() == "true":
                now = now and now.also("sleepable", True)
            if "allowed" in row:
                now = now and now.also("allowed:" + row["allowed"].strip(), True)
        if now:
            paths.add(now)
    return simplify(paths)


def simplify(paths: set[Guard]) -> list[Guard]:
    """Merge paths that differ in one condition and its opposite, and drop those that another contains."""
    now = sorted(paths, key=_order)
    while True:
        after = sorted(_merged(now), key=_order)
        if after == now:
            return now
        now = after


def _order(guard: Guard) -> tuple[bool, list[str], list[tuple[str, bool]]]:
    return guard.attach[0], sorted(guard.attach[1]), sorted(guard.atoms)


def _merged(paths: list[Guard]) -> set[Guard]:
    """One step of the simplification; the same paths when there is none left."""
    for a in paths:
        for b in paths:
            if a is b:
                continue
            covers = _either(a.attach, b.attach) == b.attach
            if covers and b.atoms <= a.atoms:
                return set(paths) - {a}
            if a.atoms == b.atoms:
                return set(paths) - {a, b} | {Guard(_either(a.attach, b.attach), a.atoms)}
            if not covers:
                continue
            for name, value in sorted(a.atoms - b.atoms):
                opposite = (name, not value)
                if opposite in b.atoms and b.atoms - {opposite} <= a.atoms:
                    return set(paths) - {a} | {Guard(a.attach, a.atoms - {(name, value)})}
    return set(paths)


def _either(a: Attach, b: Attach) -> Attach:
    if a[0] and b[0]:
        return True, a[1] | b[1]
    if a[0]:
        return False, b[1] - a[1]
    if b[0]:
        return False, a[1] - b[1]
    return False, a[1] & b[1]


def write(guards: list[Guard], implied: frozenset[str]) -> str:
    """One line: alternatives joined by '|', conditions by '&', '!' before what must not hold; '' = always."""
    lines = []
    for guard in guards:
        parts = [("" if value else "!") + name for name, value in sorted(guard.atoms) if name not in implied]
        if guard.attach != ANY:
            parts.append(("" if guard.attach[0] else "!") + "attach:" + ",".join(sorted(guard.attach[1])))
        lines.append("&".join(parts))
    return "|".join(sorted(set(lines)))
