# SPDX-License-Identifier: Apache-2.0
"""What is known of a register: the lattice under :mod:`holdfast.insn.live`, its arithmetic and its
comparisons.

A value is one of

- an ``int``: this constant (unsigned, 64 bit);
- a ``frozenset`` of 2 to :data:`MAX_CHOICES` ints: one of these constants;
- :class:`Frame`: a pointer into the function's own stack frame;
- :class:`MapAddress`: a pointer into the value of a map whose content the caller knows;
- :class:`Context`: a pointer into the program's context;
- :class:`Watched`: this constant, and the caller hears what becomes of it;
- :class:`Pointer`: a pointer to an object of the kernel, known by where it came from;
- :attr:`Token.NON_ZERO`: a pointer that the verifier knows not to be null;
- :attr:`Token.FRAME`: perhaps a pointer somewhere into the own frame;
- ``None``: anything else (but no pointer into the own frame).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "MAX_CHOICES",
    "Context",
    "Frame",
    "MapAddress",
    "Pointer",
    "Token",
    "Value",
    "Watched",
    "add_sub",
    "arithmetic",
    "choose",
    "compare",
    "holds",
    "join",
    "sign_extend",
    "truncate",
]

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
MASK32: Final = 0xFFFF_FFFF

MAX_CHOICES: Final = 8
"""A register that may hold more constants than this is unknown. The verifier follows paths instead of merging
them; sets are what makes a state variable (``mode`` is 0, 1 or 2) as precise here as there, at a bounded
price."""


class Token(Enum):
    """Values that are no number."""

    NON_ZERO = "non-zero"
    FRAME = "frame"
    UNKNOWN = "unknown"
    """Only as an input: the immediate is decided later and cannot be known (never held in a register)."""


class Frame(NamedTuple):
    """``r10 + offset``; ``offset`` in bytes, negative inside the frame."""

    offset: int


class MapAddress(NamedTuple):
    """Address of byte ``offset`` in the value of ``map`` (any hashable name that the caller likes)."""

    map: Hashable
    offset: int


@dataclass(frozen=True, slots=True)
class Context:
    """``offset`` bytes into what r1 points to when the program starts.

    No tuple, so that it never equals a :class:`Frame`. ``reg_not_null()`` of the verifier does not list
    PTR_TO_CTX (trees 5.10 to 7.1), so a comparison with 0 goes both ways.
    """

    offset: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """What ``origin`` gave (any hashable name that the caller likes), followed through the loads of ``path``
    (the slot of each and the bytes that were added to the pointer before it), and ``moved`` bytes from there.

    It may be null: a comparison with 0 goes both ways.
    """

    origin: Hashable
    path: tuple[tuple[int, int], ...] = ()
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """The constant ``number`` (unsigned, ``bits`` wide) of a caller who wants to know what became of it.

    ``compared(op, other, bits, swapped)`` hears of each comparison ``number OP other`` (``other OP number``
    when ``swapped``) of ``bits`` bits that decides a jump, and ``used()`` that the number itself went
    somewhere else. As long as it was not used, another number that compares alike leads where this one leads.
    """

    number: int
    bits: int
    compared: Callable[[int, int, int, bool], None] = field(compare=False)
    used: Callable[[], None] = field(compare=False)

    def settle(self) -> int:
        """The number, for use."""
        self.used()
        return self.number

    def is_zero(self) -> bool:
        """Whether it is 0."""
        self.compared(0x10, 0, 64, False)
        return self.number == 0


Value: TypeAlias = int | frozenset[int] | Frame | MapAddress | Context | Pointer | Watched | Token | None


_NULLABLE: Final = (Context, Pointer)


def choose(values: frozenset[int]) -> Value:
    """The value that is one of ``values`` (not empty)."""
    if len(values) == 1:
        return next(iter(values))
    return values if len(values) <= MAX_CHOICES else None


def _choices(value: Value) -> frozenset[int] | None:
    if type(value) is int:
        return frozenset((value,))
    return value if type(value) is frozenset else None


def _settled(value: Value) -> Value:
    return value.settle() if type(value) is Watched else value


def _may_be_frame(value: Value) -> bool:
    return value is Token.FRAME or type(value) is Frame


def join(a: Value, b: Value, widen: bool = False) -> Value:
    """The least value that covers both; with ``widen`` anything that differs becomes unknown at once."""
    if type(a) is int and type(b) is int:
        if a == b:
            return a
        return None if widen else frozenset((a, b))
    if a is None and type(b) is not Frame and b is not Token.FRAME:
        return None
    if a == b:
        return a
    if type(a) is Watched or type(b) is Watched:
        return None if b is None else join(_settled(a), _settled(b), widen)
    if _may_be_frame(a) or _may_be_frame(b):
        return Token.FRAME
    if type(a) in _NULLABLE or type(b) in _NULLABLE:
        # through 0 nothing is read, so where it is read through there is the pointer
        for one, other in ((a, b), (b, a)):
            if type(one) is Pointer and type(other) is int and other == 0:
                return one
        return None
    if widen:
        return None
    left, right = _choices(a), _choices(b)
    if left is not None and right is not None:
        return choose(left | right)
    for one, other in ((a, right), (b, left)):
        pointer = one is Token.NON_ZERO or type(one) is MapAddress
        if pointer and other is not None and 0 not in other:
            return Token.NON_ZERO
    if a is not None and b is not None and left is None and right is None:
        return Token.NON_ZERO  # two different pointers, neither null
    return None


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


_BINARY: Final[dict[int, Callable[[int, int], int]]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x40: operator.or_,
    0x50: operator.and_,
    0xA0: operator.xor,
}


def _binary(op: int, a: int, b: int, bits: int) -> int | None:
    mask = (1 << bits) - 1
    if op in _BINARY:
        return _BINARY[op](a, b) & mask
    if b >= bits:
        return None  # shifting by the width or more, or by a negative number, is unknown to the verifier
    if op == 0x60:  # LSH
        return (a << b) & mask
    if op == 0x70:  # RSH
        return (a & mask) >> b
    return (_signed(a, bits) >> b) & mask if op == 0xC0 else None  # ARSH


def arithmetic(op: int, a: Value, b: Value, *, is64: bool) -> Value:
    """The result of ALU operation ``op`` (upper 4 bits of the opcode, not MOV).

    Only what every verifier computes: ``is_safe_to_compute_dst_reg_range()`` of v6.18 and older gives up
    division, modulo, negation and byte order even for constants (v7.1 does not).
    """
    bits = 64 if is64 else 32
    if type(b) is int:
        if type(a) is int:
            return _binary(op, a, b, bits)
        if a is None:
            return 0 if op == 0x50 and not b & ((1 << bits) - 1) else None
    if type(a) is Watched or type(b) is Watched:
        if b is None or (a is None and op != 0x50):
            return None
        return arithmetic(op, _settled(a), _settled(b), is64=is64)
    left, right = _choices(a), _choices(b)
    if left is not None and right is not None:
        found: set[int] = set()
        for x in left:
            for y in right:
                one = _binary(op, x, y, bits)
                if one is None:
                    return None
                found.add(one)
        return choose(frozenset(found))
    if is64 and op in (0x00, 0x10):
        return add_sub(a, b, subtract=op == 0x10)
    return Token.FRAME if _may_be_frame(a) or _may_be_frame(b) else None


def add_sub(a: Value, b: Value, *, subtract: bool) -> Value:
    """64-bit ``a + b`` or ``a - b`` where at least one of them is no set of constants."""
    if type(b) is int:
        delta = _signed(-b if subtract else b, 64)
        if type(a) is Frame:
            return Frame(a.offset + delta)
        if type(a) is MapAddress:
            return MapAddress(a.map, a.offset + delta)
        if type(a) is Context:
            return Context(a.offset + delta)
        if type(a) is Pointer:
            return Pointer(a.origin, a.path, a.moved + delta)
    elif type(a) is int and not subtract:
        return add_sub(b, a, subtract=False)
    if _may_be_frame(a) or _may_be_frame(b):
        return Token.FRAME
    return None


def truncate(value: Value, bits: int) -> Value:
    """The low ``bits`` bits, zero-extended."""
    mask = (1 << bits) - 1
    if type(value) is int:
        return value & mask
    if type(value) is frozenset:
        return choose(frozenset(one & mask for one in value))
    if type(value) is Watched:
        return value if value.bits <= bits else value.settle() & mask
    return None  # part of a pointer: a scalar, and the verifier forgets what it pointed to


def sign_extend(value: Value, bits: int, *, to: int) -> Value:
    """The low ``bits`` bits, sign-extended to ``to`` bits."""
    choices = _choices(_settled(value))
    if choices is None:
        return None
    mask = (1 << to) - 1
    return choose(frozenset(_signed(one, bits) & mask for one in choices))


_UNSIGNED: Final[dict[int, Callable[[int, int], bool]]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x50: operator.ne,
    0xA0: operator.lt,
    0xB0: operator.le,
}
_SIGNED: Final[dict[int, Callable[[int, int], bool]]] = {
    0x60: operator.gt,
    0x70: operator.ge,
    0xC0: operator.lt,
    0xD0: operator.le,
}


def _holds(op: int, a: int, b: int, bits: int) -> bool | None:
    mask = (1 << bits) - 1
    unsigned = _UNSIGNED.get(op)
    if unsigned is not None:
        return unsigned(a & mask, b & mask)
    signed = _SIGNED.get(op)
    if signed is not None:
        return signed(_signed(a, bits), _signed(b, bits))
    return bool(a & b & mask) if op == 0x40 else None  # JSET


def compare(op: int, a: Value, b: Value, *, is64: bool) -> tuple[bool, bool, Value, Value]:
    """A conditional jump on ``a OP b``: (may be taken, may fall through, ``a`` where taken, ``a`` where not).

    Follows ``is_branch_taken()`` of the kernel's verifier for constants and for pointers against 0; that the
    operand is known better after the jump is its ``reg_set_min_max()``, here for sets and (in)equality only.
    """
    bits = 64 if is64 else 32
    if type(a) is Watched or type(b) is Watched:
        return _compare_watched(op, a, b, bits)
    left, right = _choices(a), _choices(b)
    if left is not None and right is not None:
        taken: set[int] = set()
        fallen: set[int] = set()
        for x in left:
            for y in right:
                holds = _holds(op, x, y, bits)
                if holds is not False:
                    taken.add(x)
                if holds is not True:
                    fallen.add(x)
        return (
            bool(taken),
            bool(fallen),
            choose(frozenset(taken)) if taken else None,
            choose(frozenset(fallen)) if fallen else None,
        )
    if not is64 or type(b) is not int:
        return True, True, a, a
    if b == 0 and op in (0x10, 0x50) and (a is Token.NON_ZERO or type(a) is MapAddress):
        return op == 0x50, op == 0x10, a, a
    unknown = a is None or (type(a) is Pointer and b == 0)
    if unknown and op == 0x10:
        return True, True, b, a
    if unknown and op == 0x50:
        return True, True, a, b
    return True, True, a, a


def holds(op: int, a: int, b: int, bits: int) -> bool | None:
    """Whether ``a OP b`` for constants, OP the upper 4 bits of a jump's opcode; None for an unknown OP."""
    return _holds(op, a, b, bits)


def _compare_watched(op: int, a: Value, b: Value, bits: int) -> tuple[bool, bool, Value, Value]:
    """:func:`compare` where at least one side is watched: it stays so where a jump is decided."""
    if type(a) is Watched and type(b) is int:
        a.compared(op, b, bits, False)
        decided = _holds(op, a.number, b, bits)
    elif type(b) is Watched and type(a) is int:
        b.compared(op, a, bits, True)
        decided = _holds(op, a, b.number, bits)
    elif a is None and type(b) is Watched:
        if bits == 64 and op == 0x10:
            return True, True, b, a
        return True, True, a, b if bits == 64 and op == 0x50 else a
    elif b is None:
        return True, True, a, a
    else:
        return compare(op, _settled(a), _settled(b), is64=bits == 64)
    if decided is None:
        return True, True, a, a
    return decided, not decided, a if decided else None, None if decided else a
