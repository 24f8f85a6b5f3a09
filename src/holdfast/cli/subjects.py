# SPDX-License-Identifier: Apache-2.0
"""What several verbs take alike: objects and bundles, kernels, and a release of libbpf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.bundle.bundle import Bundle
    from holdfast.elf import ObjectSpec
    from holdfast.kernels import KernelFacts
    from holdfast.kernels.probed import Wanted

__all__ = ["open_kernels", "open_subjects", "read_release"]

_MANIFEST: Final = "holdfast.toml"
_EM_BPF: Final = 247


def open_subjects(paths: Sequence[str]) -> tuple[list[ObjectSpec], list[Bundle]]:
    """The objects and the bundles among these paths. A bundle is a folder with a ``holdfast.toml``, or that
    file; of any other folder it is all BPF objects, ``*.o`` at any depth: those for other machines are left
    out, with a note on stderr.

    Raises what :func:`holdfast.elf.open_object` and :meth:`holdfast.bundle.Bundle.open` raise, and
    :exc:`~holdfast.errors.UsageError` for a folder with nothing in it.
    """
    from holdfast.elf import open_object

    objects: list[ObjectSpec] = []
    bundles: list[Bundle] = []
    for given in paths:
        path = Path(given)
        if path.name == _MANIFEST or (path / _MANIFEST).is_file():
            from holdfast.bundle.bundle import Bundle  # brings tomllib, which an object has no use for

            bundles.append(Bundle.open(path.parent if path.name == _MANIFEST else path))
        elif path.is_dir():
            objects += [open_object(str(one)) for one in _objects_in(path)]
        else:
            objects.append(open_object(given))
    return objects, bundles


def _objects_in(folder: Path) -> list[Path]:
    """Objects for BPF. A build tree has those of its programs beside them, which are told and left out."""
    from holdfast.cli.console import say
    from holdfast.errors import UsageError

    files = sorted(path for path in folder.rglob("*.o") if path.is_file())
    found = [path for path in files if not _is_foreign(path)]
    if len(found) < len(files):
        left_out = len(files) - len(found)
        say(f"note: {folder}: {left_out} of {len(files)} objects are not for BPF and are left out", err=True)
    if not found:
        hint = "name *.o files, a folder of them, or a bundle: a folder with a holdfast.toml"
        raise UsageError(f"{folder} has no objects in it", hint=hint)
    return found


def _is_foreign(path: Path) -> bool:
    """Whether it is an ELF file for another machine. Anything else is for :func:`open_object` to judge."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return False
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return False
    return int.from_bytes(head[18:20], "big" if head[5] == 2 else "little") not in (0, _EM_BPF)


def open_kernels(selectors: Sequence[str], *, probe: Wanted | None = None) -> list[KernelFacts]:
    """:func:`holdfast.kernels.select.select`, with notes on stderr of what was damaged in the catalogue."""
    from holdfast.cli.console import say
    from holdfast.kernels.select import select

    return select(selectors, probe=probe, note=lambda text: say(f"note: {text}", err=True))


def read_release(text: str) -> tuple[int, int]:
    """(1, 7) of ``--libbpf 1.7``. Raises :exc:`~holdfast.errors.UsageError`."""
    from holdfast.errors import UsageError

    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+)?", text)
    if not found or int(found[1]) < 1:
        raise UsageError(f"--libbpf {text!r} is no release from 1.0 on", hint="for example --libbpf 1.7")
    return int(found[1]), int(found[2])
