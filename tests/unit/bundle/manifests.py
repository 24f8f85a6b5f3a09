# SPDX-License-Identifier: Apache-2.0
"""Bundles as small as they can be: a manifest and hand-made objects."""

from __future__ import annotations

from pathlib import Path

from tests.bpfelf import bpf_elf
from tests.btfwriter import BtfWriter, core_ext

__all__ = ["MINIMAL", "minimal_object", "write_bundle"]

MINIMAL = """\
[bundle]
name = "test/minimal"
version = "1"

[interface.programs.prog]
type = "SOCKET_FILTER"

[[variant]]
name = "first"
object = "first.bpf.o"

[[variant]]
name = "second"
object = "second.bpf.o"
source = "second.bpf.c"

[fallback]
name = "user-space"
python = "json:dumps"
"""

# r0 = 0; exit
_CODE = bytes.fromhex("b7000000000000009500000000000000")


def minimal_object(name: str = "prog") -> bytes:
    """An object whose only program is a socket filter called ``prog``; ``name`` is in its BTF alone."""
    btf = BtfWriter()
    btf.func(name, btf.proto(btf.integer()))
    ext = core_ext(btf, {})
    return bpf_elf(_CODE, btf.raw(), ext)


def write_bundle(folder: Path, manifest: str = MINIMAL, *objects: str) -> Path:
    """Writes the manifest, and the minimal object under each of the names; returns the folder."""
    (folder / "holdfast.toml").write_text(manifest)
    for name in objects:
        (folder / name).write_bytes(minimal_object())
    return folder
