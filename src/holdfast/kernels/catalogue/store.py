# SPDX-License-Identifier: Apache-2.0
"""A catalogue of kernels in a folder: an index, and files named after their content.

Everything that a change brings is on disk before the index that speaks of it takes the old one's place, and
what no index speaks of is dropped by the next change. So whoever is interrupted, at whatever point, leaves
the old state behind, or the new one. Changes take turns (a lock on a file); reading needs no lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.errors import KernelFileError, UsageError
from holdfast.kernels.cache import Cache
from holdfast.kernels.catalogue import index
from holdfast.kernels.catalogue.blobs import MANIFEST, Blobs, own_folder
from holdfast.kernels.catalogue.index import ForeignError, KernelRow
from holdfast.kernels.catalogue.manifest import Manifest
from holdfast.kernels.catalogue.parts import QUICK, SMALL, DamagedError
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.probed import ProbeFacts
from holdfast.kernels.record import KernelRecord

if TYPE_CHECKING:
    from holdfast.kernels.catalogue.chain import Lists
    from holdfast.kernels.catalogue.decode import KernelReader
    from holdfast.kernels.catalogue.encode import Neighbour
    from holdfast.kernels.catalogue.pool import Pool

__all__ = ["Catalogue", "data_folder"]

_DEEPEST: Final = 10  # kernels of a chain; each costs some milliseconds when the last is put together
_MOST_LISTS: Final = 64  # of chains, 2 MB each, kept while several kernels are put together
_Result = TypeVar("_Result")


def data_folder() -> Path | None:
    """``$XDG_DATA_HOME/holdfast`` or ``~/.local/share/holdfast``; None where there is no home."""
    named = os.environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification says to ignore a relative path.
    if named.startswith("/"):
        return Path(named) / "holdfast"
    home = os.environ.get("HOME", "")
    return Path(home) / ".local/share/holdfast" if home.startswith("/") else None


class Catalogue:
    """Kernels in a folder. :meth:`open` and :meth:`builtin` make one.

    ``notes`` says what was found damaged and has been mended, or what is lost.
    """

    def __init__(self, folder: Path | None, *, read_only: bool = False) -> None:
        self.folder = folder
        self.read_only = read_only or folder is None
        self.notes: tuple[str, ...] = ()
        self._blobs = Blobs(folder / "blobs") if folder else Blobs(Path("/nonexistent"))
        self._rows: dict[str, KernelRow] = {}
        self._manifests: dict[str, Manifest] = {}
        self._pools: dict[tuple[str, ...], Pool] = {}
        self._lists: dict[str, Lists] = {}
        self._last: KernelReader | None = None  # it has what was put together, for one kernel at a time

    @classmethod
    def open(cls, path: str | Path | None = None) -> Catalogue:
        """The user's catalogue, or the one in ``path``; empty where there is none yet.

        A damaged index is made again from the manifests, which ``notes`` says. Raises
        :exc:`~holdfast.errors.KernelFileError` for a folder that others may write to, for a catalogue of
        another format, and for one that is damaged beyond that.
        """
        folder = Path(path) if path is not None else data_folder()
        store = cls(folder / "kernels" if folder is not None and path is None else folder)
        if store.folder is not None and store.folder.exists():
            own_folder(store.folder)
            store._load()
            if store.notes:
                store._mend()
        return store

    @classmethod
    def builtin(cls) -> Catalogue:
        """The catalogue that came with Holdfast; read-only, empty where it was left out."""
        # importlib.resources, which could read it out of a zip file as well, costs as much as opening it
        store = cls(Path(__file__).parents[2] / "_catalogue", read_only=True)
        if store.folder is not None and (store.folder / index.FILE).exists():
            store._load()
        return store

    # -- the index -----------------------------------------------------------------------------------

    def _load(self) -> None:
        assert self.folder is not None
        try:
            rows = index.read(self.folder)
        except FileNotFoundError:
            begun = any(name.endswith(MANIFEST) for name in self._blobs.names())
            rows = self._again("the index is missing") if begun else []
        except ForeignError as error:
            raise self._refusal(
                f"it is a catalogue of {error}, and this Holdfast reads format 1",
                "use the Holdfast that made it, or name another folder in XDG_DATA_HOME",
            ) from error
        except DamagedError as error:
            rows = self._again(str(error))
        self._rows = {row.id: row for row in rows}

    def _again(self, problem: str) -> list[KernelRow]:
        """The rows by the manifests, of an index that is damaged; written where that can be."""
        newest: dict[str, tuple[int, KernelRow]] = {}
        lost = 0
        there = set(self._blobs.names())
        for name in there:
            if not name.endswith(MANIFEST):
                continue
            try:
                manifest = Manifest.from_bytes(self._blobs.get(name))
            except DamagedError:
                lost += 1
                continue
            complete = there.issuperset(manifest.blobs())
            if complete and newest.get(manifest.id, (-1,))[0] < manifest.serial:
                newest[manifest.id] = manifest.serial, _row(manifest, name, self._blobs)
        rows = [row for _, row in newest.values()]
        if not rows:
            raise self._refusal(
                f"{problem}, and no manifest is left to make it again from",
                "install Holdfast again" if self.read_only else "remove the folder and add the kernels again",
            )
        self.notes = (f"{self.folder}: {problem}; made again from {len(rows)} manifests",)
        if lost:
            self.notes += (f"{self.folder}: {lost} manifests are damaged: kernels are missing",)
        return rows

    def _mend(self) -> None:
        """Write the index that was made again. A folder that cannot be written to stays as it is."""
        notes = self.notes
        try:
            with self._changing() as folder:
                index.write(folder, self._rows.values())
        except KernelFileError:
            pass  # what is there can be read all the same
        self.notes = self.notes or notes  # somebody else may have been faster

    def _refusal(self, problem: str, hint: str) -> KernelFileError:
        return KernelFileError(str(self.folder), problem, hint=hint)

    def _unknown(self, kernel: str) -> UsageError:
        return UsageError(f"no kernel {kernel!r} in {self.folder}", hint="holdfast kernels list shows them")

    def rows(self) -> list[KernelRow]:
        """All kernels, by id."""
        return [self._rows[one] for one in sorted(self._rows)]

    def __contains__(self, kernel: str) -> bool:
        return kernel in self._rows

    # -- one kernel ----------------------------------------------------------------------------------

    def _manifest(self, kernel: str) -> Manifest:
        row = self._rows.get(kernel)
        if row is None:
            raise self._unknown(kernel)
        if row.manifest not in self._manifests:
            with self._reading(kernel):
                manifest = Manifest.from_bytes(self._blobs.get(row.manifest))
                if _row(manifest, row.manifest, self._blobs) != row:
                    raise DamagedError("its manifest is another kernel's")
                self._manifests[row.manifest] = manifest
        return self._manifests[row.manifest]

    @contextmanager
    def _reading(self, kernel: str) -> Iterator[None]:
        try:
            yield
        except (DamagedError, ValueError, IndexError, OverflowError, MemoryError) as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            hint = "install Holdfast again" if self.read_only else f"remove {kernel} and add it again"
            raise KernelFileError(str(self.folder), problem, place=kernel, hint=hint) from error

    def _pool(self, segments: tuple[str, ...]) -> Pool:
        """The pool of these segments, or of these and more after them."""
        from holdfast.kernels.catalogue.pool import Pool

        for known, pool in self._pools.items():
            if known[: len(segments)] == segments:
                return pool
        pool = Pool()
        for name in segments:
            pool.extend(self._blobs.get(name))
        self._pools = {known: one for known, one in self._pools.items() if segments[: len(known)] != known}
        self._pools[segments] = pool
        return pool

    def _reader(self, kernel: str) -> KernelReader:
        from holdfast.kernels.catalogue.decode import KernelReader

        manifest = self._manifest(kernel)
        if self._last is None or self._last.manifest is not manifest:
            if len(self._lists) > _MOST_LISTS:
                self._lists.clear()
            self._last = KernelReader(
                manifest, self._blobs.get, lambda: self._pool(manifest.segments), self._lists
            )
        return self._last

    def record(self, kernel: str) -> KernelRecord:
        """All that is kept of a kernel. Of its symbols that is their names, sorted.

        Raises :exc:`~holdfast.errors.UsageError` for an id that is not in, and
        :exc:`~holdfast.errors.KernelFileError` for a kernel that is damaged.
        """
        return self._again_if_changed(kernel, lambda: self._record(kernel))

    def _record(self, kernel: str) -> KernelRecord:
        manifest = self._manifest(kernel)
        with self._reading(kernel):
            return replace(self._reader(kernel).record(), probes=self._probes(manifest))

    def _again_if_changed(self, kernel: str, read: Callable[[], _Result]) -> _Result:
        """Read without a lock: once more, where somebody put another in the kernel's place meanwhile."""
        try:
            return read()
        except KernelFileError:
            before = self._rows.get(kernel)
            if self.read_only:
                raise
            self._load()
            if self._rows.get(kernel) == before:
                raise
            return read()

    def facts(self, kernel: str, *, cache: Cache | None = None) -> KernelFacts:
        """Facts of a kernel. What lookups need is kept in ``cache``, if given.

        Raises what :meth:`record` raises; later, too, for what is read when it is first asked for.
        """
        return self._again_if_changed(kernel, lambda: self._facts(kernel, cache or Cache(None)))

    def _facts(self, kernel: str, cache: Cache) -> KernelFacts:
        from holdfast.kernels.catalogue.lazy import facts_of

        manifest = self._manifest(kernel)
        with self._reading(kernel):
            return facts_of(
                manifest,
                cache,
                lambda: self._reader(kernel),
                lambda: self._reading(kernel),
                self._probes(manifest),
            )

    def _probes(self, manifest: Manifest) -> ProbeFacts | None:
        from holdfast.kernels.catalogue.answers import read_answers

        return None if manifest.probes is None else read_answers(self._blobs.get(manifest.probes))

    def verify(self) -> list[str]:
        """Read everything; one line for each thing that is damaged, none where all is well."""
        problems = []
        for kernel in sorted(self._rows):
            try:
                manifest = self._manifest(kernel)
                with self._reading(kernel):
                    for name in manifest.blobs():
                        self._blobs.get(name)
                self.record(kernel)
            except KernelFileError as error:
                problems.append(str(error))
        return problems

    # -- changes -------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[Path]:
        """Alone with the folder, the index read anew; leftovers of those who were interrupted are dropped."""
        if self.read_only or self.folder is None:
            problem = "there is no home folder" if self.folder is None else "it is read-only"
            raise KernelFileError(
                str(self.folder or "catalogue"), problem, hint="name a folder of yours in XDG_DATA_HOME"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            own_folder(self.folder)
            (self.folder / "blobs").mkdir(exist_ok=True, mode=0o700)
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._load()
                self._sweep()
                if not self._rows:  # so that one that is missing is one that was lost
                    index.write(self.folder, [])
                yield self.folder
            finally:
                os.close(fd)
        except OSError as error:
            hint = "it needs room and must be yours to write to"
            if error.errno == errno.ENOSPC:
                hint = "free some space on that disk, or name another folder in XDG_DATA_HOME"
            problem = f"cannot be changed: {error.strerror or error}"
            raise KernelFileError(str(self.folder), problem, hint=hint) from error

    def _readable(self) -> list[Manifest]:
        """Manifests of all kernels, the oldest first; those that are damaged are left out."""
        found = []
        for kernel in self._rows:
            try:
                found.append(self._manifest(kernel))
            except KernelFileError:
                pass  # whoever asks for that kernel is told
        return sorted(found, key=lambda manifest: manifest.serial)

    def _sweep(self) -> None:
        manifests = self._readable()
        if len(manifests) < len(self._rows):
            return  # nobody knows what the others need
        used = {row.manifest for row in self._rows.values()}
        self._blobs.sweep(frozenset(used.union(*(manifest.blobs() for manifest in manifests))))

    def _commit(self, folder: Path, rows: Mapping[str, KernelRow]) -> None:
        index.write(folder, rows.values())
        self._rows = dict(rows)
        self._sweep()

    def _serial(self) -> int:
        return 1 + max((manifest.serial for manifest in self._readable()), default=0)

    def add(self, record: KernelRecord, *, small: bool = False) -> KernelRow:
        """Keep a kernel, in the place of one with the same id.

        Takes some seconds; ``small`` takes some more, to save a tenth of the room. Atomic: on disk when this
        returns, and until then as if nothing had happened, whatever interrupts it. Raises
        :exc:`~holdfast.errors.KernelFileError`.
        """
        from holdfast.kernels.catalogue.encode import encoded

        with self._changing() as folder, self._reading(record.id):
            segments, pool = self._trunk()
            level = SMALL if small else QUICK
            new = encoded(record, pool, self._neighbours(record.id, segments, pool), level)
            size = 0
            if new.segment is not None:
                name, fresh = self._blobs.put(new.segment)
                segments += (name,)
                size += fresh * len(new.segment)
            chains = {}
            for part, blob in new.parts.items():
                name, fresh = self._blobs.put(blob)
                tail = self._manifest(new.like).chains[part] if new.like is not None else ()
                chains[part] = (name, *tail)
                size += fresh * len(blob)
            manifest = Manifest(
                serial=self._serial(),
                id=record.id,
                release=record.release,
                arch=record.arch,
                source=record.source,
                upstream=record.upstream,
                package=record.package,
                segments=segments,
                chains=chains,
                digests=new.digests,
                size=size,
                has_symbols=record.symbols is not None,
            )
            if record.probes is not None:
                manifest = self._with_probes(manifest, record.probes)
            return self._put(folder, manifest)

    def _put(self, folder: Path, manifest: Manifest) -> KernelRow:
        name, _ = self._blobs.put(manifest.to_bytes(), MANIFEST)
        row = _row(manifest, name, self._blobs)
        self._commit(folder, {**self._rows, row.id: row})
        return row

    def _trunk(self) -> tuple[tuple[str, ...], Pool]:
        """The longest list of segments that can be read, and a pool of its own with them, to grow.

        Each kernel's list goes on from the longest that there was, so it has all of the store, unless there
        is damage.
        """
        from holdfast.kernels.catalogue.pool import Pool

        self._pools.clear()  # there is memory for one of them
        for manifest in sorted(
            self._readable(), key=lambda one: (len(one.segments), one.serial), reverse=True
        ):
            pool = Pool()
            try:
                for name in manifest.segments:
                    pool.extend(self._blobs.get(name))
                pool.joined()
            except DamagedError:
                continue
            return manifest.segments, pool
        return (), Pool()

    def _neighbours(self, but: str, segments: tuple[str, ...], pool: Pool) -> Iterator[Neighbour]:
        """Kernels that a new one may be told by: their numbers mean the same in its pool."""
        from holdfast.kernels.catalogue.decode import KernelReader
        from holdfast.kernels.catalogue.encode import Neighbour

        for manifest in self._readable():
            known = segments[: len(manifest.segments)] == manifest.segments
            deep = max(map(len, manifest.chains.values())) >= _DEEPEST
            if manifest.id == but or deep or not known:
                continue
            reader = KernelReader(manifest, self._blobs.get, lambda: pool, self._lists)
            yield Neighbour(manifest.id, reader.part)

    def remove(self, kernel: str) -> None:
        """Forget a kernel. What other kernels have in common with it stays.

        Raises :exc:`~holdfast.errors.UsageError` for an id that is not in.
        """
        with self._changing() as folder:
            if kernel not in self._rows:
                raise self._unknown(kernel)
            self._commit(folder, {one: row for one, row in self._rows.items() if one != kernel})

    def put_probes(self, kernel: str, probes: ProbeFacts) -> KernelRow:
        """Keep what a kernel said when it was asked, in the place of what it said before."""
        with self._changing() as folder, self._reading(kernel):
            manifest = replace(self._manifest(kernel), serial=self._serial())
            return self._put(folder, self._with_probes(manifest, probes))

    def _with_probes(self, manifest: Manifest, probes: ProbeFacts) -> Manifest:
        from holdfast.kernels.catalogue.answers import pack_answers

        blob = pack_answers(probes)
        name, _ = self._blobs.put(blob)
        old = 0 if manifest.probes is None else self._blobs.size(manifest.probes)
        return replace(manifest, probes=name, size=manifest.size - old + len(blob))


def _row(manifest: Manifest, name: str, blobs: Blobs) -> KernelRow:
    package = f"{manifest.package.name} {manifest.package.version}" if manifest.package else ""
    return KernelRow(
        manifest.id,
        manifest.release,
        manifest.arch,
        manifest.source,
        package,
        manifest.probes is not None,
        manifest.size + blobs.size(name),
        name,
    )
