# SPDX-License-Identifier: Apache-2.0
"""From a record to what a store keeps of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import numpy as np

from holdfast.btf import Btf
from holdfast.errors import BtfError, KernelFileError
from holdfast.kernels import registration_plain
from holdfast.kernels.catalogue import chain, symbols
from holdfast.kernels.catalogue.chain import Part
from holdfast.kernels.catalogue.numbers import Numbers, sequence
from holdfast.kernels.catalogue.parts import QUICK, DamagedError
from holdfast.kernels.catalogue.pool import Additions, Pool
from holdfast.kernels.catalogue.types import Base, Odd, Order, decode, encode
from holdfast.kernels.record import KernelRecord

__all__ = ["Encoded", "Neighbour", "digest_of", "encoded"]

_NONE: Final = np.zeros(0, np.int64)
_NO_ORDER: Final = Order(_NONE, _NONE, _NONE, (b"", b"", b""))


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A kernel that is there, which a new one may be told by the difference to; ``part`` reads one of it."""

    id: str
    part: Callable[[str], Part]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is new of one kernel: the pool's segment (None where the pool has it all), a blob for each part,
    ``like`` the neighbour that they are told by, and digests of the raw BTF by module, "" for vmlinux.
    """

    segment: bytes | None
    parts: Mapping[str, bytes]
    like: str | None
    digests: Mapping[str, str]


def digest_of(data: bytes) -> str:
    """Of raw BTF: checked when it has been put together again."""
    return blake2b(data, digest_size=16).hexdigest()


def encoded(record: KernelRecord, pool: Pool, neighbours: Iterable[Neighbour], level: int = QUICK) -> Encoded:
    """What to keep, compressed at this level. ``pool`` grows by what is new.

    BTF that does not come back byte for byte is kept as it is. Raises
    :exc:`~holdfast.errors.KernelFileError` for a record that cannot be kept, :exc:`DamagedError` for a pool
    that is damaged.
    """
    _check(record)
    strings, types = len(pool.strings), pool.types
    additions = Additions(pool)
    parts, base = _vmlinux(record, additions)
    modules = _modules(record, additions, base)
    whole = {
        "vmlinux": parts,
        "modules": modules,
        "symbols": _symbols(record, additions),
        "texts": _texts(record, additions),
    }
    like, told_by = _nearest(parts.lists["types"], neighbours)
    blobs = {name: chain.write(name, part, told_by[name], level) for name, part in whole.items()}
    digests = {name or "": digest_of(data) for name, data in record.all_btfs()}
    grown = len(pool.strings) > strings or pool.types > types
    return Encoded(additions.segment(level) if grown else None, blobs, like.id if like else None, digests)


def _check(record: KernelRecord) -> None:
    names = [
        record.id,
        *record.modules,
        *record.module_names,
        *record.builtin_modules,
        *(record.config or ()),
    ]
    if any("\0" in name or "\n" in name for name in names) or "\0" in (record.symbols or ""):
        raise KernelFileError(record.id, "a name in it has a NUL or a line break", hint="it is no kernel's")
    if any("\0" in value for value in (record.config or {}).values()):
        raise KernelFileError(record.id, "an option of its config has a NUL", hint="it is no kernel's")


def _btf(data: bytes, base: Btf | None, origin: str) -> Btf:
    try:
        return Btf(data, base=base, origin=origin)
    except BtfError as error:
        hint = "the BTF of this kernel is damaged"
        raise KernelFileError(origin, error.problem, place=error.place, hint=hint) from error


def _vmlinux(record: KernelRecord, additions: Additions) -> tuple[Part, tuple[Btf, Base | None]]:
    btf = _btf(record.vmlinux, None, record.id)
    order, base = _own(record.vmlinux, btf, additions, Base())
    data = {"plain": b"", "choices": order.choices.astype("<u4").tobytes()}
    if base is None:
        data["plain"] = record.vmlinux
    data |= dict(zip(("before", "between", "after"), order.frame, strict=True))
    return Part({"strings": order.strings, "types": order.types}, data), (btf, base)


def _own(data: bytes, btf: Btf, additions: Additions, base: Base) -> tuple[Order, Base | None]:
    """What is its own, and it as a base; None for BTF that is kept as it is."""
    try:
        order, whole = encode(data, btf, additions, base)
        back = decode(order, additions.pool, base)
        if back.data == data:
            return order, replace(whole, offsets=back.as_base.offsets)
    except (Odd, DamagedError):
        pass
    return _NO_ORDER, None


def _modules(record: KernelRecord, additions: Additions, base: tuple[Btf, Base | None]) -> Part:
    btf, start = base
    directory: list[list[object]] = []
    orders: list[Order] = []
    plain: list[bytes] = []
    for name in sorted(record.modules):
        data = record.modules[name]
        module = _btf(data, btf, f"{record.id}: {name}")
        order, whole = (_NO_ORDER, None) if start is None else _own(data, module, additions, start)
        kept = b"" if whole is not None else data
        orders.append(order)
        plain.append(kept)
        sizes = [len(order.strings), len(order.types), len(order.choices)]
        directory.append([name, len(kept), *sizes, *(len(piece) for piece in order.frame)])
    return Part(
        {
            "strings": _joined([order.strings for order in orders]),
            "types": _joined([order.types for order in orders]),
        },
        {
            "directory": _json(directory),
            "choices": _joined([order.choices for order in orders]).astype("<u4").tobytes(),
            "frames": b"".join(piece for order in orders for piece in order.frame),
            "plain": b"".join(plain),
        },
    )


def _joined(lists: Sequence[Numbers]) -> Numbers:
    return np.concatenate([_NONE, *lists])


def _symbols(record: KernelRecord, additions: Additions) -> Part:
    names = symbols.split_names(symbols.counted(record.symbols or ""))
    lists = {f"prefix{at}": np.sort(additions.string_ids(rest)) for at, rest in enumerate(names)}
    return Part(lists)


def _texts(record: KernelRecord, additions: Additions) -> Part:
    config = [f"{key}={value}" for key, value in sorted((record.config or {}).items())]
    lists = {"config": config, "modules": record.module_names, "builtin": record.builtin_modules}
    known = {"config": record.config is not None, "symbols": record.symbols is not None}
    registrations = record.registrations
    return Part(
        {
            name: additions.string_ids([line.encode("utf-8", "surrogateescape") for line in lines])
            for name, lines in lists.items()
        },
        {
            "known": _json(known),
            "registrations": _json(
                None if registrations is None else registration_plain.to_plain(registrations)
            ),
        },
    )


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _nearest(
    types: Numbers, neighbours: Iterable[Neighbour]
) -> tuple[Neighbour | None, Mapping[str, Part | None]]:
    """The neighbour that tells most of the order of these types, and its parts; a damaged one does not."""
    import zlib

    ranked = []
    for one in neighbours:
        try:
            there = one.part("vmlinux").lists["types"]
        except DamagedError:
            continue
        ranked.append((len(zlib.compress(sequence(types, there), 1)), one.id, one))
    for _, _, one in sorted(ranked, key=lambda row: row[:2]):
        try:
            return one, {name: one.part(name) for name in chain.LISTS}
        except DamagedError:
            continue
    return None, dict.fromkeys(chain.LISTS)
