# SPDX-License-Identifier: Apache-2.0
"""One suite of an archive: its Release file, checked, and the indexes that it vouches for.

The chain: a key of this machine signs Release, Release has the SHA-256 of each index, an index that of each
package (apt-secure(8)).
"""

from __future__ import annotations

import email.utils
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.kernels.sources import deb822
from holdfast.kernels.sources.apt import AptConfig, Entry
from holdfast.kernels.sources.deb822 import Digest
from holdfast.kernels.sources.distribution import Distribution
from holdfast.kernels.sources.errors import MissingError, UntrustedError
from holdfast.kernels.sources.signature import (
    Keyrings,
    check_clear,
    check_detached,
    find_keyrings,
    takes_clear,
)
from holdfast.kernels.sources.transfer import Fetcher, quoted

if TYPE_CHECKING:
    import lzma

__all__ = ["Release", "Suite", "open_suite"]

_RELEASE_LIMIT: Final = 16 << 20  # bytes; Debian's largest has 0.3 MB
_INDEX_LIMIT: Final = 256 << 20  # bytes, packed; Debian's largest has 12 MB
_UNPACKED_LIMIT: Final = 1 << 30  # bytes; Debian's largest has 66 MB
_MEMORY_LIMIT: Final = 128 << 20  # bytes that xz may ask for; xz -9 needs 65 MB
_KEEP: Final = 24  # indexes in the cache
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Release:
    """A checked Release file. ``files`` are the digests of indexes by path; ``valid_until`` in seconds since
    1970, None where the archive sets no end."""

    origin: str
    suite: str
    codename: str
    architectures: tuple[str, ...]
    by_hash: bool
    valid_until: float | None
    files: Mapping[str, Digest]


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite, its Release file checked just now; ``notes`` are for the user (a date that passed)."""

    name: str
    distribution: Distribution
    address: str
    release: Release
    fetcher: Fetcher
    folder: Path
    notes: tuple[str, ...] = ()

    def index(self, name: str) -> bytes | None:
        """Return an index such as ``main/binary-amd64/Packages``, unpacked; None where the suite has none.

        The packed file is kept, and fetched again only when the archive has another.
        """
        files = self.release.files
        packed = next((name + end for end in (".xz", ".gz", "") if name + end in files), None)
        if packed is None:
            return None
        digest = files[packed]
        target = self.folder / "indexes" / (digest.sha256 + Path(packed).suffix)
        base = f"{self.address}/dists/{quoted(self.name)}"
        addresses = [f"{base}/{quoted(packed)}"]
        if self.release.by_hash:  # still there while the archive is being updated
            addresses.insert(0, f"{base}/{quoted(packed.rpartition('/')[0])}/by-hash/SHA256/{digest.sha256}")
        for address in addresses:
            try:
                path = self.fetcher.fetch(address, target, digest, limit=_INDEX_LIMIT)
                break
            except MissingError:
                if address == addresses[-1]:
                    raise
        path.touch()
        _prune(path.parent)
        return _unpacked(path, files.get(name))


def open_suite(
    config: AptConfig, distribution: Distribution, entry: Entry, name: str, fetcher: Fetcher, folder: Path
) -> Suite:
    """Fetch and check a suite's Release file.

    Raises :exc:`MissingError` when this archive has no such suite of the distribution, :exc:`UntrustedError`
    when its keys do not vouch for it or its time is over, :exc:`OfflineError` when it does not answer.
    """
    keyrings = find_keyrings(entry, config, distribution)
    fields = deb822.stanza(
        _signed_text(f"{entry.address}/dists/{quoted(name)}", keyrings, fetcher).decode(errors="replace")
    )
    release = _release(fields)
    if release.origin not in distribution.origins:
        raise MissingError(
            f"{name} of {entry.address} is {release.origin or 'nobody'}'s, not {distribution.name}'s"
        )
    # A signed Release of another suite under this name would be an attack by substitution. Ubuntu's name for
    # whatever comes next stands in no Release file.
    if name not in (release.suite, release.codename) and name != "devel":
        raise UntrustedError(f"asked for {name}, the archive gave {release.suite} ({release.codename})")
    if not release.files:
        raise UntrustedError(f"the Release file of {name} has no SHA256 of any index")
    notes: tuple[str, ...] = ()
    if release.valid_until is not None and release.valid_until < time.time():
        ended = f"the Release file of {name} was valid until {fields['valid-until']}"
        if _checks_dates(config, entry):
            raise UntrustedError(
                ended,
                hint="the mirror is stale or the clock wrong; apt's own word is Acquire::Check-Valid-Until",
            )
        notes = (f"{ended}; apt's configuration says not to check that",)
    return Suite(name, distribution, entry.address, release, fetcher, folder, notes)


def _signed_text(base: str, keyrings: Keyrings, fetcher: Fetcher) -> bytes:
    if takes_clear():
        try:
            return check_clear(fetcher.read(f"{base}/InRelease", _RELEASE_LIMIT), keyrings)
        except MissingError:
            pass  # an archive may have the two files alone
    text = fetcher.read(f"{base}/Release", _RELEASE_LIMIT)
    try:
        signature = fetcher.read(f"{base}/Release.gpg", _RELEASE_LIMIT)
    except MissingError:
        raise UntrustedError(f"{base.rpartition('/')[2]} is not signed") from None
    return check_detached(text, signature, keyrings)


def _release(fields: Mapping[str, str]) -> Release:
    return Release(
        origin=fields.get("origin", ""),
        suite=fields.get("suite", ""),
        codename=fields.get("codename", ""),
        architectures=tuple(fields.get("architectures", "").split()),
        by_hash=fields.get("acquire-by-hash", "").lower() == "yes",
        valid_until=_seconds(fields["valid-until"]) if "valid-until" in fields else None,
        files=deb822.checksums(fields.get("sha256", "")),
    )


def _seconds(date: str) -> float:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        raise UntrustedError(f"the Release file's Valid-Until is no date: {date!r}") from None


def _checks_dates(config: AptConfig, entry: Entry) -> bool:
    if entry.check_date is not None:
        return entry.check_date
    return not config.says_no("Acquire::Check-Valid-Until")


def _unpacked(path: Path, expected: Digest | None) -> bytes:
    """The index's text, never more than its Release file says."""
    limit = min(expected.size if expected else _UNPACKED_LIMIT, _UNPACKED_LIMIT)
    if path.suffix == "":
        return path.read_bytes()
    text = bytearray()
    for block in _blocks(path):
        text += block
        if len(text) > limit:
            raise UntrustedError(
                f"an index unpacks to more than the {limit} bytes that its Release file says"
            )
    if expected is not None and len(text) != expected.size:
        raise UntrustedError(
            f"an index unpacks to {len(text)} of the {limit} bytes that its Release file says"
        )
    return bytes(text)


def _blocks(path: Path) -> Iterator[bytes]:
    import lzma

    engine: lzma.LZMADecompressor | zlib._Decompress
    try:
        with path.open("rb") as data:
            if path.suffix == ".xz":
                engine = lzma.LZMADecompressor(memlimit=_MEMORY_LIMIT)
                while not engine.eof:
                    block = data.read(_BLOCK) if engine.needs_input else b""
                    if engine.needs_input and not block:
                        raise EOFError
                    yield engine.decompress(block, _BLOCK)
            else:
                engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
                while not engine.eof:
                    block = engine.unconsumed_tail or data.read(_BLOCK)
                    if not block:
                        raise EOFError
                    yield engine.decompress(block, _BLOCK)
    except (lzma.LZMAError, zlib.error, EOFError):
        raise UntrustedError("an index of the archive is damaged") from None


def _prune(folder: Path) -> None:
    """Drop the indexes that were used longest ago."""
    found = []
    for path in folder.iterdir():
        try:
            found.append((path.stat().st_mtime, path))
        except FileNotFoundError:  # another process prunes too
            continue
    for _, path in sorted(found)[:-_KEEP]:
        path.unlink(missing_ok=True)
