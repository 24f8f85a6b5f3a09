# SPDX-License-Identifier: Apache-2.0
"""A running machine's kernel as a JSON document, and such a document as a kernel for the catalogue.

``kernels show live --format json`` prints it under ``export``; ``kernels add FILE`` takes it on another
machine. BTF, the config and the symbols are in it as base64 of zlib. Whoever reads one does not trust it:
sizes are bounded before anything is unpacked, and all BTF is parsed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from holdfast.btf import Btf
from holdfast.errors import BtfError, KernelFileError
from holdfast.kernels import probe_plain, registration_plain
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.record import KernelRecord
from holdfast.kernels.upstream import upstream_version

__all__ = ["SCHEMA_VERSION", "export", "from_path", "is_export", "read"]

SCHEMA_VERSION: Final = 1
_MIB: Final = 1 << 20
_FILE: Final = 256 * _MIB  # bytes of a document; a desktop with 200 modules loaded makes 6 MiB
_VMLINUX: Final = 64 * _MIB  # bytes unpacked; the largest seen has 7 MiB
_MODULE: Final = 16 * _MIB  # bytes unpacked, of one module; the largest seen has 1 MiB
_ALL_MODULES: Final = 256 * _MIB
_TEXT: Final = 64 * _MIB  # bytes unpacked; symbols of a kernel take 5 MiB
_MOST_MODULES: Final = 20_000
_MOST_OPTIONS: Final = 200_000
_LONGEST: Final = 512  # characters of a name
_NO_EXPORT: Final = "write one with `holdfast kernels show live --format json`"


def export(
    kernel: KernelFacts,
    *,
    symbols: str | None = None,
    uname_version: str = "",
    module_names: tuple[str, ...] = (),
    builtin_modules: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The value of ``export``: all of a running kernel that another machine can use. Some 4 MB as JSON.

    ``symbols`` is what :func:`holdfast.kernels.live_files.symbols` reads, and so on; ``module_names`` are all
    modules that the machine has, loaded or not. What policy denied (``probes.kinds``) stays here, it is the
    machine's and not the kernel's. Raises :exc:`KernelFileError` for a kernel without BTF.
    """
    if kernel.vmlinux is None:
        raise KernelFileError(kernel.id, "a kernel without BTF cannot be exported")
    probes = None if kernel.probes is None or kernel.probes.obstacle else replace(kernel.probes, kinds={})
    names = sorted({*module_names, *(kernel.module_names or ()), *kernel.modules})
    return {
        "schema_version": SCHEMA_VERSION,
        "release": kernel.release,
        "arch": kernel.arch,
        "uname_version": uname_version,
        "upstream": kernel.upstream,
        "vmlinux": _pack(kernel.vmlinux.data),
        "modules": {name: _pack(kernel.modules[name].data) for name in kernel.modules},
        "module_names": names,
        "builtin_modules": sorted(builtin_modules),
        "config": None if kernel.config is None else _pack(_config_text(kernel.config)),
        "symbols": None if symbols is None else _pack(symbols.encode()),
        "registrations": None
        if kernel.registrations is None
        else registration_plain.to_plain(kernel.registrations),
        "probes": None if probes is None else probe_plain.to_plain(probes),
    }


def is_export(data: bytes) -> bool:
    """Whether a file's first bytes may begin such a document: that of a JSON object."""
    return data[:64].lstrip(b" \t\r\n")[:1] == b"{"


