# SPDX-License-Identifier: Apache-2.0
"""The job runner of a guest, here over a socket: what jobs do, do wrong, and what the host hears of it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from holdfast.errors import UsageError
from holdfast.vm.frames import Decoder, Kind, encode
from holdfast.vm.guest.serve import serve
from holdfast.vm.values import pack, unpack

ME = __name__
Ask = Callable[..., tuple[list[Any], Kind, dict[str, Any]]]


def double(value: Any) -> Any:
    return value * 2


def parts(count: int) -> Generator[int, None, str]:
    for number in range(count):
        print("part", number)
        yield number
    return "end"


def refused() -> None:
    raise UsageError("no such thing")


def broken() -> None:
    raise ZeroDivisionError("oh")


def exits() -> None:
    os._exit(3)


def dies() -> Generator[str, None, None]:
    yield "before"
    os.kill(os.getpid(), signal.SIGUSR1)


def hangs() -> Generator[str, None, None]:
    yield "before"
    time.sleep(1000)


def daemon() -> str:
    if os.fork() == 0:
        time.sleep(2)  # holds the pipes for longer than the job takes
        os._exit(0)
    return "started one"


def talks() -> None:
    sys.stdout.write("x" * 100000 + "last words")


def unsendable() -> object:
    return object()


@pytest.fixture
def ask() -> Iterator[Ask]:
    host, guest = socket.socketpair()
    child = os.fork()
    if child == 0:
        host.close()
        # jobs name functions of this file; pytest does not import it under a name that others can import
        sys.modules[ME] = sys.modules[__name__]
        try:
            serve(guest.fileno())
        finally:
            os._exit(0)
    guest.close()
    decoder = Decoder()
    host.settimeout(30)

    def run(name: str, timeout: float = 20, **arguments: Any) -> tuple[list[Any], Kind, dict[str, Any]]:
        host.sendall(
            encode(Kind.JOB, pack({"call": f"{ME}:{name}", "arguments": arguments, "timeout": timeout}))
        )
        got: list[Any] = []
        while True:
            for kind, payload in decoder.frames():
                if kind is not Kind.PART:
                    return got, kind, unpack(payload)
                got.append(unpack(payload))
            decoder.add(host.recv(1 << 16))

    yield run
    host.close()
    assert os.waitpid(child, 0)[1] == 0


def test_values_and_parts(ask: Ask) -> None:
    got, kind, end = ask("double", value=b"ab")
    assert (got, kind, end["value"]) == ([], Kind.DONE, b"abab")
    got, kind, end = ask("parts", count=3)
    assert (got, kind, end["value"]) == ([0, 1, 2], Kind.DONE, "end")
    assert end["said"] == "part 0\npart 1\npart 2\n"


def test_a_job_that_goes_wrong_does_not_harm_the_next(ask: Ask) -> None:
    for name, problem in (
        ("refused", "no such thing"),
        ("broken", "ZeroDivisionError: oh"),
        ("exits", "it ended with status 3"),
        ("no_such_function", "AttributeError: "),
        ("unsendable", "TypeError: "),
    ):
        _, kind, end = ask(name)
        assert kind is Kind.FAILED and end["problem"].startswith(problem) and not end["stuck"], name
        assert ("Traceback" in end["said"]) == (name not in ("refused", "exits")), name
    assert ask("double", value=2)[2]["value"] == 4


def test_parts_before_a_crash_are_kept(ask: Ask) -> None:
    got, kind, end = ask("dies")
    assert (got, kind, end["problem"]) == (["before"], Kind.FAILED, "it died of SIGUSR1")


def test_a_silent_job_is_killed(ask: Ask) -> None:
    got, kind, end = ask("hangs", timeout=0.3)
    assert (got, kind, end["problem"]) == (["before"], Kind.FAILED, "it gave no news for 0.3 s")
    assert ask("double", value=2)[2]["value"] == 4


def test_what_a_job_started_does_not_hold_it(ask: Ask) -> None:
    _, kind, end = ask("daemon")
    assert (kind, end["value"]) == (Kind.DONE, "started one")
    assert end["seconds"] < 2


def test_what_a_job_says_is_bounded(ask: Ask) -> None:
    end = ask("talks")[2]
    assert end["said"].endswith("last words")
    assert len(end["said"]) == 16 << 10
