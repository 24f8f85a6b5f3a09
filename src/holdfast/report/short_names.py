# SPDX-License-Identifier: Apache-2.0
"""Names of objects in tables: as much of each path as tells it from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["short_names"]


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Returns path -> its last part, and of the folders above it as many as it takes to be the only one.

    Paths that are the same but for the length of what is above them stay whole.
    """
    parts = {path: path.split("/") for path in paths}
    found = {path: split[-1] for path, split in parts.items()}
    for depth in range(2, max((len(split) for split in parts.values()), default=0) + 1):
        counts = Counter(found.values())
        again = [path for path, name in found.items() if counts[name] > 1]
        if not again:
            break
        for path in again:
            found[path] = "/".join(parts[path][-depth:])
    return found
