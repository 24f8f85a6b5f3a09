# SPDX-License-Identifier: Apache-2.0
"""Which libbpf guests load with: the one that would load on this machine."""

from __future__ import annotations

from pathlib import Path

from holdfast.libbpf.discover import ENVIRONMENT, Origin, find

__all__ = ["loader_file"]


def loader_file() -> tuple[Path | None, dict[str, str]]:
    """Return the libbpf to take along and the environment that makes a guest find it.

    None where the system's is used but not installed; then a guest can do all but load. Raises
    :class:`~holdfast.errors.LibbpfError` as :func:`holdfast.libbpf.discover.find` does.
    """
    found = find()
    if found.origin is Origin.BUNDLED:
        return Path(found.name), {}
    if found.origin is Origin.ENVIRONMENT:
        return Path(found.name).resolve(), {ENVIRONMENT: str(Path(found.name).resolve())}
    from holdfast.vm.libraries import cached_libraries

    path = cached_libraries().get(found.name)
    return (Path(path) if path else None), {}
