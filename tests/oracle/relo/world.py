# SPDX-License-Identifier: Apache-2.0
"""Random types for a program, and a kernel's version of them: moved, retyped, renamed, doubled or gone.

A type is a nested tuple whose first element says what it is, so that equal types are written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.btfwriter import BOOL, CHAR, SIGNED, BtfWriter

from holdfast.btf.types import Kind

__all__ = ["World", "random_access", "random_types", "random_version", "write"]

Tree = tuple[Any, ...]

INTS = (
    ("int", "int", 4, SIGNED),
    ("int", "unsigned int", 4, 0),
    ("int", "char", 1, CHAR),
    ("int", "unsigned char", 1, 0),
    ("int", "short", 2, SIGNED),
    ("int", "unsigned short", 2, 0),
    ("int", "long", 8, SIGNED),
    ("int", "long unsigned int", 8, 0),
    ("int", "_Bool", 1, BOOL),
    ("int", "__int128", 16, SIGNED),
    ("float", "double", 8),
)
UNSIGNED = tuple(row for row in INTS if row[-1] == 0)
FIELDS = ("a", "b", "c", "d", "e___x")
NAMES = ("s", "t", "u", "s___one", "t___two", "task", "task___old")
VALUES = ("A", "B", "C", "A___v2", "D")


def random_types(random: Random) -> list[Tree]:
    """Named types, of which one may contain another."""
    types: list[Tree] = []
    for name in random.sample(NAMES, random.randint(1, 4)):
        types.append(_named(random, name, types))
    return types


def random_version(random: Random, types: list[Tree]) -> list[Tree]:
    """The kernel's version of these types: most of them nearly the same, some twice or with a flavor."""
    result: list[Tree] = []
    for tree in types:
        for _ in range(random.choice((0, 1, 1, 1, 1, 1, 2, 3))):
            version = _changed(random, tree, result, random.choice((0.0, 0.05, 0.3)))
            if random.random() < 0.3:
                version = _renamed(version, random.choice(NAMES))
            result.append(version)
    if random.random() < 0.3:
        result += random_types(random)
    random.shuffle(result)
    return result


def _renamed(tree: Tree, name: str) -> Tree:
    match tree[0]:
        case "comp":
            return ("comp", tree[1], name, *tree[3:])
        case "enum" | "typedef" | "fwd" | "int" | "float":
            return (tree[0], name, *tree[2:])
    return tree


def _named(random: Random, name: str, known: list[Tree]) -> Tree:
    what = random.random()
    if what < 0.65:
        return _composite(random, name, known, 0)
    if what < 0.8:
        return _enum(random, name)
    if what < 0.97:
        return ("typedef", name, _field_type(random, known, 1))
    return ("fwd", name, random.random() < 0.5)


def _enum(random: Random, name: str) -> Tree:
    signed, wide = random.random() < 0.5, random.random() < 0.4
    size = random.choice((4, 8)) if wide else random.choice((1, 4, 4, 4, 8))
    pool = [-1, -(1 << 31)] if signed else [0xFFFFFFFF, 1 << 31]
    if wide:
        pool += [(1 << 62) + 5, -(1 << 63) if signed else (1 << 64) - 1]
    names = random.sample(VALUES, random.randint(1, 4))
    values = tuple((n, random.choice((0, 1, 2, 7, *pool))) for n in names)
    return ("enum", name, values, size, signed, wide)


def _composite(random: Random, name: str, known: list[Tree], depth: int) -> Tree:
    kind = Kind.STRUCT if random.random() < 0.75 else Kind.UNION
    names = random.sample(FIELDS, random.randint(0, 4))
    return ("comp", kind, name, tuple(_member(random, n, known, depth) for n in names))


def _member(random: Random, name: str, known: list[Tree], depth: int) -> Tree:
    if random.random() < 0.2:
        base = random.choice((*INTS[:8], _enum(random, random.choice(("", "e"))))) if depth >= 0 else INTS[0]
        size = base[2] if base[0] == "int" else base[3]
        return (name, base, random.randint(1, size * 8))
    if depth < 3 and random.random() < 0.2:
        return ("", _composite(random, "", known, depth + 1), 0)
    return (name, _field_type(random, known, depth + 1), 0)


