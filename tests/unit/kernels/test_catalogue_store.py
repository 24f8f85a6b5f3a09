# SPDX-License-Identifier: Apache-2.0
"""Kernels put into a catalogue, taken out again, and what happens when somebody is interrupted."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.catalogued import kept, kernel

from holdfast.errors import KernelFileError, UsageError
from holdfast.kernels import KfuncUse, ProbeFacts
from holdfast.kernels.build import facts_of
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue import Catalogue, data_folder
from holdfast.kernels.catalogue import blobs as blob_files
from holdfast.terms import ProgramType


@pytest.fixture
def store(tmp_path: Path) -> Catalogue:
    return Catalogue.open(tmp_path / "store")


def files(store: Catalogue) -> set[str]:
    assert store.folder is not None
    return {path.name for path in store.folder.rglob("*") if path.is_file()}


def test_a_record_comes_back(store: Catalogue) -> None:
    records = [kernel(1), kernel(2, probes=True), kernel(3)]
    for record in records:
        store.add(record)
    again = Catalogue.open(store.folder)
    assert [again.record(record.id) for record in records] == [kept(record) for record in records]
    assert again.verify() == []
    assert not again.notes


def test_rows_say_who_is_in(store: Catalogue) -> None:
    store.add(kernel(2))
    store.add(kernel(1, probes=True))
    first, second = Catalogue.open(store.folder).rows()
    assert (first.id, first.release, first.arch) == ("debian/6.1.0-amd64", "6.1.0-amd64", "x86_64")
    assert (first.source, first.package, first.has_probes) == ("debian", "linux-image 6.1.7-1", True)
    assert not second.has_probes
    assert store.folder is not None
    on_disk = sum(path.stat().st_size for path in (store.folder / "blobs").iterdir())
    assert first.size + second.size == on_disk
    assert first.size < second.size, "what they have in common counts for the first that was added"


@pytest.mark.parametrize("field", ["config", "symbols", "registrations", "package"])
def test_what_is_not_known_stays_unknown(store: Catalogue, field: str) -> None:
    record = replace(kernel(), **{field: None})  # type: ignore[arg-type]
    store.add(record)
    assert store.record(record.id) == kept(record)
    facts = store.facts(record.id)
    assert (facts.config is None) == (field == "config")
    assert (facts.kallsyms is None) == (field == "symbols")
    assert (facts.registrations is None) == (field == "registrations")


@pytest.mark.parametrize("warm", [False, True])
def test_facts_are_those_of_the_record(store: Catalogue, tmp_path: Path, warm: bool) -> None:
    record = kernel(2, probes=True)
    store.add(kernel(1))
    store.add(record)
    cache = Cache(tmp_path / "cache")
    if warm:
        first = store.facts(record.id, cache=cache)
        assert first.symbol("twice").value
        assert list(first.modules.values())
        assert first.config
        assert first.registrations
    facts, expected = store.facts(record.id, cache=cache), facts_of(record)
    assert facts.vmlinux is not None
    assert facts.vmlinux.data == record.vmlinux
    assert {name: btf.data for name, btf in facts.modules.items()} == record.modules
    assert facts.module_names == expected.module_names
    assert dict(facts.config or {}) == record.config
    assert dict(facts.registrations or {}) == record.registrations
    assert facts.probes == record.probes
    assert (facts.id, facts.release, facts.arch, facts.source) == (
        record.id,
        record.release,
        "x86_64",
        "debian",
    )
    assert facts.upstream == record.upstream
    for name in ("twice", "function_1", "__pfx_function_1", "no_such"):
        assert facts.symbol(name) == expected.symbol(name)
        assert facts.kallsyms is not None
        assert expected.kallsyms is not None
        assert len(facts.kallsyms(name) or ()) == len(expected.kallsyms(name) or ())
    for name in ("function_0", "function_5", "bpf_conn_0"):
        assert facts.is_kfunc(name) == expected.is_kfunc(name)
        assert facts.has_func(name) == expected.has_func(name)
        assert facts.kfunc_callable(name, ProgramType.XDP) == expected.kfunc_callable(name, ProgramType.XDP)


@pytest.mark.parametrize("warm", [False, True])
def test_registrations_are_read_one_by_one(store: Catalogue, tmp_path: Path, warm: bool) -> None:
    [one, *_] = (kernel().registrations or {}).values()
    names = ["bpf_a", "bpf_ab", "bpf", 'od"d\\n', "ßß", "z"]
    record = replace(kernel(), registrations={name: replace(one, module=f"of {name}") for name in names})
    store.add(record)
    cache = Cache(tmp_path / "cache")
    for _ in range(1 + warm):
        found = store.facts(record.id, cache=cache).registrations
    assert found
    for name in names:
        assert name in found
        assert found[name].module == f"of {name}"
    for name in ("", "a", "bpf_", "bpf_abc", '"', "module", "of z", 3):
        assert name not in found
        assert found.get(name) is None  # type: ignore[call-overload]
    with pytest.raises(KeyError):
        found["bpf_b"]
    assert dict(found) == record.registrations


def test_a_kernel_that_registers_nothing(store: Catalogue) -> None:
    store.add(replace(kernel(), registrations={}, module_names=()))
    facts = store.facts(kernel().id)
    assert facts.registrations is not None
    assert (bool(facts.registrations), dict(facts.registrations)) == (False, {})
    assert facts.module_names is None


def test_small_takes_less_room_for_the_same(store: Catalogue, tmp_path: Path) -> None:
    record = replace(kernel(), symbols="\n" + "".join(f"T{one * one:x}\n" for one in range(5000)))
    other = Catalogue.open(tmp_path / "other")
    assert store.add(record, small=True).size < other.add(record).size
    assert store.record(record.id) == other.record(record.id)


def test_a_damaged_expansion_is_made_again(store: Catalogue, tmp_path: Path) -> None:
    store.add(kernel())
    cache = Cache(tmp_path / "cache")
    store.facts(kernel().id, cache=cache)
    for path in (tmp_path / "cache").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    facts = store.facts(kernel().id, cache=cache)
    assert facts.vmlinux is not None
    assert facts.vmlinux.data == kernel().vmlinux
    assert len(facts.config or {}) == 4


def test_nothing_heavy_is_imported_for_what_is_in_the_cache(store: Catalogue, tmp_path: Path) -> None:
    store.add(kernel())
    job = f"""
