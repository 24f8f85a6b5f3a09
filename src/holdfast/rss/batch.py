# SPDX-License-Identifier: Apache-2.0
"""The hashes of many tuples, or frames, at once: table look-ups by numpy.

For whoever has a burst of packets and no BPF to ask. One frame is cheaper with
:class:`~holdfast.rss.fallback.Steering`, and numpy is imported when a :class:`Batch` is made.

In numpy and not in C: on one core it beats a scalar set-bit Toeplitz in C more than twice
(bench/rss_batch.py), and it works where no compiler is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

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
_HEAD: Final = 58  # bytes of the longest frame that is parsed at once: Ethernet, IPv6, ports


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
        self._bytes = [self._row(windows[at : at + 8]) for at in range(0, bits, 8)]

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
        wide = min(_WIDE, size // 2)
        out: _Hashes = np.zeros(count, np.uint32)
        for at in range(0, count, _CHUNK):
            part = tuples[at : at + _CHUNK]
            first = np.ascontiguousarray(part[:, : 2 * wide]).view(">u2").T.astype(np.intp, order="C")
            rest = part[:, 2 * wide :].T.astype(np.intp, order="C")
            total, found = out[at : at + _CHUNK], np.empty(len(part), np.uint32)
            for row, index in (
                *zip(self._wide, first, strict=False),
                *zip(self._bytes[2 * wide :], rest, strict=False),
            ):
                # An index is never beyond the row; "clip" spares numpy a copy that "raise" wants.
                np.take(row, index, out=found, mode="clip")
                np.bitwise_xor(total, found, out=total)
        return out

    def classify(self, frames: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Returns the hash of each Ethernet frame, 0 where it is not hashed, and its HashReport."""
        np = self._np
        values, reports = np.zeros(len(frames), np.uint32), np.zeros(len(frames), np.uint8)
        for at in range(0, len(frames), _CHUNK):
            part = frames[at : at + _CHUNK]
            sizes = np.fromiter(map(len, part), np.intp, len(part))
            heads = [frame[:_HEAD] for frame in part]
            if sizes.min() < _HEAD:
                heads = [head.ljust(_HEAD, b"\0") for head in heads]
            rows = np.frombuffer(b"".join(heads), np.uint8).reshape(len(part), _HEAD)
            self._classify(rows, sizes, part, values[at : at + _CHUNK], reports[at : at + _CHUNK])
        return values, reports

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
        if rows.ndim != 2 or rows.dtype != np.uint8 or rows.shape[1] < _HEAD or len(sizes) != len(rows):
            raise UsageError("frames to hash are rows of 58 bytes or more, each with its size")
        values, reports = np.zeros(len(rows), np.uint32), np.zeros(len(rows), np.uint8)
        for at in range(0, len(rows), _CHUNK):
            part, length = rows[at : at + _CHUNK], sizes[at : at + _CHUNK]
            self._classify(part, length, None, values[at : at + _CHUNK], reports[at : at + _CHUNK])
        return values, reports

    def _classify(
        self,
        rows: NDArray[np.uint8],
        sizes: NDArray[np.intp],
        frames: Sequence[bytes] | None,
        values: NDArray[np.uint32],
        reports: NDArray[np.uint8],
    ) -> None:
        np = self._np
        left = np.ones(len(rows), np.bool_)
        for kind, chosen in self._plain(np.ascontiguousarray(rows[:, :24].T), sizes):
            if len(chosen):
                begin, end = (26, 38) if kind in (HashType.TCPv4, HashType.UDPv4) else (22, 58)
                every = len(chosen) == len(rows)
                values[chosen] = self.hashes(rows[:, begin:end] if every else rows[chosen, begin:end])
                reports[chosen] = kind.report
                left[chosen] = False
        for number in np.flatnonzero(left):
            frame = rows[number, : sizes[number]].tobytes() if frames is None else frames[number]
            found, data = hash_input(frame, self.types, self.tunnel_types)
            if found:
                values[number] = self.hashes(np.frombuffer(data, np.uint8)[None, :])[0]
                reports[number] = found.report

    def _plain(self, at: Any, sizes: Any) -> list[tuple[HashType, NDArray[np.intp]]]:
        # The frames that bundles/net/rss/fast.h takes, by the same conditions, and their type; at[n] are the
        # bytes n of all frames.
        np = self._np
        four = (at[12] == 0x08) & (at[13] == 0x00) & (at[14] == 0x45) & (sizes >= 38)
        four &= (at[16] != 0) | (at[17] == 0) | (at[17] >= 24)
        four &= (at[20] & 0x3F == 0) & (at[21] == 0)
        six = (at[12] == 0x86) & (at[13] == 0xDD) & (at[14] >> 4 == 6) & (sizes >= 58)
        six &= (at[18] != 0) | (at[19] == 0) | (at[19] >= 4)
        kinds = [
            (HashType.TCPv4, four & (at[23] == 6)),
            (HashType.UDPv4, four & (at[23] == 17)),
            (HashType.TCPv6, six & (at[20] == 6)),
            (HashType.UDPv6, six & (at[20] == 17)),
        ]
        # UDP may carry a tunnel.
        if self.tunnel_types:
            kinds = [pair for pair in kinds if pair[0] in (HashType.TCPv4, HashType.TCPv6)]
        return [(kind, np.flatnonzero(chosen)) for kind, chosen in kinds if kind & self.types]

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
        layout = np.dtype([("v1", "V12"), ("value", "<u4"), ("report", "<u2"), ("padding", "<u2")])
        made = np.zeros(len(values), layout)
        made["value"], made["report"] = values, reports
        return bytes(made.tobytes())
