# SPDX-License-Identifier: Apache-2.0
"""The map rules against the running kernel: every type in many shapes and with every flag, created for
real.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator

import pytest
from tests import liverules

from holdfast import sys as kernel
from holdfast.rules import map_types
from holdfast.rules.ask import Allowed
from holdfast.rules.map_types import Flag
from holdfast.terms import MapType

pytestmark = [pytest.mark.oracle, pytest.mark.live, pytest.mark.usefixtures("live")]

# These need another map or the kernel's own BTF to be created; their own checks come after that one.
WITH_MORE = {MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS, MapType.STRUCT_OPS}
TYPES = [kind for kind in MapType if kind and kind not in WITH_MORE and map_types.rule(kind)]
KEYS = (0, 1, 2, 4, 5, 8, 12, 16, 260, 261, 300)
VALUES = (0, 1, 4, 8, 16, 24, 32, 128, 1016, 1024, 4096, 32768, 32776)
ENTRIES = (0, 1, 3, 4096, 4097, 12288, 65536)


def shapes(kind: MapType) -> Iterator[tuple[int, int, int, int]]:
    row = map_types.rule(kind)
    assert row is not None
    key = row.keys[0] if row.keys else 4
    value = row.values[0] if row.values else 8
    entries = {"some": 1, "none": 0, "one": 1, "ring": 4096}[row.entries]
    yield key, value, entries, row.required
    for other in KEYS:
        yield other, value, entries, row.required
    for other in VALUES:
        yield key, other, entries, row.required
    for other in ENTRIES:
        yield key, value, other, row.required
    for flag in Flag:
        if flag not in (Flag.PATH_FD, Flag.TOKEN_FD):  # not of BPF_MAP_CREATE; want a descriptor
            yield key, value, entries, row.required | flag
    yield key, value, entries, 0
    yield key, value, entries, row.required | Flag.RDONLY | Flag.WRONLY
    yield key, value, entries, row.required | Flag.RDONLY_PROG | Flag.WRONLY_PROG
    yield key, value, entries, row.required | Flag.NO_COMMON_LRU | Flag.NUMA_NODE


def created(kind: MapType, key: int, value: int, entries: int, flags: int) -> int:
    try:
        fd = kernel.map_create(kind, key_size=key, value_size=value, max_entries=entries, flags=int(flags))
    except OSError as error:
        return error.errno or 0
    fd.close()
    return 0


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_problems_are_those_of_the_kernel(kind: MapType) -> None:
    ask = liverules.ask()
    if map_types.compiled_in(kind, ask).allowed is Allowed.NO:
        key, value, entries, flags = next(shapes(kind))
        assert created(kind, key, value, entries, flags) == errno.EINVAL
        return
    cpus = int((ask.options or {}).get("CONFIG_NR_CPUS", 0)) or None
    wrong = []
    counts: Counter[bool] = Counter()
    row = map_types.rule(kind)
    assert row is not None
    for key, value, entries, flags in shapes(kind):
        found = created(kind, key, value, entries, flags)
        if found == errno.ENOMEM:
            continue
        expected = map_types.problems(kind, key, value, entries, int(flags), ask, has_btf=False, nr_cpus=cpus)
        counts[not found] += 1
        if bool(expected) != bool(found):
            wrong.append(f"{key=} {value=} {entries=} {flags!r}: errno {found}, {[r.why for r in expected]}")
    assert row.btf or counts[True], counts  # without BTF a local storage is never created
    assert counts[False]
    assert not wrong, "\n".join(wrong)
