# SPDX-License-Identifier: Apache-2.0
"""What libbpf prints, sorted to whoever called it.

libbpf has one print callback per process and calls it in the thread that called libbpf. So one
callback is installed for good, and what to do with a message is a matter of that thread.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from holdfast.libbpf.prototypes import PrintFn, ShimPrintFn

__all__ = ["Level", "Message", "Messages", "Printer"]

_VA_LIST_SIZE = 24  # bytes of the System V x86-64 ABI's va_list


class Level(IntEnum):
    """``enum libbpf_print_level``."""

    WARN = 0
    INFO = 1
    DEBUG = 2


@dataclass(frozen=True, slots=True)
class Message:
    """One message, without ``libbpf:`` before it and the newline after it."""

    level: Level
    text: str


@dataclass(slots=True)
class Messages:
    """Collects what libbpf says; ``most`` is the most talkative level that is kept."""

    most: Level = Level.INFO
    kept: list[Message] = field(default_factory=list)

    def add(self, level: int, text: str) -> None:
        if level <= self.most:
            self.kept.append(Message(Level(level), text.removeprefix("libbpf: ").rstrip("\n")))

    @property
    def text(self) -> str:
        """Returns all of it, one message after the other."""
        return "".join(f"{message.text}\n" for message in self.kept)

    def warnings(self) -> list[str]:
        return [message.text for message in self.kept if message.level is Level.WARN]


class Printer:
    """The installed callback of one library. ``talks`` is False where messages cannot be read."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._here = threading.local()
        self._set_level: Callable[[int], None] | None = None
        self.talks = True
        if hasattr(library, "holdfast_set_print"):
            self._callback: object = ShimPrintFn(self._formatted)
            library.holdfast_set_print(self._callback)
            self._set_level = library.holdfast_set_print_level
        elif os.uname().machine == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8:
            # Remove when the oldest system libbpf in use formats its messages itself (none does in 1.8).
            self._libc = ctypes.CDLL(None)
            self._libc.vsnprintf.argtypes = (
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_char_p,
                ctypes.c_void_p,
            )
            self._callback = PrintFn(self._unformatted)
            library.libbpf_set_print(self._callback)
        else:
            # Other ABIs pass a va_list in ways that were not tried: silence rather than a crash.
            self.talks = False
            library.libbpf_set_print(None)

    @contextmanager
    def to(self, messages: Messages) -> Iterator[None]:
        """Sends what libbpf says in this thread to ``messages``."""
        before: Messages | None = getattr(self._here, "messages", None)
        self._here.messages = messages
        if self._set_level is not None:
            self._set_level(messages.most)
        try:
            yield
        finally:
            self._here.messages = before
            if self._set_level is not None:
                self._set_level(Level.INFO if before is None else before.most)

    def _formatted(self, level: int, text: bytes) -> None:
        messages: Messages | None = getattr(self._here, "messages", None)
        if messages is not None:
            messages.add(level, text.decode(errors="replace"))

    def _unformatted(self, level: int, form: bytes, arguments: int) -> int:
        messages: Messages | None = getattr(self._here, "messages", None)
        if messages is None or level > messages.most:
            return 0
        # Formatting uses a va_list up: keep one for the second turn, when the first buffer was too small.
        again = ctypes.create_string_buffer(ctypes.string_at(arguments, _VA_LIST_SIZE), _VA_LIST_SIZE)
        block = ctypes.create_string_buffer(1024)
        length: int = self._libc.vsnprintf(block, 1024, form, arguments)
        if length >= 1024:
            block = ctypes.create_string_buffer(length + 1)
            self._libc.vsnprintf(block, length + 1, form, ctypes.addressof(again))
        messages.add(level, block.value.decode(errors="replace"))
        return length
