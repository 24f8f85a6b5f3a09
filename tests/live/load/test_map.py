# SPDX-License-Identifier: Apache-2.0
"""Maps: elements, per-CPU values, memory, freezing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import load
from holdfast import sys as kernel
from holdfast.errors import LibbpfError, PrivilegeError, UsageError

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live", "leaves_nothing")]


@pytest.fixture
def obj(compiled: dict[str, Path]) -> Iterator[load.Object]:
    with load.open_object(compiled["good"], map_sizes={"unsized": 2}) as loaded:
        yield loaded


def word(value: int) -> bytes:
    return struct.pack("=I", value)


def test_elements_of_a_hash(obj: load.Object) -> None:
    one_map = obj.map("unsized")
    assert one_map.lookup(1) is None
    one_map.update(1, word(10))
    one_map.update(word(2), word(20))
    assert dict(one_map.items()) == {word(1): word(10), word(2): word(20)}
    assert one_map.delete(1)
    assert not one_map.delete(1)
    assert list(one_map.keys()) == [word(2)]


def test_a_full_map_says_so(obj: load.Object) -> None:
    one_map = obj.map("unsized")
    one_map.update(1, word(0))
    one_map.update(2, word(0))
    with pytest.raises(LibbpfError, match=r"map 'unsized': update failed: E2BIG"):
        one_map.update(3, word(0))
    with pytest.raises(LibbpfError, match="EEXIST"):
        one_map.update(1, word(0), flags=kernel.UpdateFlag.NOEXIST)


@pytest.mark.parametrize(
    ("key", "value"), [(b"abc", b"1234"), (1, b"12345"), (1 << 40, b"1234"), (None, b"1234"), (1, [b"1234"])]
)
def test_wrong_sizes_never_reach_the_kernel(obj: load.Object, key: bytes | int | None, value: bytes) -> None:
    with pytest.raises(UsageError, match="map 'unsized'"):
        obj.map("unsized").update(key, value)


def test_per_cpu_values_are_counted_by_the_program(obj: load.Object) -> None:
    counts, cpus = obj.map("counts"), kernel.possible_cpus()
    counts.update(0, word(100))
    assert counts.lookup_per_cpu(0) == [word(100)] * cpus
    obj.program("steer").test_run(bytes(64), repeat=5)
    values = counts.lookup_per_cpu(0)
    assert values is not None
    assert sum(struct.unpack("=I", value)[0] for value in values) == 100 * cpus + 5
    counts.update(1, [word(cpu) for cpu in range(cpus)])
    assert dict(counts.items_per_cpu())[word(1)] == [word(cpu) for cpu in range(cpus)]
    with pytest.raises(UsageError, match="lookup_per_cpu"):
        counts.lookup(0)
    with pytest.raises(UsageError, match="use lookup"):
        obj.map("config").lookup_per_cpu(0)


def test_memory_is_the_map(obj: load.Object) -> None:
    config = obj.map("config")
    with config.mmap() as memory:
        memory[8:16] = struct.pack("=Q", 77)
        assert config.lookup(1) == struct.pack("=Q", 77)
        memory[0:8] = struct.pack("=Q", 1)
        assert obj.program("steer").test_run(bytes(64)).return_value == 8
    with pytest.raises(UsageError, match="MMAPABLE"):
        obj.map("unsized").mmap()


def test_a_frozen_map_cannot_be_written(obj: load.Object) -> None:
    rodata = obj.map(".rodata")
    assert rodata.lookup(0) == word(7)
    with pytest.raises(PrivilegeError, match=r"map '\.rodata': update"):
        rodata.update(0, word(8))
    config = obj.map("config")
    config.update(0, bytes(8))
    config.freeze()
    with pytest.raises(PrivilegeError):
        config.update(0, bytes(8))


def test_a_descriptor_outlives_the_object(compiled: dict[str, Path]) -> None:
    with load.open_object(compiled["good"], size_zero_maps=True) as obj:
        obj.map("config").update(3, struct.pack("=Q", 9))
        kept = obj.map("config").duplicate_fd()
    with kept:
        assert kernel.map_lookup(kept.fileno(), word(3), 8) == struct.pack("=Q", 9)
