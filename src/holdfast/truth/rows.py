# SPDX-License-Identifier: Apache-2.0
"""What kernels said when programs were loaded in them: one row for each program and kernel, in a text file.

The file is sorted, so that a new run shows as the difference that it makes, and tab-separated, so that it
can be read by anybody::

    # holdfast truth 1
    K <kernel id> <sha256 of its package>
    O <sha256> <name of the object>
    R <sha256, 16 digits> <kernel id> <loader> <program> <yes|no> <errno|-> <class> <insns|->

An object is known by its content alone; its name is for people. A kernel's id is not enough to know a build,
since a distribution may build one release twice: K says which it was.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.errors import FileError
from holdfast.truth.words import WordsClass

__all__ = ["Truth", "TruthFileError", "TruthRow", "parse_row", "read", "write"]

_HEAD: Final = "# holdfast truth 1"
_SHORT: Final = 16  # digits of a sha256; the file's own objects are told apart by fewer
_Key = tuple[str, str, str, str]


class TruthFileError(FileError):
    """A file of rows that is damaged or of another version."""


@dataclass(frozen=True, slots=True, order=True)
class TruthRow:
    """How loading one program alone ended on one kernel.

    ``sha256`` is the object's (64 hex digits), ``loader`` as ``libbpf-1.7.0``, ``errno`` positive or None
    where there was none, ``processed`` how many instructions the verifier looked at, None where nobody
    counted.
    """

    sha256: str
    kernel: str
    loader: str
    program: str
    loaded: bool
    errno: int | None
    words: WordsClass
    processed: int | None = None

    @property
    def key(self) -> _Key:
        return self.sha256, self.kernel, self.loader, self.program


@dataclass(frozen=True, slots=True)
class Truth:
    """Rows by what they are about, the names of their objects by sha256, and by kernel id the build that they
    were made on: the sha256 (hex) of its package.
    """

    rows: Mapping[_Key, TruthRow] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)

    def with_rows(
        self, rows: Iterable[TruthRow], names: Mapping[str, str], builds: Mapping[str, str] | None = None
    ) -> Truth:
        """These rows in place of those about the same, or besides. Rows of another build than that in
        ``builds`` are dropped; of a kernel that ``builds`` does not have the build counts as unknown.
        """
        rows, new = tuple(rows), builds or {}
        unknown = {row.kernel for row in rows} - new.keys()
        known = {one: build for one, build in {**self.builds, **new}.items() if one not in unknown}
        old = {
            key: row
            for key, row in self.rows.items()
            if row.kernel not in new or self.builds.get(row.kernel, new[row.kernel]) == new[row.kernel]
        }
        return Truth({**old, **{row.key: row for row in rows}}, {**self.names, **names}, known)

    def of(self, sha256: str, kernel: str) -> Iterator[TruthRow]:
        """The rows of one object on one kernel."""
        return (row for row in self.rows.values() if row.sha256 == sha256 and row.kernel == kernel)


def read(path: Path) -> Truth:
    """The rows of a file; none for one that is not there. Raises :exc:`TruthFileError`."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return Truth()
    except (OSError, UnicodeDecodeError) as error:
        raise TruthFileError(str(path), f"it cannot be read: {error}", hint="take another copy") from None
    if not lines or lines[0] != _HEAD:
        raise TruthFileError(str(path), f"it does not begin with {_HEAD!r}", place="line 1", hint=_HINT)
    names: dict[str, str] = {}
    builds: dict[str, str] = {}
    short: dict[str, str] = {}
    rows: dict[_Key, TruthRow] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        try:
            if fields[0] == "O":
                _, sha256, name = fields
                names[sha256], short[sha256[:_SHORT]] = name, sha256
            elif fields[0] == "K":
                _, kernel, build = fields
                builds[kernel] = build
            elif fields[0] == "R":
                row = parse_row(fields, short)
                rows[row.key] = row
            else:
                raise ValueError(f"a line begins with {fields[0][:20]!r}")
        except (ValueError, KeyError) as error:
            raise TruthFileError(str(path), str(error), place=f"line {number}", hint=_HINT) from None
    return Truth(rows, names, builds)


_HINT: Final = "restore it, or write it anew with `make truth`"


def parse_row(fields: list[str], short: Mapping[str, str]) -> TruthRow:
    """The row of an R line's fields; ``short`` has whole sha256 by their first 16 digits.

    Raises :exc:`ValueError` or :exc:`KeyError` for a line that :func:`write` cannot have written.
    """
    _, sha256, kernel, loader, program, loaded, errno, words, processed = fields
    if loaded not in ("yes", "no"):
        raise ValueError(f"{loaded!r} is neither yes nor no")
    return TruthRow(
        short[sha256],
        kernel,
        loader,
        program,
        loaded == "yes",
        None if errno == "-" else int(errno),
        WordsClass(words),
        None if processed == "-" else int(processed),
    )


def write(path: Path, truth: Truth) -> None:
    """Write the file anew, sorted; a reader sees the old one or the new one."""
    lines = [_HEAD]
    lines += [f"K\t{kernel}\t{build}" for kernel, build in sorted(truth.builds.items())]
    lines += [
        f"O\t{sha256}\t{name}" for sha256, name in sorted(truth.names.items(), key=lambda one: one[::-1])
    ]
    lines += [_line(row) for row in sorted(truth.rows.values(), key=lambda row: _order(row, truth.names))]
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(fd, "w") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _order(row: TruthRow, names: Mapping[str, str]) -> tuple[str, ...]:
    return names.get(row.sha256, ""), row.sha256, row.program, row.kernel, row.loader


def _line(row: TruthRow) -> str:
    loaded = "yes" if row.loaded else "no"
    errno = "-" if row.errno is None else row.errno
    processed = "-" if row.processed is None else row.processed
    start = f"R\t{row.sha256[:_SHORT]}\t{row.kernel}\t{row.loader}\t{row.program}"
    return f"{start}\t{loaded}\t{errno}\t{row.words}\t{processed}"