def _field_type(random: Random, known: list[Tree], depth: int) -> Tree:
    deeper = depth < 4
    match random.choice(("int", "int", "int", "ptr", "enum", "array", "comp", "known", "mod", "odd")):
        case "ptr" if deeper:
            target = _field_type(random, known, depth + 1) if random.random() < 0.6 else ("void",)
            return ("ptr", target)
        case "enum":
            return _enum(random, random.choice(("", "e", "e___x", "f")))
        case "array" if deeper:
            return ("array", random.choice((0, 1, 2, 3)), _field_type(random, known, depth + 1))
        case "comp" if deeper:
            return _composite(random, random.choice(("", "in", "in___y")), known, depth + 1)
        case "known" if known:
            chosen = random.choice(known)
            if len(repr(chosen)) < 1000:  # trees share their branches only once they are written
                return chosen
        case "mod" if deeper:
            inner = _field_type(random, known, depth + 1)
            return random.choice((("typedef", "my_t", inner), ("const", inner), ("tag", "rcu", inner)))
        case "odd" if deeper:
            proto = ("proto", _field_type(random, known, depth + 1), (_field_type(random, known, depth + 1),))
            return random.choice((("ptr", proto), proto, ("fwd", random.choice(NAMES), False), ("void",)))
    return random.choice(INTS if random.random() < 0.6 else UNSIGNED)


def _changed(random: Random, tree: Tree, known: list[Tree], chance: float) -> Tree:
    """The same type with changes here and there."""
    if random.random() < chance / 2:
        return _renamed(_field_type(random, known, 1), tree[1] if tree[0] in ("enum", "typedef") else "s")
    match tree[0]:
        case "comp":
            members = [
                _changed_member(random, m, known, chance) for m in tree[3] if random.random() >= chance / 2
            ]
            if random.random() < chance:
                used = {m[0] for m in members}
                free = [n for n in FIELDS if n not in used]
                members += [_member(random, n, known, 2) for n in free[:1]]
            if random.random() < chance:
                random.shuffle(members)
            if random.random() < chance and members:
                cut = random.randint(0, len(members))
                inner = ("comp", random.choice((Kind.STRUCT, Kind.UNION)), "", tuple(members[cut:]))
                members = [*members[:cut], ("", inner, 0)]
            kind = tree[1] if random.random() >= chance / 4 else random.choice((Kind.STRUCT, Kind.UNION))
            return ("comp", kind, tree[2], tuple(members))
        case "enum" if random.random() < chance:
            return _enum(random, tree[1])
        case "array":
            nelems = tree[1] if random.random() >= chance else random.choice((0, 1, 2, 3))
            return ("array", nelems, _changed(random, tree[2], known, chance))
        case "ptr" | "const":
            return (tree[0], _changed(random, tree[1], known, chance))
        case "typedef" | "tag":
            return (tree[0], tree[1], _changed(random, tree[2], known, chance))
        case "int" if random.random() < chance * 2:
            return random.choice(INTS if random.random() < 0.4 else UNSIGNED)
    return tree


def _changed_member(random: Random, member: Tree, known: list[Tree], chance: float) -> Tree:
    name, tree, bits = member
    if bits:
        size = tree[2] if tree[0] == "int" else tree[3]
        if random.random() < chance:
            return (name, tree, 0)
        return (name, tree, bits if random.random() >= chance else random.randint(1, size * 8))
    return (name, _changed(random, tree, known, chance), 0)


@dataclass
class World:
    """Types in BTF: ``ids`` of the trees that were asked for, in order."""

    writer: BtfWriter
    trees: list[Tree]
    ids: list[int]


def write(trees: list[Tree], byteorder: str = "little", *, packed: int = 1) -> World:
    """Write trees as BTF. Members are aligned to ``packed`` bytes at most."""
    world = World(BtfWriter(byteorder), trees, [])
    known: dict[Tree, int] = {}
    world.writer.integer("__ARRAY_SIZE_TYPE__", 4, 0)
    for tree in trees:
        known.pop(tree, None)  # written again: a second candidate that is equal
        world.ids.append(_write(world.writer, tree, known, packed))
    return world


