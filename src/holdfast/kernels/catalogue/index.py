# SPDX-License-Identifier: Apache-2.0
"""The index of a store: a small SQLite file with one row for each kernel.

It is never changed in place: a new one is written aside and renamed, so a reader has the old one or the new
one, without locks, journals or write access. A digest over all rows shows damage that SQLite does not see.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, fields
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import Final
from urllib.parse import quote

from holdfast.kernels.catalogue.blobs import sync_folder
from holdfast.kernels.catalogue.manifest import FORMAT
from holdfast.kernels.catalogue.parts import DamagedError

__all__ = ["FILE", "ForeignError", "KernelRow", "read", "write"]

FILE: Final = "index.sqlite"
_APPLICATION: Final = 0x486F6C64  # "Hold", PRAGMA application_id
_NEW: Final = ".index-new"


class ForeignError(Exception):
    """An index of another format; the text says which."""


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel of a catalogue. ``package`` is its name and version, "" where it came from none; ``size``
    what it brought onto the disk, in bytes; ``manifest`` the blob that says where the rest is.
    """

    id: str
    release: str
    arch: str
    source: str
    package: str
    has_probes: bool
    size: int
    manifest: str


_COLUMNS: Final = tuple(one.name for one in fields(KernelRow))
_PROBES: Final = _COLUMNS.index("has_probes")  # a number to SQLite
_values: Final[Callable[[KernelRow], tuple[str | int, ...]]] = attrgetter(*_COLUMNS)


def read(folder: Path) -> list[KernelRow]:
    """All rows, by id. Raises :exc:`DamagedError`, :exc:`ForeignError`, :exc:`FileNotFoundError`."""
    path = folder / FILE
    if not path.exists():
        raise FileNotFoundError(str(path))
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as db:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if application == _APPLICATION and version != FORMAT:
                raise ForeignError(f"format {version}")
            if application != _APPLICATION:
                raise DamagedError("it is no index of a catalogue")
            rows = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM kernels ORDER BY id").fetchall()
            [(digest,)] = db.execute("SELECT digest FROM whole").fetchall()
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise DamagedError(f"the index cannot be read: {error}") from error
    found = [KernelRow(*(*row[:_PROBES], bool(row[_PROBES]), *row[_PROBES + 1 :])) for row in rows]
    if _digest(found) != digest:
        raise DamagedError("the index is not what was written: its checksum differs")
    return found


def write(folder: Path, rows: Iterable[KernelRow]) -> None:
    """Put an index with these rows in the place of the one that is there. Raises :exc:`OSError`."""
    ordered = sorted(rows, key=lambda row: row.id)
    aside = folder / _NEW
    aside.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(aside, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA page_size = 4096")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute("BEGIN")
            db.execute(
                "CREATE TABLE kernels (id TEXT PRIMARY KEY, release TEXT NOT NULL, arch TEXT NOT NULL, "
                "source TEXT NOT NULL, package TEXT NOT NULL, has_probes INTEGER NOT NULL, "
                "size INTEGER NOT NULL, manifest TEXT NOT NULL) WITHOUT ROWID"
            )
            db.execute("CREATE TABLE whole (digest TEXT NOT NULL)")
            db.executemany("INSERT INTO kernels VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_values, ordered))
            db.execute("INSERT INTO whole VALUES (?)", (_digest(ordered),))
            db.execute("COMMIT")
        fd = os.open(aside, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fchmod(fd, 0o644)
            os.fsync(fd)
        finally:
            os.close(fd)
        aside.replace(folder / FILE)
    except sqlite3.Error as error:
        aside.unlink(missing_ok=True)
        raise OSError(getattr(error, "sqlite_errorcode", 0), str(error)) from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(folder)


def _digest(rows: Iterable[KernelRow]) -> str:
    state = blake2b(digest_size=16)
    for row in rows:
        state.update(repr(_values(row)).encode("utf-8", "surrogateescape"))
    return state.hexdigest()
