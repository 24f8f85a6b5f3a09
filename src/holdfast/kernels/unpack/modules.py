# SPDX-License-Identifier: Apache-2.0
"""Modules of a kernel, kept compressed or left on the disk until somebody asks for one."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.errors import KernelFileError
from holdfast.kernels.record import ModulePiece
from holdfast.kernels.unpack import limits
from holdfast.kernels.unpack.streams import FileStream, compression, inflate

__all__ = [
    "FileModule",
    "KeptModule",
    "builtin_names",
    "keep",
    "may_register",
    "module_name",
    "scan",
    "unique",
]

_SUFFIX: Final = re.compile(r"\.ko(?:\.(?:xz|zst|gz))?\Z")


def module_name(path: str) -> str:
    """``nf_conntrack`` for ``kernel/net/netfilter/nf-conntrack.ko.xz``."""
    return _SUFFIX.sub("", path.rsplit("/", 1)[-1]).replace("-", "_")


def builtin_names(text: bytes) -> tuple[str, ...]:
    """The names in modules.builtin, each once, in its order."""
    lines = text.decode("utf-8", "replace").splitlines()
    return tuple(dict.fromkeys(module_name(line.strip()) for line in lines if line.strip().endswith(".ko")))


def may_register(module: bytes) -> bool:
    """Whether it is worth a look for what BPF programs can use: kfuncs or struct_ops.

    True for every module that registers some: kfuncs come in sections ``.BTF_ids`` (include/linux/btf_ids.h),
    a struct_ops is registered by ``(__)register_bpf_struct_ops`` or, up to 6.8, known by the type name
    ``bpf_struct_ops``. Costs a search over the bytes, 10 ms for the largest.
    """
    return b".BTF_ids" in module or b"bpf_struct_ops" in module


def scan(
    modules: Iterable[ModulePiece], wanted: Callable[[bytes], bool] = may_register
) -> Iterator[tuple[ModulePiece, bytes]]:
    """Each module whose bytes are ``wanted``, with its bytes, in the order of ``modules``.

    Decompresses on all processors that this process may use; xz lets other threads run. At most two modules
    for each are in memory at once. Raises what :meth:`ModulePiece.read` raises.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    def look(module: ModulePiece) -> tuple[ModulePiece, bytes] | None:
        data = module.read()
        return (module, data) if wanted(data) else None

    workers = len(os.sched_getaffinity(0))
    window: deque[Future[tuple[ModulePiece, bytes] | None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for module in modules:
                window.append(pool.submit(look, module))
                if len(window) > 2 * workers and (found := window.popleft().result()):
                    yield found
            while window:
                if found := window.popleft().result():
                    yield found
        finally:
            for future in window:
                future.cancel()


@dataclass(frozen=True, slots=True)
class KeptModule:
    """A module out of an archive; ``data`` may be compressed, once more than ``path`` says."""

    name: str
    path: str
    data: bytes = field(repr=False)
    origin: str

    def read(self) -> bytes:
        """See :meth:`ModulePiece.read`."""
        return _elf(self.data, self.origin, self.path)


@dataclass(frozen=True, slots=True)
class FileModule:
    """A module in a folder, opened when it is read."""

    name: str
    path: str
    file: Path

    def read(self) -> bytes:
        """See :meth:`ModulePiece.read`."""
        stream = FileStream(self.file)
        try:
            if stream.size > limits.MODULE:
                raise _too_large(str(self.file), None)
            return _elf(stream.read(stream.size), str(self.file), None)
        finally:
            stream.close()


def keep(path: str, data: bytes, origin: str) -> KeptModule:
    """Hold a module as it came, or, where it came plain, compressed by the quickest means there is.

    5.10 and 6.1 of Debian have 350 MB of plain modules; zstd's level 1 makes 130 MB of them in a second.
    """
    if data[:4] == b"\x7fELF":
        import zstandard

        data = zstandard.ZstdCompressor(level=1).compress(data)
    return KeptModule(module_name(path), path, data, origin)


def unique(modules: Iterable[ModulePiece]) -> tuple[ModulePiece, ...]:
    """By name, each once; of two with one name that in ``updates/`` (depmod.d(5)), else the first by path."""
    kept: dict[str, ModulePiece] = {}
    for module in sorted(modules, key=lambda module: (not module.path.startswith("updates/"), module.path)):
        kept.setdefault(module.name, module)
    return tuple(kept[name] for name in sorted(kept))


def _elf(data: bytes, origin: str, place: str | None) -> bytes:
    for _ in range(3):
        if data[:4] == b"\x7fELF":
            if len(data) > limits.MODULE:
                raise _too_large(origin, place)
            return data
        kind = compression(data[:16])
        if kind is None:
            break
        data = inflate(data, kind, origin, place=place, limit=limits.MODULE)
    raise KernelFileError(
        origin,
        f"it is no kernel module: it begins with {data[:4].hex(' ')}",
        place=place,
        hint="the package or folder is damaged",
    )


def _too_large(origin: str, place: str | None) -> KernelFileError:
    return KernelFileError(
        origin,
        f"a module of more than {limits.MODULE >> 20} MiB",
        place=place,
        hint="no module is that large",
    )
