# SPDX-License-Identifier: Apache-2.0
"""A descriptor has one owner."""

from __future__ import annotations

import fcntl
import os

import pytest

from holdfast.sys import OwnedFd


def is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def new_fd() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def test_close_twice_closes_once() -> None:
    owned = OwnedFd(new_fd())
    number = owned.fileno()
    owned.close()
    other = new_fd()  # takes the same number: closing again must not hit it
    owned.close()
    assert other == number
    assert is_open(other)
    os.close(other)


def test_with_closes() -> None:
    with OwnedFd(new_fd()) as owned:
        number = owned.fileno()
        assert is_open(number)
    assert not is_open(number)
    assert owned.closed


def test_disown_leaves_it_open() -> None:
    owned = OwnedFd(new_fd())
    number = owned.disown()
    del owned
    assert is_open(number)
    os.close(number)


def test_collected_is_closed() -> None:
    owned = OwnedFd(new_fd())
    number = owned.fileno()
    del owned
    assert not is_open(number)


def test_duplicate_is_independent_and_close_on_exec() -> None:
    original = new_fd()
    with OwnedFd.duplicate(original) as copy:
        assert copy.fileno() != original
        assert fcntl.fcntl(copy.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert is_open(original)
    os.close(original)


def test_low_numbers_are_moved_up() -> None:
    saved = os.dup(0)
    try:
        os.close(0)
        low = new_fd()
        assert low == 0
        with OwnedFd(low) as owned:
            assert owned.fileno() >= 3
            assert not is_open(0)
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_closed_has_no_number() -> None:
    owned = OwnedFd(new_fd())
    owned.close()
    with pytest.raises(ValueError, match="closed"):
        owned.fileno()
    with pytest.raises(ValueError, match="closed"):
        owned.disown()
