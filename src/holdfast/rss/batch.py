# SPDX-License-Identifier: Apache-2.0
"""The hashes of many tuples, or frames, at once: table look-ups by numpy.

For whoever has a burst of packets and no BPF to ask. One frame is cheaper with
:class:`~holdfast.rss.fallback.Steering`, and numpy is imported when a :class:`Batch` is made.

In numpy and not in C: on one core it beats a scalar set-bit Toeplitz in C, for tuples seven times, for frames
in and headers out as well (bench/rss_batch.py), and it works where no compiler is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from holdfast.errors import UsageError
from holdfast.rss.parse import hash_input
from holdfast.rss.terms import ALL_TYPES, HashType, TunnelType
from holdfast.rss.toeplitz import INPUT_BYTES, KEY_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Hashes = NDArray[np.uint32]

__all__ = ["HEADER_BYTES", "Batch"]

HEADER_BYTES: Final = 20
"""Bytes of ``struct virtio_net_hdr_v1_hash``."""

_CHUNK: Final = 4096  # tuples at once: their bytes, as indices, stay in the second level cache
_WIDE: Final = 6  # the first 12 bytes are looked up two at a time (1.5 MB of tables), the rest one at a time
_HEAD: Final = {4: 38, 6: 58}  # bytes of Ethernet, IP and ports, by the version of IP
_ROW: Final = 64  # bytes of a frame that are looked at, or so: what is parsed at once, in words of 8


def _word(digits: str) -> int:
    return int.from_bytes(bytes.fromhex(digits), "little")


@dataclass(frozen=True, slots=True)
class _Family:
    """What a plain frame is: its bytes 8 to 15 and 16 to 23 under masks, its length, and what is hashed."""

    version: int
    mask: int
    value: int
    carried_mask: int  # of the protocol, and of what no fragment has
    carried_at: int  # its bit
    kinds: tuple[tuple[HashType, int], ...]  # with the protocol's number; TCP first
    length_at: int
    least: int
    begin: int
    end: int


_FAMILIES: Final = (
    _Family(
        4,
        _word("00000000 ffff ff 00"),
        _word("00000000 0800 45 00"),
        _word("00000000 3fff 00 ff"),
        56,
        ((HashType.TCPv4, 6), (HashType.UDPv4, 17)),
        16,
        24,
        26,
        38,
    ),
    _Family(
        6,
        _word("00000000 ffff f0 00"),
        _word("00000000 86dd 60 00"),
        _word("00000000 ff 000000"),
        32,
        ((HashType.TCPv6, 6), (HashType.UDPv6, 17)),
        18,
        4,
        22,
        58,
    ),
)


@dataclass(frozen=True, slots=True)
class _Slots:
    """Frames in slots, as a sequence."""

    rows: NDArray[np.uint8]
    sizes: NDArray[np.intp]

    def __getitem__(self, number: int) -> bytes:
        return self.rows[number, : self.sizes[number]].tobytes()


class Batch:
    """A key made ready for hashing many tuples; not for several threads at once."""

    def __init__(
        self, key: bytes, types: HashType = ALL_TYPES, tunnel_types: TunnelType = TunnelType.NONE
    ) -> None:
        """``key`` has 40 bytes or more, of which 40 count. Raises :class:`~holdfast.errors.UsageError`."""
        import numpy as np

        if len(key) < KEY_BYTES:
            raise UsageError(f"RSS key of {len(key)} bytes", hint="give 40 bytes or more")
        self.types, self.tunnel_types = types, tunnel_types
        self._np = np
        whole = int.from_bytes(key[:KEY_BYTES], "big")
        bits = 8 * INPUT_BYTES
        windows = np.array([whole >> (bits - at) & 0xFFFFFFFF for at in range(bits)], np.uint32)
        self._wide = [self._row(windows[at : at + 16]) for at in range(0, 16 * _WIDE, 16)]
        if sys.byteorder == "little":
            # By the number that two bytes are here, not in network order.
            self._wide = [row.reshape(256, 256).T.ravel() for row in self._wide]
        self._bytes = [self._row(windows[at : at + 8]) for at in range(0, bits, 8)]
        self._room = bytearray(_CHUNK * _ROW)
        self._rows = np.frombuffer(self._room, np.uint8).reshape(_CHUNK, _ROW)
        self._packers: dict[int, Struct] = {}

    def _row(self, windows: NDArray[np.uint32]) -> NDArray[np.uint32]:
        np = self._np
        row: _Hashes = np.zeros(1, np.uint32)
        for window in windows[::-1]:
            row = np.concatenate([row, row ^ window])
        return row

    def hashes(self, tuples: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Returns the hash of each row: at most 36 bytes, in the specification's order, in network order.

        Raises :class:`~holdfast.errors.UsageError` for another shape.
        """
        np = self._np
        if tuples.ndim != 2 or tuples.dtype != np.uint8 or tuples.shape[1] > INPUT_BYTES:
            raise UsageError("tuples to hash are rows of at most 36 bytes", hint="give an array of uint8")
        count, size = tuples.shape
        out: _Hashes = np.empty(count, np.uint32)
        for at in range(0, count, _CHUNK):
            part = tuples[at : at + _CHUNK]
            if size % 2:
                part = np.pad(part, ((0, 0), (0, 1)))
            out[at : at + _CHUNK] = self._hashes(np.ascontiguousarray(part), 0, size)
        return out

    def _hashes(self, rows: NDArray[np.uint8], begin: int, end: int) -> NDArray[np.uint32]:
        # Of the bytes begin to end of each row; rows are contiguous, begin and a row's size are even.
        np = self._np
        wide = begin + 2 * min(_WIDE, (end - begin) // 2)
        total: _Hashes = np.zeros(len(rows), np.uint32)
        pairs = rows.view(np.uint16)[:, begin // 2 : wide // 2].T.astype(np.intp, order="C")
        for row, index in zip(self._wide, pairs, strict=False):
            total ^= row[index]
        rest = rows[:, wide:end].T.astype(np.intp, order="C")
        for row, index in zip(self._bytes[wide - begin :], rest, strict=False):
            total ^= row[index]
        return total

    def classify(self, frames: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Returns the hash of each Ethernet frame, 0 where it is not hashed, and its HashReport."""
        np = self._np
        values, reports = np.zeros(len(frames), np.uint32), np.zeros(len(frames), np.uint8)
        for at in range(0, len(frames), _CHUNK):
            part = frames[at : at + _CHUNK]
            rows = self._packed(part)
            # To ask each for its length would cost more than to pack it, and what is not 0 at the end is no
            # filling. Where it is 0, the frame is looked at by itself.
            words = rows.view("<u8")
            six = words[:, 7] >> np.uint64(8)
            four = words[:, 4] >> np.uint64(40) | words[:, 5] | words[:, 6] | words[:, 7]
            whole = {4: four != 0, 6: six != 0}
            self._classify(rows, whole, part, values[at : at + _CHUNK], reports[at : at + _CHUNK])
        return values, reports

    def _packed(self, frames: Sequence[bytes]) -> NDArray[np.uint8]:
        # Each is cut, or filled up with zeros. By struct, which does that in a sixth of the time that numpy
        # takes for a list of bytes (2.4); formats are kept, so there are few of them.
        room = 1 << (len(frames) - 1).bit_length()
        if room not in self._packers:
            self._packers[room] = Struct(f"{_ROW}s" * room)
        self._packers[room].pack_into(self._room, 0, *frames, *(b"",) * (room - len(frames)))
        return self._rows[: len(frames)]

    def classify_rows(
        self, rows: NDArray[np.uint8], sizes: NDArray[np.intp]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Returns what :meth:`classify` does, of frames in an array of slots of 58 bytes or more.

        A row is a frame's slot, ``sizes`` the bytes of it that are the frame's: how a ring of receive
        buffers looks. Nothing is done for each frame in Python, save for those with extension headers,
        options, tags, tunnels or fragments.

        Raises :class:`~holdfast.errors.UsageError` for another shape.
        """
        np = self._np
        if rows.ndim != 2 or rows.dtype != np.uint8 or rows.shape[1] < _HEAD[6] or len(sizes) != len(rows):
            raise UsageError("frames to hash are rows of 58 bytes or more, each with its size")
        values, reports = np.zeros(len(rows), np.uint32), np.zeros(len(rows), np.uint8)
        wide = min(_ROW, rows.shape[1])
        for at in range(0, len(rows), _CHUNK):
            part, length = rows[at : at + _CHUNK], sizes[at : at + _CHUNK]
            whole = {version: length >= least for version, least in _HEAD.items()}
            frames = _Slots(part, length)
            rows_here = self._rows[: len(part)]
            rows_here[:, :wide] = part[:, :wide]
            self._classify(rows_here, whole, frames, values[at : at + _CHUNK], reports[at : at + _CHUNK])
        return values, reports

    def _classify(
        self,
        rows: NDArray[np.uint8],
        whole: Mapping[int, NDArray[np.bool_]],
        frames: Sequence[bytes] | _Slots,
        values: NDArray[np.uint32],
        reports: NDArray[np.uint8],
    ) -> None:
        np = self._np
        left = np.ones(len(rows), np.bool_)
        for kind, chosen, begin, end in self._plain(rows, whole):
            if chosen.all():
                values[:], reports[:] = self._hashes(rows, begin, end), kind.report
                return
            numbers = np.flatnonzero(chosen)
            values[numbers] = self._hashes(rows[numbers], begin, end)
            reports[numbers] = kind.report
            left &= ~chosen
        for number in np.flatnonzero(left):
            found, data = hash_input(frames[number], self.types, self.tunnel_types)
            if found:
                values[number] = self.hashes(np.frombuffer(data, np.uint8)[None, :])[0]
                reports[number] = found.report

    def _plain(
        self, rows: NDArray[np.uint8], whole: Mapping[int, NDArray[np.bool_]]
    ) -> Iterator[tuple[HashType, NDArray[np.bool_], int, int]]:
        # The frames that bundles/net/rss/fast.h takes, by the same conditions: type, which, and where the
        # bytes to hash are. ``whole`` tells of which frames a version's addresses and ports are there.
        np = self._np
        words = rows.view("<u8")
        first, second = words[:, 1], words[:, 2]
        for one in _FAMILIES:
            # UDP may carry a tunnel.
            kinds = one.kinds[:1] if self.tunnel_types else one.kinds
            ours = first & np.uint64(one.mask) == np.uint64(one.value)
            if not ours.any():
                continue
            length = rows.view(">u2")[:, one.length_at // 2].astype(np.uint16)
            # 0 is taken for a length that is not known.
            ours &= whole[one.version] & (length - np.uint16(1) >= np.uint16(one.least - 1))
            carried = second & np.uint64(one.carried_mask)
            for kind, number in kinds:
                if kind & self.types:
                    chosen = ours & (carried == np.uint64(number << one.carried_at))
                    yield kind, chosen, one.begin, one.end

    def headers(self, frames: Sequence[bytes]) -> bytes:
        """Returns a ``virtio_net_hdr_v1_hash`` (20 bytes) for each frame, one behind the other.

        All members but hash_value and hash_report are 0 (virtio 1.3, 5.1.6.4: no checksum, no
        segmentation): whoever has more to say writes it there.
        """
        return self._headers(*self.classify(frames))

    def headers_of_rows(self, rows: NDArray[np.uint8], sizes: NDArray[np.intp]) -> bytes:
        """Returns what :meth:`headers` does, for :meth:`classify_rows`."""
        return self._headers(*self.classify_rows(rows, sizes))

    def _headers(self, values: NDArray[np.uint32], reports: NDArray[np.uint8]) -> bytes:
        np = self._np
        made = np.zeros((len(values), HEADER_BYTES // 4), "<u4")
        made[:, 3], made[:, 4] = values, reports  # behind the report, which has 16 bits, is padding
        return bytes(made.tobytes())
