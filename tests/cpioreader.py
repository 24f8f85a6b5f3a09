# SPDX-License-Identifier: Apache-2.0
"""A reader of cpio archives, written from the format and not from the writer."""

from __future__ import annotations


def entries(archive: bytes) -> list[tuple[str, int, bytes]]:
    """Return name, mode and content of each entry, read as the format says."""
    found, at = [], 0
    while archive[at : at + 6] == b"070701":
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_end = at + 110 + numbers[11]
        name = archive[at + 110 : name_end - 1].decode()
        assert archive[name_end - 1] == 0
        start = name_end + (-name_end % 4)
        end = start + numbers[6]
        found.append((name, numbers[1], archive[start:end]))
        at = end + (-end % 4)
    assert at == len(archive)
    return found