import sys
from pathlib import Path
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue import Catalogue
store = Catalogue.open({str(store.folder)!r})
facts = store.facts("debian/6.1.0-amd64", cache=Cache(Path({str(tmp_path / "cache")!r})))
assert facts.symbol("twice").value and facts.config and facts.registrations and len(facts.modules) == 2
print("numpy" in sys.modules)
"""
    said = [subprocess.check_output([sys.executable, "-c", job], text=True).strip() for _ in range(2)]
    assert said == ["True", "False"]


def test_a_kernel_takes_the_place_of_one_with_its_id(store: Catalogue) -> None:
    store.add(kernel(1))
    store.add(kernel(2))
    changed = replace(kernel(3), id=kernel(1).id)
    store.add(changed)
    assert [row.id for row in store.rows()] == ["debian/6.1.0-amd64", "debian/6.2.0-amd64"]
    again = Catalogue.open(store.folder)
    assert again.record(changed.id) == kept(changed)
    assert again.record(kernel(2).id) == kept(kernel(2))


def test_removing_leaves_the_others_and_no_rest(store: Catalogue) -> None:
    empty = files(store)
    for number in (1, 2, 3):
        store.add(kernel(number))
    store.remove(kernel(1).id)
    again = Catalogue.open(store.folder)
    assert [again.record(row.id) for row in again.rows()] == [kept(kernel(2)), kept(kernel(3))]
    again.remove(kernel(3).id)
    again.remove(kernel(2).id)
    assert files(again) == empty | {"lock", "index.sqlite"}
    with pytest.raises(UsageError, match=r"no kernel 'debian/6\.2"):
        again.remove(kernel(2).id)


def test_probes_are_put_beside_what_is_there(store: Catalogue) -> None:
    store.add(kernel(1))
    for value in (True, None, False):
        probes = ProbeFacts(kfuncs={KfuncUse("function_0", ProgramType.XDP): value})
        row = store.put_probes(kernel(1).id, probes)
        assert row.has_probes
        found = Catalogue.open(store.folder).record(kernel(1).id)
        assert found == replace(kept(kernel(1)), probes=probes)
    assert sum(name.endswith(".kernel") for name in files(store)) == 1
    assert store.rows()[0].size == sum(
        path.stat().st_size for path in (store.folder or Path()).rglob("blobs/*")
    )


def test_an_id_that_is_not_in(store: Catalogue) -> None:
    for ask in (store.record, store.facts):
        with pytest.raises(UsageError, match="no kernel 'x'"):
            ask("x")
    assert store.rows() == []
    assert not (store.folder or Path()).exists(), "nothing is made before something is added"


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"CONFIG_A": "x\0y"}},
        {"module_names": ("a\0b",)},
        {"symbols": "\nTa\0b\n"},
        {"vmlinux": b"no BTF"},
        {"modules": {"conn": b"no BTF"}},
    ],
)
def test_what_is_no_kernel_is_refused(store: Catalogue, change: dict[str, object]) -> None:
    store.add(kernel(1))
    before = files(store)
    with pytest.raises(KernelFileError):
        store.add(replace(kernel(2), **change))  # type: ignore[arg-type]
    assert files(store) == before
    assert [row.id for row in store.rows()] == [kernel(1).id]


# -- interrupted, out of space, somebody else's --------------------------------------------------------


class Interrupt(BaseException):
    """What nobody catches."""


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> list[str]:
    """The ``at``-th call to bring something to disk or to give it its name ends so."""
    calls: list[str] = []

    def counting(name: str, real: object) -> object:
        def call(*arguments: object, **more: object) -> object:
            calls.append(name)
            if len(calls) == at:
                raise error
            return real(*arguments, **more)  # type: ignore[operator]

        return call

    monkeypatch.setattr(blob_files.os, "fsync", counting("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", counting("replace", Path.replace))
    return calls


def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    store = Catalogue.open(tmp_path / "counted")
    store.add(kernel(1))
    with monkeypatch.context() as patch:
        calls = interrupted(patch, 0, Interrupt())
        store.add(kernel(2))
        return len(calls)


@pytest.mark.parametrize("full", [False, True])
def test_interrupted_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    count = steps(tmp_path, monkeypatch)
    assert count > 12
    for at in range(1, count + 1):
        folder = tmp_path / str(at)
        store = Catalogue.open(folder)
        store.add(kernel(1))
        error: BaseException = OSError(errno.ENOSPC, "No space left on device") if full else Interrupt()
        with monkeypatch.context() as patch:
            interrupted(patch, at, error)
            with pytest.raises(KernelFileError if full else Interrupt) as caught:
                store.add(kernel(2))
        if full:
            assert "No space left" in str(caught.value)
        again = Catalogue.open(folder)
        assert not again.notes
        found = {row.id for row in again.rows()}
        assert kernel(1).id in found
        # The last step brings a name to disk that readers see already.
        assert found == {kernel(1).id} or at >= count - 1
        assert again.verify() == []
        again.add(kernel(3))
        assert again.record(kernel(1).id) == kept(kernel(1))
        assert not [name for name in files(again) if name.startswith(".")]
        blobs = sum(path.stat().st_size for path in (folder / "blobs").iterdir())
        assert blobs == sum(row.size for row in again.rows()), "leftovers are gone"


ADDING = """
import sys
from tests.catalogued import kernel
from holdfast.kernels.catalogue import Catalogue
print("ready", flush=True)
for number in map(int, sys.argv[2:]):
    Catalogue.open(sys.argv[1]).add(kernel(number))
    print(number, flush=True)
