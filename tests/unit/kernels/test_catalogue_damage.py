# SPDX-License-Identifier: Apache-2.0
"""A damaged catalogue says so, is mended where it can be, and never answers with half of something."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.catalogued import kept, kernel

from holdfast.errors import KernelFileError
from holdfast.kernels.catalogue import Catalogue
from holdfast.kernels.record import KernelRecord

RECORDS = {record.id: record for record in map(kernel, (1, 2, 3))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "store"
    store = Catalogue.open(folder)
    for record in RECORDS.values():
        store.add(record)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    shutil.copytree(whole, folder)
    folder.chmod(0o700)
    return folder


def what_is_read(folder: Path) -> tuple[dict[str, KernelRecord], list[str]]:
    """Records that can be read, and what else is said."""
    try:
        store = Catalogue.open(folder)
    except KernelFileError as error:
        return {}, [str(error)]
    found, said = {}, [*store.notes, *store.verify()]
    for row in store.rows():
        try:
            found[row.id] = store.record(row.id)
        except KernelFileError as error:
            said.append(str(error))
    return found, said


def right_or_said(folder: Path) -> int:
    """How many kernels can be read. What is read is right, and what is missing is not missing in silence."""
    found, said = what_is_read(folder)
    for kernel_id, record in found.items():
        assert record == kept(RECORDS[kernel_id])
    assert len(found) == len(RECORDS) or said
    assert all("\n" not in line for line in said)
    return len(found)


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def test_flipped_bits(whole: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    for path in everything(whole):
        for number in range(6):
            folder = tmp_path / f"{path.name}-{number}"
            shutil.copytree(whole, folder)
            folder.chmod(0o700)
            victim = folder / path.relative_to(whole)
            content = bytearray(victim.read_bytes())
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            victim.write_bytes(content)
            right_or_said(folder)
            shutil.rmtree(folder)


def test_cut_off_and_missing_files(whole: Path, tmp_path: Path) -> None:
    for path in everything(whole):
        for size in (None, 0, path.stat().st_size // 2, path.stat().st_size - 1):
            folder = tmp_path / f"{path.name}-{size}"
            shutil.copytree(whole, folder)
            folder.chmod(0o700)
            victim = folder / path.relative_to(whole)
            if size is None:
                victim.unlink()
            else:
                victim.write_bytes(victim.read_bytes()[:size])
            assert right_or_said(folder) >= (len(RECORDS) if path.name == "index.sqlite" else 0)
            shutil.rmtree(folder)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "row changed", "row gone"])
def test_a_damaged_index_is_made_again(copy: Path, damage: str) -> None:
    path = copy / "index.sqlite"
    if damage == "missing":
        path.unlink()
    elif damage in ("empty", "text"):
        path.write_text("" if damage == "empty" else "no database at all")
    else:
        change = {
            "row changed": "UPDATE kernels SET release = '6.9' WHERE id LIKE '%6.1%'",
            "row gone": "DELETE FROM kernels WHERE id LIKE '%6.1%'",
        }
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(change[damage])
    store = Catalogue.open(copy)
    assert len(store.notes) == 1
    assert "made again from 3 manifests" in store.notes[0]
    assert {row.id: store.record(row.id) for row in store.rows()} == {
        one: kept(record) for one, record in RECORDS.items()
    }
    assert not Catalogue.open(copy).notes, "it is mended"


def test_a_replaced_kernel_does_not_come_back(copy: Path) -> None:
    """Whoever is interrupted before the sweep leaves two manifests with one id: the newer one counts."""
    old = {path.name: path.read_bytes() for path in (copy / "blobs").iterdir()}
    store = Catalogue.open(copy)
    store.put_probes(kernel(1).id, kernel(1, probes=True).probes or pytest.fail("no probes"))
    for name, content in old.items():
        (copy / "blobs" / name).write_bytes(content)
    (copy / "index.sqlite").unlink()
    again = Catalogue.open(copy)
    assert again.record(kernel(1).id) == kept(kernel(1, probes=True))
    assert "made again from 3 manifests" in again.notes[0]


def test_another_format_is_refused(copy: Path) -> None:
    with closing(sqlite3.connect(copy / "index.sqlite")) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(KernelFileError, match=r"catalogue of format 9, and this Holdfast reads format 1"):
        Catalogue.open(copy)


def test_no_manifest_is_left(copy: Path) -> None:
    (copy / "index.sqlite").write_text("x")
    for path in (copy / "blobs").glob("*.kernel"):
        path.write_text("x")
    with pytest.raises(KernelFileError, match="no manifest is left"):
        Catalogue.open(copy)


def test_a_damaged_kernel_can_be_removed_and_added_again(copy: Path) -> None:
    for path in (copy / "blobs").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    store = Catalogue.open(copy)
    assert len(store.verify()) == 3
    with pytest.raises(KernelFileError, match=r"6\.1\.0-amd64") as caught:
        store.record(kernel(1).id)
    assert "remove debian/6.1.0-amd64 and add it again" in str(caught.value.hint)
    for record in RECORDS.values():
        store.remove(record.id)
    for record in RECORDS.values():
        store.add(record)
    assert what_is_read(copy) == ({one: kept(record) for one, record in RECORDS.items()}, [])


@pytest.mark.parametrize("name", ["segment", "manifest", "vmlinux", "texts"])
def test_adding_goes_on_beside_damage(copy: Path, name: str) -> None:
    store = Catalogue.open(copy)
    row = next(row for row in store.rows() if row.id == kernel(2).id)
    manifest = store._manifest(row.id)
    victim = {
        "segment": manifest.segments[-1],
        "manifest": row.manifest,
        "vmlinux": manifest.chains["vmlinux"][0],
        "texts": manifest.chains["texts"][0],
    }[name]
    (copy / "blobs" / victim).write_bytes(b"damaged")
    store = Catalogue.open(copy)
    store.add(kernel(4))
    assert store.record(kernel(4).id) == kept(kernel(4))
    assert store.record(kernel(1).id) == kept(kernel(1))
    with pytest.raises(KernelFileError):
        store.record(kernel(2).id)


def test_what_is_put_again_heals(copy: Path) -> None:
    store = Catalogue.open(copy)
    manifest = store._manifest(kernel(3).id)
    (copy / "blobs" / manifest.chains["texts"][0]).write_bytes(b"damaged")
    with pytest.raises(KernelFileError):
        Catalogue.open(copy).record(kernel(3).id)
    again = Catalogue.open(copy)
    again.add(kernel(3))
    assert Catalogue.open(copy).record(kernel(3).id) == kept(kernel(3))


def test_damage_that_facts_meet_later(copy: Path) -> None:
    store = Catalogue.open(copy)
    manifest = store._manifest(kernel(1).id)
    facts = store.facts(kernel(1).id)
    (copy / "blobs" / manifest.chains["symbols"][0]).write_bytes(b"damaged")
    with pytest.raises(KernelFileError, match="checksum"):
        facts.symbol("twice")


def test_a_read_only_catalogue_is_read_and_not_mended(copy: Path) -> None:
    (copy / "index.sqlite").write_text("x")
    store = Catalogue(copy, read_only=True)
    store._load()
    assert store.record(kernel(1).id) == kept(kernel(1))
    assert (copy / "index.sqlite").read_text() == "x"
    with pytest.raises(KernelFileError, match="read-only"):
        store.add(kernel(4))
