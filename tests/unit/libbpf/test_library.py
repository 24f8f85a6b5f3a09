# SPDX-License-Identifier: Apache-2.0
"""The binding itself, which needs no privilege: versions, errors, captured words."""

from __future__ import annotations

import ctypes
import threading

import pytest

from holdfast.errors import LibbpfError
from holdfast.libbpf import Candidate, Level, Library, Messages, Origin, errno_text, find


def libraries() -> list[Candidate]:
    return list(dict.fromkeys([find(), Candidate(Origin.SYSTEM, "libbpf.so.1")]))


@pytest.fixture(params=libraries(), ids=lambda candidate: str(candidate.origin))
def library(request: pytest.FixtureRequest) -> Library:
    candidate: Candidate = request.param
    if candidate.origin is Origin.SYSTEM:
        try:
            ctypes.CDLL(candidate.name)
        except OSError:
            pytest.skip("the system has no libbpf.so.1")
    return Library(candidate)


def refuse(library: Library) -> tuple[OSError, Messages]:
    messages = Messages(Level.DEBUG)
    garbage = b"no object at all" * 8
    with library.listening(messages), pytest.raises(OSError, match="format invalid") as caught:
        library.check("bpf_object__open_mem", garbage, len(garbage), None)
    return caught.value, messages


def test_version_is_new_enough(library: Library) -> None:
    assert library.version >= (1, 1)
    assert library.version_text in str(library)


def test_words_are_captured_with_their_level(library: Library) -> None:
    error, messages = refuse(library)
    assert error.errno == 4001
    assert any("is not a proper ELF object" in text for text in messages.warnings())
    assert any(message.level is Level.DEBUG for message in messages.kept)
    assert not any(message.text.startswith("libbpf:") for message in messages.kept)


def test_debug_words_are_left_out_unless_asked_for(library: Library) -> None:
    messages = Messages()
    with library.listening(messages), pytest.raises(OSError):
        library.check("bpf_object__open_mem", b"x" * 99, 99, None)
    assert messages.kept
    assert all(message.level is not Level.DEBUG for message in messages.kept)


def test_threads_hear_only_their_own(library: Library) -> None:
    heard: dict[int, Messages] = {}

    def run(number: int) -> None:
        for _ in range(50):
            heard[number] = refuse(library)[1]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = len(refuse(library)[1].kept)
    assert [len(messages.kept) for messages in heard.values()] == [alone] * 4


def test_long_messages_arrive_whole(library: Library) -> None:
    messages = Messages(Level.DEBUG)
    path = "/nonexistent/" + "x" * 3000
    with library.listening(messages), pytest.raises(OSError):
        library.check("bpf_object__open_file", path.encode(), None)
    assert any(path in message.text for message in messages.kept)


def test_what_a_release_lacks_is_said(library: Library) -> None:
    library.version = (1, 1)
    with pytest.raises(LibbpfError, match=r"needs libbpf 1\.6; in use is 1\.1") as caught:
        library.require((1, 6), "bpf_object__prepare()")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("number", "text"), [(1, "EPERM"), (524, "ENOTSUPP"), (4003, "LIBBPF_ERRNO 4003"), (999, "errno 999")]
)
def test_errno_text(number: int, text: str) -> None:
    assert errno_text(number) == text
