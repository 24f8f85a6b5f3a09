# SPDX-License-Identifier: Apache-2.0
"""Facts of a kernel that is only a file: raw BTF, a vmlinux, or whatever else kernels come in.

A vmlinux is mapped, not read: of one with debug information, which can have a gigabyte, only section headers,
``.BTF``, ``.rodata`` and what registers kfuncs are looked at. Images and packages are unpacked in memory.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from holdfast._version import __version__
from holdfast.btf import Btf
from holdfast.btf.reader import BTF_MAGIC
from holdfast.errors import BtfError, KernelFileError
from holdfast.kernels import kallsyms, kconfig, registration_plain
from holdfast.kernels.anatomy import Anatomy, dissect
from holdfast.kernels.cache import Cache, digest
from holdfast.kernels.facts import KernelFacts, Registration
from holdfast.kernels.kallsyms import ImageSymbols
from holdfast.kernels.upstream import upstream_version

__all__ = ["from_path"]

_MOST: Final = 512 << 20  # bytes of a vmlinux whose code is read; more has debug information


def from_path(path: str | Path, *, cache: Cache | None = None) -> KernelFacts:
    """What a kernel file, package or folder tells, id ``file/<release>``, for raw BTF ``file/<file name>``.

    No host policy or probes come with it; the config and the modules do where they are in the package or
    folder (and the config when the image embeds one, CONFIG_IKCONFIG). An index over its BTF is kept in
    ``cache``, if given. A package takes some ten seconds: what is asked about again belongs into the
    catalogue. Raises :exc:`~holdfast.errors.KernelFileError` for a file that is no kernel, is cut off, or has
    no BTF.
    """
    where = str(path)
    try:
        if Path(path).is_dir():
            return _unpacked(path)
        # without waiting: a pipe that nobody writes to, or a device, is told to be no kernel
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise KernelFileError(where, "it is no regular file", hint="name a kernel's file or package")
            # private: files under /sys/kernel/btf cannot be mapped shared
            image = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            return _read(image, where, cache or Cache(None))
    except ValueError:
        problem, hint = "it is empty", "name a kernel, its package, or a file with raw BTF"
    except OSError as error:
        problem, hint = f"it cannot be read: {error.strerror}", ""
    except BtfError as error:
        raise KernelFileError(
            where, error.problem, place=error.place, hint="the BTF in this file is damaged"
        ) from error
    raise KernelFileError(where, problem, hint=hint or None)


def _read(image: mmap.mmap, path: str, cache: Cache) -> KernelFacts:
    with image:
        if image[:4] == b"\x7fELF":
            return _read_vmlinux(image, path, cache)
        if image[:2] in (BTF_MAGIC.to_bytes(2, "little"), BTF_MAGIC.to_bytes(2, "big")):
            return _read_raw(image, path, cache)
        from holdfast.kernels import exported

        if exported.is_export(image[:64]):
            from holdfast.kernels.build import facts_of

            return facts_of(exported.read(image[:], path))
    return _unpacked(path)


def _unpacked(path: str | Path) -> KernelFacts:
    from holdfast.kernels.build import facts_of, record_of_path

    return facts_of(record_of_path(path, source="file"))


def _read_raw(image: mmap.mmap, path: str, cache: Cache) -> KernelFacts:
    try:
        btf = _btf(image[:], path, cache)
    except BtfError as error:
        if "NUL" in error.problem:
            # Split BTF goes on where its base's strings end, so it does not begin with the empty string.
            raise KernelFileError(
                path,
                error.problem,
                place=error.place,
                hint="BTF of a module is no kernel's: name the vmlinux it belongs to",
            ) from error
        raise
    return KernelFacts(id=f"file/{Path(path).name}", release="", arch="", source="file", vmlinux=btf)


def _read_vmlinux(image: mmap.mmap, path: str, cache: Cache) -> KernelFacts:
    anatomy = dissect(image, path)
    rodata = anatomy.rodata
    btf = _btf(anatomy.btf, f"{path}: .BTF", cache)
    config = kconfig.embedded(rodata) if rodata else None
    signature = (config or {}).get("CONFIG_VERSION_SIGNATURE", "")
    return KernelFacts(
        id=f"file/{anatomy.release or Path(path).name}",
        release=anatomy.release,
        arch=anatomy.arch,
        source="file",
        vmlinux=btf,
        config=config,
        upstream=upstream_version(anatomy.uname_version, signature),
        kallsyms=ImageSymbols(rodata[:]) if rodata else None,
        registrations=_registrations(image, btf, anatomy, path, cache),
    )


def _registrations(
    image: mmap.mmap, btf: Btf, anatomy: Anatomy, path: str, cache: Cache
) -> Mapping[str, Registration] | None:
    """What .BTF_ids and init code tell, from the cache or read now, in some seconds."""
    name = digest("registered", __version__, *_identity(anatomy)) + ".registered"
    if len(image) > _MOST:
        return None
    content = cache.get(name)
    if content is not None:
        try:
            raw = json.loads(bytes(content))
            return None if raw is None else registration_plain.from_plain(raw)
        except ValueError:
            pass  # another version of Holdfast wrote it
    from holdfast.kernels.registered import read

    symbols = kallsyms.names(anatomy.rodata[:]) if anatomy.rodata else None
    found = read(image[:], btf, arch=anatomy.arch, symbols=symbols, origin=path).registrations
    plain = None if found is None else registration_plain.to_plain(found)
    cache.put(name, json.dumps(plain).encode())
    return found


def _identity(anatomy: Anatomy) -> tuple[bytes | str, ...]:
    """What tells this build: a vmlinux can have a gigabyte, so not all of it."""
    return anatomy.arch, anatomy.release, anatomy.uname_version, anatomy.btf


def _btf(data: bytes, origin: str, cache: Cache) -> Btf:
    depends = digest("file", os.uname().machine, data) if cache.path else ""
    return cache.btf(data, depends, origin=origin)