"""


def adding(folder: Path, *numbers: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", ADDING, str(folder), *map(str, numbers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_killed_at_any_time(tmp_path: Path) -> None:
    chance = random.Random(4)
    folder = tmp_path / "store"
    Catalogue.open(folder).add(kernel(1))
    seen = 0
    for _ in range(12):
        with adding(folder, *range(2, 9)) as child:
            assert child.stdout is not None
            for _ in range(1 + chance.randrange(3)):  # so that a busy machine gets somewhere, too
                child.stdout.readline()
            time.sleep(chance.uniform(0, 0.3))
            child.send_signal(signal.SIGKILL)
        store = Catalogue.open(folder)
        assert not store.notes
        assert store.verify() == []
        numbers = [int(row.release.split(".")[1]) for row in store.rows()]
        assert numbers == list(range(1, len(numbers) + 1)), "in the order in which they were added"
        seen = max(seen, len(numbers))
    assert seen > 1, "every one was killed before it had added anything"


def test_two_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    children = [adding(folder, *numbers) for numbers in ((1, 3, 5), (2, 4, 6))]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0, 0]
    store = Catalogue.open(folder)
    assert [store.record(kernel(number).id) for number in range(1, 7)] == [
        kept(kernel(number)) for number in range(1, 7)
    ]


def test_a_reader_does_not_mind_changes(store: Catalogue) -> None:
    store.add(kernel(1))
    reader = Catalogue.open(store.folder)
    changed = replace(kernel(5), id=kernel(1).id)
    store.add(changed)
    assert reader.record(kernel(1).id) == kept(changed)
    store.remove(kernel(1).id)
    late = Catalogue.open(store.folder)
    assert late.rows() == []


@pytest.fixture
def ordinary() -> Iterator[None]:
    """Not root, who may write everywhere."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, ordinary: None) -> None:
    home = Path("/proc/self/no-such")
    with pytest.raises(KernelFileError, match="cannot be changed"):
        Catalogue.open(home).add(kernel(1))


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to(store: Catalogue, mode: int) -> None:
    store.add(kernel(1))
    assert store.folder is not None
    store.folder.chmod(mode)
    with pytest.raises(KernelFileError, match="others may write") as caught:
        Catalogue.open(store.folder)
    assert "700" in str(caught.value.hint)


def test_a_link_is_not_followed(store: Catalogue, tmp_path: Path) -> None:
    store.add(kernel(1))
    (tmp_path / "link").symlink_to(store.folder or "")
    with pytest.raises(KernelFileError, match="no folder"):
        Catalogue.open(tmp_path / "link")


def test_the_folder_is_the_users_alone(store: Catalogue) -> None:
    store.add(kernel(1))
    assert store.folder is not None
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "holdfast"
    Catalogue.open().add(kernel(1))
    assert (tmp_path / "holdfast/kernels/index.sqlite").exists()
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/x")
    assert data_folder() == Path("/home/x/.local/share/holdfast")
    monkeypatch.delenv("HOME")
    assert data_folder() is None
    assert Catalogue.open().rows() == []
    with pytest.raises(KernelFileError, match="no home"):
        Catalogue.open().add(kernel(1))
