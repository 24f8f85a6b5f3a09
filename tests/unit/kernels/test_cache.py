# SPDX-License-Identifier: Apache-2.0
"""The cache believes nothing that is damaged, foreign or of another kernel."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import pytest
from tests.btfwriter import BtfWriter

from holdfast.kernels import HelperUse, KfuncUse, ProbeFacts, Wanted, cache_seal
from holdfast.kernels.cache import Cache, digest, folder
from holdfast.kernels.probe_store import ProbeStore
from holdfast.terms import AttachType, MapType, ProgramType


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "home" / "holdfast")


def kept(cache: Cache, name: str = "x") -> bytes | None:
    content = cache.get(name)
    return None if content is None else bytes(content)


def test_what_is_put_is_got(cache: Cache) -> None:
    assert kept(cache) is None
    cache.put("x", b"content")
    assert kept(cache) == b"content"
    cache.put("x", b"")
    assert kept(cache) == b""
    assert cache.path is not None
    assert cache.path.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in cache.path.iterdir()] == ["x"]
    assert (cache.path / "x").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("at", [0, 16, 24, 32, -1])
def test_a_flipped_bit_is_noticed(cache: Cache, at: int) -> None:
    cache.put("x", b"some content")
    assert cache.path is not None
    data = bytearray((cache.path / "x").read_bytes())
    data[at] ^= 4
    (cache.path / "x").write_bytes(data)
    assert kept(cache) is None
    cache.put("x", b"again")
    assert kept(cache) == b"again"


def large(cache: Cache) -> tuple[bytes, Path]:
    content = os.urandom(1 << 20)
    cache.put("x", content)
    assert cache.path is not None
    return content, cache.path / "x"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    crc32 = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data: (sizes.append(len(data)), crc32(data))[1])
    return sizes


def test_a_large_file_is_compared_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = large(cache)
    sizes = counted(monkeypatch)
    for _ in range(3):
        assert kept(cache) == content
    assert sizes == [len(content)]


def test_what_was_written_to_or_copied_is_compared_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, file = large(cache)
    assert kept(cache) == content
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([content[-1] ^ 4]))
    assert kept(cache) is None
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(content[-1:])
    assert kept(cache) == content
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    assert copy.stat().st_mtime_ns == file.stat().st_mtime_ns
    sizes = counted(monkeypatch)
    assert kept(cache, "copy") == content
    assert sizes == [len(content)]


def test_all_is_compared_again_after_a_start(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = large(cache)
    assert kept(cache) == content
    sizes = counted(monkeypatch)
    monkeypatch.setattr(cache_seal, "_start", lambda: b"another")
    assert kept(cache) == content
    monkeypatch.setattr(cache_seal, "_start", lambda: b"")  # it is not known
    assert kept(cache) == content
    assert sizes == [len(content)] * 2


def test_truncated_empty_and_odd_files_are_ignored(cache: Cache) -> None:
    cache.put("x", b"some content")
    assert cache.path is not None
    file = cache.path / "x"
    for size in (40, 32, 5, 0):
        file.write_bytes(file.read_bytes()[:size])
        assert kept(cache) is None
    os.mkfifo(cache.path / "pipe")
    assert kept(cache, "pipe") is None
    (cache.path / "folder").mkdir()
    assert kept(cache, "folder") is None


def test_links_and_what_others_may_write_are_not_believed(cache: Cache) -> None:
    cache.put("x", b"content")
    assert cache.path is not None
    (cache.path / "link").symlink_to(cache.path / "x")
    assert kept(cache, "link") is None
    (cache.path / "x").chmod(0o666)
    assert kept(cache) is None
    (cache.path / "x").chmod(0o600)
    assert kept(cache) == b"content"
    cache.path.chmod(0o777)
    assert kept(cache) is None
    cache.put("y", b"no")
    cache.path.chmod(0o700)
    assert kept(cache, "y") is None


def test_files_of_somebody_else_are_not_believed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("x", b"content")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert kept(cache) is None


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache in (Cache(None), Cache(tmp_path / "file" / "holdfast")):
        cache.put("x", b"content")
        assert kept(cache) is None


def test_the_folder_follows_the_base_directory_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/c")
    assert folder() == Path("/var/tmp/c/holdfast")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert folder() == Path("/home/me/.cache/holdfast")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert folder() is None


def test_a_name_tells_its_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")


def test_an_index_is_used_for_its_own_data_alone(cache: Cache) -> None:
    w = BtfWriter()
    w.struct("thing", 4, ("x", w.integer(), 0))
    btf = w.btf()
    cache.put_index("i", 5, btf.index)
    again = cache.index("i", 5)
    assert again is not None
    assert list(again.offsets) == list(btf.index.offsets)
    assert cache.index("i", 6) is None
    assert cache.index("j", 5) is None


def test_answers_survive_the_file_and_undecided_ones_are_dropped() -> None:
    use = HelperUse(5, ProgramType.XDP, AttachType.XDP_DEVMAP)
    wide = KfuncUse("bpf_x", ProgramType.TRACING, None, True)
    probes = ProbeFacts(
        {ProgramType.XDP: True, ProgramType.LSM: None},
        {MapType.ARENA: False},
        {use: False, HelperUse(5, ProgramType.XDP): None},
        {wide: True},
        {"ldsx": True},
    )
    store = ProbeStore()
    store.add(probes)
    wanted = Wanted(
        frozenset(probes.program_types),
        frozenset(probes.map_types),
        frozenset(probes.helpers),
        frozenset(probes.kfuncs) | {KfuncUse("bpf_x", ProgramType.TRACING)},
        frozenset({"ldsx", "gotol"}),
    )
    again = ProbeStore(store.to_bytes())
    assert again.answers(wanted) == ProbeFacts(
        {ProgramType.XDP: True}, {MapType.ARENA: False}, {use: False}, {wide: True}, {"ldsx": True}
    )
    assert again.answers(Wanted()) == ProbeFacts()
    again.add(ProbeFacts({ProgramType.LSM: False}))
    both = ProbeStore(again.to_bytes()).answers(wanted)
    assert both.program_types == {ProgramType.XDP: True, ProgramType.LSM: False}


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"{", b'{"helpers": [[9], []]}', b'{"helpers": {"": [1, 2]}}', b"null", b"7"],
)
def test_answers_that_make_no_sense_are_ignored(content: bytes) -> None:
    wanted = Wanted(helpers=frozenset({HelperUse(9, ProgramType.XDP)}))
    assert ProbeStore(content).answers(wanted) == ProbeFacts()


def test_what_was_used_longest_ago_goes_and_folders_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.kernels.cache._KEEP", 3)
    cache = Cache(tmp_path / "cache")
    cache.put("first", b"x")
    (tmp_path / "cache" / "packages").mkdir()
    for number in range(3):
        cache.put(f"later{number}", b"x")
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert names == ["later0", "later1", "later2", "packages"]


def test_who_is_interrupted_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.kernels.cache._header", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.put("name", b"x")
    assert list((tmp_path / "cache").iterdir()) == []
