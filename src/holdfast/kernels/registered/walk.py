# SPDX-License-Identifier: Apache-2.0
"""Follow a function of x86-64 along all its paths, with what constants its registers hold.

Paths are not merged, so a call's arguments stay together however the compiler laid out the code: chained
calls, shared tails, loops over tables, constants kept in saved registers or on the stack.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from holdfast.kernels.registered.disasm import Imm, Instruction, X86Reader
from holdfast.kernels.registered.machine import Machine
from holdfast.kernels.registered.space import Space

__all__ = ["Reached", "Trail", "Walker", "function_at"]

_STEPS: Final = 20_000  # instructions on all paths of one walk; the longest seen takes 313
_DEEPEST: Final = 3  # functions that are gone into, one from the other
_RETURNS: Final = frozenset({"ret", "retq", "iretq"})
_THUNK: Final = "__x86_return_thunk"
_ENDBR64: Final = 4  # bytes


@dataclass(frozen=True, slots=True)
class Reached:
    """A call or tail jump: from where, to where, and its first two arguments (None: unknown).

    ``callers`` are the places, from the outermost on, where functions that were entered on the way go on.
    """

    site: int
    target: int
    rdi: int | None
    rsi: int | None
    callers: tuple[int, ...] = ()


@dataclass(slots=True)
class Trail:
    """All that a walk met. ``complete`` is False when it had to stop before all paths were followed.

    ``loads`` are the (address, size) of what was read from data that never change.
    """

    calls: set[Reached] = field(default_factory=set)
    loads: set[tuple[int, int]] = field(default_factory=set)
    complete: bool = True


@dataclass(slots=True)
class _Path:
    at: int
    machine: Machine
    frames: tuple[tuple[int, int], ...]  # where each caller goes on, and where it begins
    function: int  # where the function begins


def function_at(space: Space, address: int) -> tuple[int, str] | None:
    """Where the function that covers an address begins, and its name; None where no symbol tells.

    A part that the compiler moved away (``.cold``) is a function of its own here.
    """
    found = space.names.around(address)
    if found is None:
        return None
    name = min(space.names.all_at(found[0]), key=lambda text: (text.startswith("__"), len(text)), default="")
    return found[0], name


class Walker:
    """Walks functions of one space. ``targets`` are the functions whose calls are wanted, None for all."""

    def __init__(self, space: Space, reader: X86Reader, targets: Collection[int] | None) -> None:
        self._space = space
        self._reader = reader
        self._targets = targets
        self._fentry = frozenset(space.names.find("__fentry__"))

    def walk(self, start: int, registers: dict[str, int] | None = None, enter: Collection[int] = ()) -> Trail:
        """Follow all paths from a function's first instruction. ``enter`` are functions that are followed
        where they are called."""
        trail = Trail()
        first = Machine(self._space, registers)
        first.loads = trail.loads
        todo = [_Path(start, first, (), start)]
        seen: set[tuple[object, ...]] = set()
        steps = 0
        while todo:
            path = todo.pop()
            key = (path.at, path.frames, path.machine.key())
            if key in seen:
                continue
            seen.add(key)
            while True:
                steps += 1
                if steps > _STEPS:
                    trail.complete = False
                    return trail
                instruction = self._reader.at(path.at)
                if instruction is None:
                    trail.complete = False
                    break
                name = instruction.name
                if name == "jmp" or name == "call" or name in _RETURNS or name == "ud2":
                    if not self._leave(path, instruction, trail, enter):
                        break
                    if name == "jmp":
                        todo.append(path)  # a loop comes back to the same state
                        break
                elif name[0] == "j" or name.startswith("loop"):
                    todo += self._branch(path, instruction, trail, enter)
                    break
                else:
                    code = path.machine.asks(instruction)
                    if code and path.machine.condition(code) is None:
                        # One path for each outcome, so that what depends on it stays together.
                        other = _Path(path.at, path.machine.copy(), path.frames, path.function)
                        other.machine.suppose(code, False)
                        path.machine.suppose(code, True)
                        if other.machine.condition(code) is not None:
                            other.machine.step(instruction)
                            other.at += instruction.size
                            todo.append(other)
                    path.machine.step(instruction)
                    path.at += instruction.size
        return trail

    def _branch(
        self, path: _Path, instruction: Instruction, trail: Trail, enter: Collection[int]
    ) -> list[_Path]:
        """Both ways, or the one that is taken."""
        code = instruction.name[1:]
        outcome = path.machine.condition(code)
        ways = []
        if outcome is not True:
            machine = path.machine.copy()
            if outcome is None:
                machine.suppose(code, False)
            ways.append(_Path(path.at + instruction.size, machine, path.frames, path.function))
        if outcome is not False:
            machine = path.machine.copy()
            if outcome is None:
                machine.suppose(code, True)
            taken = _Path(path.at, machine, path.frames, path.function)
            if self._leave(taken, instruction, trail, enter):
                ways.append(taken)
        return ways

    def _leave(self, path: _Path, instruction: Instruction, trail: Trail, enter: Collection[int]) -> bool:
        """Follow a jump, call or return; False where the path ends."""
        name = instruction.name
        if name == "ud2":
            return False  # of BUG(), or of WARN(), behind which nothing is registered in another way
        if name in _RETURNS:
            return self._return(path)
        operand = instruction.operands[0] if instruction.operands else None
        after = path.at + instruction.size
        if not isinstance(operand, Imm):
            if name == "call":
                path.machine.called()
                path.at = after
                return True
            # An indirect jump: a table of a switch, which is not followed, or a call at the end.
            trail.complete = False
            return False
        target = operand.value
        if name != "call" and self._kin(path, target):
            path.at = target
            return True
        if name != "call" and _THUNK in self._space.names.all_at(target):
            return self._return(path)
        if name == "call" and self._is_fentry(path, target):
            path.at = after
            return True
        registers = path.machine.registers
        if self._targets is None or target in self._targets:
            callers = tuple(after for after, _ in path.frames)
            arguments = registers.get("rdi"), registers.get("rsi")
            trail.calls.add(Reached(instruction.address, target, *arguments, callers))
        if target in enter and len(path.frames) < _DEEPEST:
            if name == "call":
                path.machine.push(None)
                path.frames = (*path.frames, (after, path.function))
            path.at = path.function = target
            return True
        path.machine.called()
        if name == "call":
            path.at = after
            return True
        return self._return(path)

    def _return(self, path: _Path) -> bool:
        if not path.frames:
            return False
        path.machine.pop()
        path.at, path.function = path.frames[-1]
        path.frames = path.frames[:-1]
        return True

    def _is_fentry(self, path: _Path, target: int) -> bool:
        """Whether this is the call that the compiler puts first for ftrace, which changes nothing."""
        return target in self._fentry if self._fentry else path.at - path.function in (0, _ENDBR64)

    def _kin(self, path: _Path, target: int) -> bool:
        """Whether a jump stays in its function, or goes to a part of it that the compiler moved away."""
        found = function_at(self._space, target)
        if found is None:
            return False
        if found[0] == path.function:
            return True
        stem, cold, _ = found[1].partition(".cold")
        return bool(cold) and stem in self._space.names.all_at(path.function)
