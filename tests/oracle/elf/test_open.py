# SPDX-License-Identifier: Apache-2.0
"""What an object says against ``bpf_object__open()`` of libbpf: real objects, and C that uses all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import corpus
from tests.clang import compile_c
from tests.oracle.elf import compare, libbpfview, zoo
from tests.oracle.relo.libbpflog import libbpf_or_skip

from holdfast.elf import open_object
from holdfast.elf.spec import ExternKind
from holdfast.libbpf import Library

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def lib() -> Library:
    return libbpf_or_skip()


def assert_same(lib: Library, path: Path) -> tuple[int, int]:
    """Programs and maps equal; returns how many."""
    spec, view = open_object(path), libbpfview.opened(lib, path)
    assert view.refusal is None
    assert spec.problems == ()
    assert [replace(p, insns=()) for p in view.programs] == list(compare.programs(spec))
    for ours, theirs in zip(spec.programs, view.programs, strict=True):
        assert ours.link_problem is None
        assert ours.parts[0].length == len(theirs.insns)
    mine = compare.maps(spec)
    # libbpf pins nothing, and knows no path, of a map whose pinning the open options leave out
    assert [replace(m, pinned=False) for m in view.maps] == [replace(m, pinned=False) for m in mine]
    assert [m.pinned for m in view.maps] == [m.pinned for m in mine]
    assert list(externs_said(view.log)) == [
        (e.name, e.offset if e.kind is ExternKind.KCONFIG else None) for e in spec.externs
    ]
    return len(view.programs), len(view.maps)


def externs_said(log: tuple[str, ...]) -> Iterator[tuple[str, int | None]]:
    """(name, place in .kconfig) of each extern, in libbpf's order: kconfig values come first."""
    found = []
    for line in log:
        if said := re.match(r"extern \(kcfg\) #(\d+): symbol \d+, off (\d+), name (\S+)", line):
            found.append((int(said[1]), said[3], int(said[2])))
        elif said := re.match(r"extern \(ksym\) #(\d+): symbol \d+, name (\S+)", line):
            found.append((int(said[1]), said[2], None))
    for _, name, offset in sorted(found, key=lambda row: row[0]):
        yield name, offset


@pytest.mark.corpus
def test_real_objects(lib: Library) -> None:
    programs = maps = 0
    for path in corpus.objects():
        counts = assert_same(lib, path)
        programs += counts[0]
        maps += counts[1]
    print(f"{len(corpus.objects())} objects: {programs} programs and {maps} maps as libbpf has them")
    assert programs > 100 and maps > 100


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("name", zoo.OPENED)
def test_all_that_c_can_say(
    lib: Library, need_tool: Callable[[str], str], tmp_path: Path, name: str, big: bool
) -> None:
    path = compile_c(need_tool("clang"), zoo.OPENED[name], tmp_path, name, big=big)
    assert_same(lib, path)
    assert open_object(path).byteorder == ("big" if big else "little")


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("name", zoo.REFUSED)
def test_refused_with_libbpfs_words(
    lib: Library, need_tool: Callable[[str], str], tmp_path: Path, name: str, big: bool
) -> None:
    path = compile_c(need_tool("clang"), zoo.REFUSED[name], tmp_path, name, big=big)
    view = libbpfview.opened(lib, path)
    spec = open_object(path)
    assert view.refusal is not None
    assert spec.problems
    ours = spec.problems[0].message
    # libbpf's text may add a number, a kind or a path to ours
    said = re.sub(r" relo #\d+", " relo", view.refusal.removeprefix("elf: "))
    start = zoo.SAID.get(name, said[:30] if len(said) > 30 else said.rstrip("."))
    assert start in ours, (ours, view.refusal)