def from_path(path: Path) -> KernelRecord:
    """The kernel in a file. Raises :exc:`KernelFileError`, whatever is wrong with it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            data = file.read(_FILE + 1)
    except OSError as error:
        raise KernelFileError(str(path), f"cannot be read: {error.strerror}") from None
    return read(data, str(path))


def read(data: bytes, path: str) -> KernelRecord:
    """The kernel in such a document, id ``machine/<release>``; ``path`` is for messages.

    Takes what ``kernels show`` prints, and the value of its ``export`` alone. Raises :exc:`KernelFileError`,
    whatever is wrong with it; nothing is unpacked beyond the bounds.
    """
    if len(data) > _FILE:
        raise KernelFileError(path, f"it is larger than {_FILE // _MIB} MiB", hint=_NO_EXPORT)
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise KernelFileError(path, f"it is no JSON: {problem}", hint=_NO_EXPORT) from None
    document = whole.get("export", whole) if isinstance(whole, dict) else None
    if not isinstance(document, dict) or "vmlinux" not in document:
        raise KernelFileError(path, "it is JSON without an exported kernel", hint=_NO_EXPORT)
    try:
        return _record(document)
    except BtfError as error:
        raise KernelFileError(path, error.problem, place=error.path, hint=_NO_EXPORT) from None
    except ValueError as error:
        raise KernelFileError(path, str(error), place="export", hint=_NO_EXPORT) from None


def _record(raw: Mapping[str, Any]) -> KernelRecord:
    version = raw.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {str(version)[:20]!r}, and this Holdfast reads {SCHEMA_VERSION}")
    release = _text(raw, "release")
    if not release or "/" in release or release in (".", ".."):
        raise ValueError("release is not what a kernel calls itself")
    uname_version = _text(raw, "uname_version")
    vmlinux = _unpack(raw["vmlinux"], "vmlinux", _VMLINUX)
    base = Btf(vmlinux, origin="vmlinux")
    if len(base) < 2:
        raise ValueError("vmlinux has no types")
    modules = {}
    left = _ALL_MODULES
    for name, packed in _object(raw, "modules", _MOST_MODULES).items():
        data = _unpack(packed, f"modules.{_name(name, 'modules')}", min(_MODULE, left))
        left -= len(data)
        Btf(data, base=base, origin=f"modules.{name}")
        modules[name] = data
    symbols = raw.get("symbols")
    registrations, probes = raw.get("registrations"), raw.get("probes")
    return KernelRecord(
        id=f"machine/{release}",
        release=release,
        arch=_text(raw, "arch"),
        source="machine",
        upstream=_text(raw, "upstream") or upstream_version(uname_version),
        vmlinux=vmlinux,
        modules=modules,
        module_names=tuple(sorted({*_names(raw, "module_names"), *modules})),
        builtin_modules=_names(raw, "builtin_modules"),
        config=_config(raw.get("config")),
        symbols=None if symbols is None else _symbols(_unpack(symbols, "symbols", _TEXT)),
        registrations=None if registrations is None else registration_plain.from_plain(registrations),
        probes=None if probes is None else probe_plain.from_plain(probes),
    )


# -- blobs -----------------------------------------------------------------------------------------


def _pack(data: bytes | memoryview) -> dict[str, Any]:
    raw = bytes(data)
    return {
        "size": len(raw),
        "sha256": sha256(raw).hexdigest(),
        "zlib": base64.b64encode(zlib.compress(raw, 6)).decode(),
    }


def _unpack(raw: object, what: str, limit: int) -> bytes:
    if not isinstance(raw, dict) or not isinstance(raw.get("zlib"), str):
        raise ValueError(f"{what} is no packed data")
    size = raw.get("size")
    if type(size) is not int or not 0 <= size <= limit:
        raise ValueError(f"{what}.size is {str(size)[:20]!r}, at most {limit} bytes will do")
    try:
        packed = base64.b64decode(raw["zlib"], validate=True)
        inflate = zlib.decompressobj()
        data = inflate.decompress(packed, size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"{what} is damaged: {error}") from None
    if len(data) != size or not inflate.eof or inflate.unused_data:
        raise ValueError(f"{what} is damaged: it does not unpack to {size} bytes")
    if raw.get("sha256") != sha256(data).hexdigest():
        raise ValueError(f"{what} is damaged: its sha256 is another")
    return data


def _config_text(config: Mapping[str, str]) -> bytes:
    return json.dumps(dict(sorted(config.items())), separators=(",", ":")).encode()


def _config(raw: object) -> dict[str, str] | None:
    if raw is None:
        return None
    try:
        options = json.loads(_unpack(raw, "config", _TEXT))
    except RecursionError:
        raise ValueError("config is nested too deeply") from None
    if not isinstance(options, dict) or len(options) > _MOST_OPTIONS:
        raise ValueError("config is no object of options")
    for key, value in options.items():
        _name(key, "config")
        if not isinstance(value, str) or len(value) > 1 << 16:
            raise ValueError(f"config.{key:.60} is no short text")
        value.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    return options


def _symbols(data: bytes) -> str:
    text = data.decode()
    if not text.startswith("\n") or not text.endswith("\n"):
        raise ValueError("symbols is not a list of lines")
    return text


# -- plain values ----------------------------------------------------------------------------------


def _object(raw: Mapping[str, Any], key: str, most: int) -> dict[str, Any]:
    found = raw.get(key, {})
    if not isinstance(found, dict) or len(found) > most:
        raise ValueError(f"{key} is no object of at most {most} entries")
    return found


def _names(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = raw.get(key, [])
    if not isinstance(found, list) or len(found) > _MOST_MODULES:
        raise ValueError(f"{key} is no list of at most {_MOST_MODULES} names")
    return tuple(_name(one, key) for one in found)


def _name(raw: object, what: str) -> str:
    if not isinstance(raw, str) or not raw or len(raw) > _LONGEST or not raw.isprintable() or "/" in raw:
        raise ValueError(f"{what} has {str(raw)[:40]!r}, which is no name")
    return raw


def _text(raw: Mapping[str, Any], key: str) -> str:
    found = raw.get(key, "")
    if not isinstance(found, str) or len(found) > _LONGEST or not found.isprintable():
        raise ValueError(f"{key} is no short text")
    return found
