# SPDX-License-Identifier: Apache-2.0
"""Which accelerator a guest is booted with, and what the host makes of a guest that talks nonsense."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.errors import UsageError
from holdfast.vm import boot
from holdfast.vm.errors import GuestError
from holdfast.vm.frames import Kind, encode
from holdfast.vm.job import Job
from holdfast.vm.kernel import BootKernel
from holdfast.vm.values import pack

KERNEL = BootKernel("6.12", None, b"image")


class Memory:
    """What is remembered of KVM, and what was tried."""

    def __init__(self, *, proven: bool = False, works: tuple[str, ...] = ("tcg",)) -> None:
        self.proven, self.works, self.tried, self.kept = proven, works, list[tuple[str, float]](), list[str]()


@pytest.fixture
def remember(monkeypatch: pytest.MonkeyPatch) -> Callable[[Memory], Memory]:
    def use(memory: Memory) -> Memory:
        def greet(guest: boot.Guest, patience: float) -> None:
            memory.tried.append((guest.accelerator, patience))
            if guest.accelerator not in memory.works:
                raise GuestError("it failed to boot")

        monkeypatch.setattr(boot, "build", lambda *_, **__: os.open("/dev/null", os.O_RDONLY))
        monkeypatch.setattr(boot, "may_use_kvm", lambda: True)
        monkeypatch.setattr(boot, "kvm_is_proven", lambda: memory.proven)
        monkeypatch.setattr(boot, "prove_kvm", lambda: memory.kept.append("yes"))
        monkeypatch.setattr(boot, "forget_kvm", lambda: memory.kept.append("no"))
        monkeypatch.setattr(boot.Guest, "_start", lambda *_: None)
        monkeypatch.setattr(boot.Guest, "_greet", greet)
        return memory

    return use


def test_kvm_that_works(remember: Callable[[Memory], Memory]) -> None:
    memory = remember(Memory(works=("kvm", "tcg")))
    assert boot.Guest.boot(KERNEL, timeout=90).accelerator == "kvm"
    assert memory.tried == [("kvm", 10.0)] and memory.kept == ["yes"]


def test_kvm_that_does_not(remember: Callable[[Memory], Memory]) -> None:
    memory = remember(Memory())
    assert boot.Guest.boot(KERNEL, timeout=90).accelerator == "tcg"
    assert memory.tried == [("kvm", 10.0), ("tcg", 90)] and memory.kept == ["no"]


def test_a_kernel_that_boots_with_neither_says_nothing_about_kvm(
    remember: Callable[[Memory], Memory],
) -> None:
    memory = remember(Memory(works=()))
    with pytest.raises(GuestError):
        boot.Guest.boot(KERNEL)
    assert memory.kept == []


def test_proven_kvm_has_all_the_time(remember: Callable[[Memory], Memory]) -> None:
    memory = remember(Memory(proven=True, works=()))
    with pytest.raises(GuestError):
        boot.Guest.boot(KERNEL, timeout=90)
    assert memory.tried == [("kvm", 90)]


def test_what_was_asked_for_is_not_replaced(remember: Callable[[Memory], Memory]) -> None:
    memory = remember(Memory())
    with pytest.raises(GuestError):
        boot.Guest.boot(KERNEL, accelerator="kvm", timeout=90)
    assert memory.tried == [("kvm", 90)]
    with pytest.raises(UsageError, match="'hvf'"):
        boot.Guest.boot(KERNEL, accelerator="hvf")


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[boot.Guest, socket.socket]]:
    """A guest whose other side is this test."""
    monkeypatch.setattr(boot, "_GRACE", 0.2)
    guest = boot.Guest("6.12", "tcg")
    near, far = socket.socketpair()
    near.setblocking(False)
    guest._port, guest._sockets = near, [near]
    guest._selector.register(near, boot.selectors.EVENT_READ)
    process: Any = SimpleNamespace(kill=lambda: None, wait=lambda: None)
    guest._process = process
    with far:
        yield guest, far
    guest.close()


DONE = encode(Kind.DONE, pack({"value": 1, "seconds": 0.5, "said": ""}))
DAMAGED = DONE[:-1] + bytes([DONE[-1] ^ 1])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"[    1.0] a kernel message\n", "it sends nonsense: no frame begins with"),
        (DAMAGED, "it sends nonsense: the checksum"),
        (encode(Kind.DONE, b"\xff\xff\xff\xff"), "it sends nonsense: a payload"),
        (encode(Kind.DONE, pack(None)), "its answer makes no sense"),
        (encode(Kind.DONE, pack({"value": 1})), "its answer makes no sense"),
        (encode(Kind.HELLO, pack({})), "it sent HELLO during a job"),
        (DONE[:10], r"it failed to answer within 0\.1 s"),
        (
            encode(
                Kind.FAILED, pack({"problem": "cannot be killed", "stuck": True, "said": "", "seconds": 1})
            ),
            "cannot be killed",
        ),
    ],
)
def test_nonsense_ends_the_guest(pair: tuple[boot.Guest, socket.socket], answer: bytes, problem: str) -> None:
    guest, far = pair
    far.sendall(encode(Kind.PART, pack("before")) + answer)
    with pytest.raises(GuestError, match=f"lost during job: {problem}") as caught:
        next(guest.run([Job("job", "m:f", timeout=0.1)]))
    assert caught.value.parts == ("before",)
    with pytest.raises(UsageError, match="is closed"):
        next(guest.run([Job("job", "m:f")]))


def test_a_guest_that_leaves(pair: tuple[boot.Guest, socket.socket]) -> None:
    guest, far = pair
    far.sendall(DONE + DONE[:20])
    far.shutdown(socket.SHUT_RDWR)
    with pytest.raises(GuestError, match=r"lost during (one|two): it died"):
        list(guest.run([Job("one", "m:f", timeout=5), Job("two", "m:f", timeout=5)]))


def test_what_cannot_be_sent_does_not_cost_the_guest(pair: tuple[boot.Guest, socket.socket]) -> None:
    guest, far = pair
    with pytest.raises(UsageError, match="job one cannot be sent"):
        next(guest.run([Job("one", "m:f", {"x": object()})]))
    far.sendall(DONE)
    assert next(guest.run([Job("two", "m:f")])).ok


def test_an_answer(pair: tuple[boot.Guest, socket.socket]) -> None:
    guest, far = pair
    far.sendall(encode(Kind.PART, pack("a")) + encode(Kind.PART, pack("b")) + DONE + DONE)
    results = list(guest.run([Job("one", "m:f"), Job("two", "m:f")]))
    assert [(result.value, result.parts, result.seconds) for result in results] == [
        (1, ("a", "b"), 0.5),
        (1, (), 0.5),
    ]


def test_a_guest_that_sends_without_end(
    pair: tuple[boot.Guest, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, far = pair
    monkeypatch.setattr(boot, "_MOST", 2000)
    far.sendall(encode(Kind.PART, pack(bytes(900))) * 3)
    with pytest.raises(GuestError, match="it sent more than"):
        next(guest.run([Job("job", "m:f", timeout=5)]))