def _write(writer: BtfWriter, tree: Tree, known: dict[Tree, int], packed: int) -> int:
    if tree == ("void",):
        return 0
    if tree in known:
        return known[tree]
    match tree:
        case ("int", name, size, encoding):
            written = writer.integer(name, size, encoding)
        case ("float", name, size):
            written = writer.floating(name, size)
        case ("ptr", inner):
            written = writer.ptr(_write(writer, inner, known, packed))
        case ("const", inner):
            written = writer.const(_write(writer, inner, known, packed))
        case ("tag", name, inner):
            written = writer.modifier(Kind.TYPE_TAG, _write(writer, inner, known, packed), name)
        case ("typedef", name, inner):
            written = writer.typedef(name, _write(writer, inner, known, packed))
        case ("array", nelems, inner):
            written = writer.array(_write(writer, inner, known, packed), nelems)
        case ("fwd", name, union):
            written = writer.fwd(name, union)
        case ("proto", returns, params):
            ids = [("", _write(writer, param, known, packed)) for param in params]
            written = writer.proto(_write(writer, returns, known, packed), *ids)
        case ("enum", name, values, size, signed, wide):
            add = writer.enum64 if wide else writer.enum
            written = add(name, *values, size=size, signed=signed)
        case ("comp", kind, name, members):
            written = _write_composite(writer, kind, name, members, known, packed)
        case _:
            raise AssertionError(tree)
    known[tree] = written
    return written


def _bytes(tree: Tree) -> int:
    match tree[0]:
        case "int" | "float":
            return int(tree[2])
        case "enum":
            return int(tree[3])
        case "ptr":
            return 8
        case "const":
            return _bytes(tree[1])
        case "typedef" | "tag":
            return _bytes(tree[2])
        case "array":
            return int(tree[1]) * _bytes(tree[2])
        case "comp":
            return _layout(tree[1], tree[3], 1)[1]
    return 0


def _layout(kind: Kind, members: tuple[Tree, ...], packed: int) -> tuple[list[int], int]:
    at = most = 0
    offsets = []
    for _, tree, bits in members:
        size = bits or _bytes(tree) * 8
        if not bits:
            step = 8 * max(1, min(packed, size // 8))
            at = -(-at // step) * step
        offsets.append(at if kind == Kind.STRUCT else 0)
        at += size
        most = max(most, size)
    total = at if kind == Kind.STRUCT else most
    return offsets, -(-total // 8)


def _write_composite(
    writer: BtfWriter, kind: Kind, name: str, members: tuple[Tree, ...], known: dict[Tree, int], packed: int
) -> int:
    ids = [_write(writer, tree, known, packed) for _, tree, _ in members]
    offsets, size = _layout(kind, members, packed)
    bitfields = any(bits for *_, bits in members)
    rows = [
        (member[0], type_id, offset, member[2]) if bitfields else (member[0], type_id, offset)
        for member, type_id, offset in zip(members, ids, offsets, strict=True)
    ]
    return writer.composite(kind, name, size, rows)


def random_access(random: Random, tree: Tree) -> str:
    """An accessor into a type, mostly a possible one."""
    indices = [random.choice((0, 0, 0, 0, 1, 3))]
    for _ in range(6):
        while tree[0] in ("const", "typedef", "tag"):
            tree = tree[-1]
        if tree[0] == "comp" and tree[3]:
            index = random.randrange(len(tree[3]))
            indices.append(index)
            tree = tree[3][index][1]
        elif tree[0] == "array" and random.random() < 0.7:
            indices.append(random.randrange(max(tree[1], 1)))
            tree = tree[2]
        elif tree[0] == "enum" and len(indices) == 1:
            return str(random.randrange(len(tree[2]) + 1 if random.random() < 0.05 else len(tree[2])))
        else:
            break
        if random.random() < 0.15:
            break
    if random.random() < 0.03:
        indices.append(random.choice((0, 5)))
    text = ":".join(map(str, indices))
    if random.random() < 0.02:
        return random.choice(("", ":0", "0:", "0::0", "x", "0:0x1", " 0", "0:+0", "99", "0:0" * 33))
    return text
