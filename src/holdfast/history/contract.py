# SPDX-License-Identifier: Apache-2.0
"""``contract.toml``: which names somebody holds stable, from when, until when, replaced by what.

The kernel's documentation binds nobody (no kfunc is ever guaranteed: Documentation/bpf/kfuncs.rst, section
3), so a contract says how strong it is. docs/history.md describes the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from holdfast.errors import FileError
from holdfast.history.versions import Series, parse_series, series_name
from holdfast.toml import Table, read_toml

__all__ = [
    "CONTRACT_NAME",
    "Contract",
    "ContractError",
    "Promise",
    "PromiseKind",
    "Strength",
    "read_contract",
    "shipped_contracts",
]

CONTRACT_NAME: Final = "contract.toml"


class ContractError(FileError):
    """A contract.toml cannot be read, says something impossible, or is contradicted by a kernel."""


class PromiseKind(StrEnum):
    """What is held stable."""

    KFUNC = "kfunc"
    HELPER = "helper"
    STRUCT_OPS = "struct_ops"
    """``hid_bpf_ops`` or ``hid_bpf_ops.hid_device_event``."""
    MAP = "map"
    """The layout of a map of a bundle."""


class Strength(StrEnum):
    """How much a promise carries."""

    BINDING = "binding"
    """Who promises keeps it: a warning about the grade is not needed."""
    BEST_EFFORT = "best effort"
    """It may end without notice. It is no reason to keep silent about a grade."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One name that is held stable from series ``since`` to before ``until`` (None: open).

    ``prototypes`` are all that it may have, as ``holdfast kfunc`` prints them; empty: any that libbpf takes
    for the oldest. ``size`` and ``layout`` are a map value's, in bytes; ``line`` is where it stands.
    """

    kind: PromiseKind
    name: str
    line: int
    since: Series | None
    until: Series | None
    replaced_by: str
    prototypes: tuple[str, ...]
    program_types: tuple[str, ...]
    value: str
    size: int | None
    layout: tuple[str, ...]
    source: str
    note: str

    def covers(self, series: Series) -> bool:
        """Whether the promise holds for kernels of that series."""
        return (self.since is None or self.since <= series) and (self.until is None or series < self.until)

    @property
    def span(self) -> str:
        """``from 6.5 on``, ``from 6.3 until 6.11``, ``always``."""
        words = []
        if self.since:
            words.append(f"from {series_name(self.since)}")
        if self.until:
            words.append(f"until {series_name(self.until)}")
        elif self.since:
            words.append("on")
        return " ".join(words) or "always"


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract; ``path`` is its file as it was named."""

    path: str
    name: str
    version: str
    promised_by: str
    source: str
    strength: Strength
    promises: tuple[Promise, ...]

    def promise(self, kind: PromiseKind, name: str) -> Promise | None:
        """The promise about that name."""
        return next((one for one in self.promises if one.kind is kind and one.name == name), None)


_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*")
_C_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_MEMBER: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
_LAYOUT: Final = re.compile(r"\d+ \d+ [A-Za-z_][\w.]*")


def read_contract(path: Path) -> Contract:
    """The contract in ``path``, a folder or its contract.toml. Raises :exc:`ContractError`, which names the
    line.
    """
    file = path / CONTRACT_NAME if path.is_dir() else path
    root = read_toml(
        file, ContractError, hint=f"a contract is a {CONTRACT_NAME}, docs/history.md describes it"
    )
    head = root.table("contract")
    name = head.text("name")
    if not _NAME.fullmatch(name):
        raise head.fail(f"{name!r} is no name here", key="name", hint="lower case words with / between")
    contract = Contract(
        path=str(file),
        name=name,
        version=head.text("version"),
        promised_by=head.text("promised_by"),
        source=head.text("source"),
        strength=head.choice("strength", {str(one): one for one in Strength}),
        promises=tuple(_promise(one) for one in root.array("stable")),
    )
    for table in (head, root):
        table.finish()
    if not contract.promises:
        raise head.fail("it promises nothing", hint="add a [[stable]]")
    _check_twice(contract)
    return contract


def _promise(table: Table) -> Promise:
    kind = table.choice("kind", {str(one): one for one in PromiseKind})
    name = table.text("name")
    form = _MEMBER if kind is PromiseKind.STRUCT_OPS else _C_NAME
    if not form.fullmatch(name):
        raise table.fail(f"{name!r} is no name of a {kind}", key="name")
    promise = Promise(
        kind=kind,
        name=name,
        line=table.line,
        since=_series(table, "since"),
        until=_series(table, "until"),
        replaced_by=table.text("replaced_by", ""),
        prototypes=table.texts("prototypes") or (),
        program_types=table.texts("program_types") or (),
        value=table.text("value", ""),
        size=table.optional_number("size"),
        layout=table.texts("layout") or (),
        source=table.text("source", ""),
        note=table.text("note", ""),
    )
    table.finish()
    _check(table, promise)
    return promise


def _series(table: Table, key: str) -> Series | None:
    text = table.text(key, "")
    if not text:
        return None
    found = parse_series(text)
    if found is None:
        raise table.fail(f"{text!r} is no release", key=key, hint='major and minor number, as "6.12"')
    return found


def _check(table: Table, promise: Promise) -> None:
    if promise.since and promise.until and promise.until <= promise.since:
        raise table.fail("it ends before it begins", key="until")
    if promise.kind is not PromiseKind.KFUNC and (promise.prototypes or promise.program_types):
        key = "prototypes" if promise.prototypes else "program_types"
        raise table.fail("only a kfunc has that", key=key)
    is_map = promise.kind is PromiseKind.MAP
    if is_map and not (promise.value and promise.size is not None and promise.layout):
        raise table.fail("a map needs value, size and layout", hint='value = "struct x", size in bytes')
    if not is_map and (promise.value or promise.size is not None or promise.layout):
        key = "value" if promise.value else "layout" if promise.layout else "size"
        raise table.fail("value, size and layout are for maps", key=key)
    for row in promise.layout:
        if not _LAYOUT.fullmatch(row):
            raise table.fail(f"{row!r} is no member", key="layout", hint="offset and size in bytes, name")
    from holdfast.terms import ProgramType

    for word in promise.program_types:
        if word not in ProgramType.__members__:
            raise table.fail(f"{word!r} is no program type", key="program_types", hint="as SCHED_CLS, XDP")


def _check_twice(contract: Contract) -> None:
    seen: dict[tuple[PromiseKind, str], int] = {}
    for promise in contract.promises:
        key = (promise.kind, promise.name)
        if key in seen:
            problem = f"{promise.kind} {promise.name} stands there again, after line {seen[key]}"
            raise ContractError(contract.path, problem, place=f"line {promise.line}")
        seen[key] = promise.line


def shipped_contracts() -> list[Contract]:
    """The contracts that come with Holdfast, those of its bundles included, by name.

    Raises :exc:`ContractError` for one that cannot be read.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_bundles", package.parents[1] / "bundles"):
        files: Sequence[Path] = sorted(folder.rglob(CONTRACT_NAME))
        if files:
            return sorted((read_contract(file) for file in files), key=lambda one: one.name)
    return []
