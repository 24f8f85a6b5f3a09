# SPDX-License-Identifier: Apache-2.0
"""A TOML file opened: its size bounded, its top level as a table that knows its lines."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from holdfast.toml.lines import find_lines
from holdfast.toml.table import Failure, Table

__all__ = ["MAX_SIZE", "read_toml"]

MAX_SIZE: Final = 1 << 20  # bytes; what people write has some hundreds
_LAST_LINE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.S)


def read_toml(path: Path, failure: Failure, *, hint: str) -> Table:
    """Returns the top level of a file.

    Raises ``failure`` for one that cannot be read, is larger than :data:`MAX_SIZE` bytes or is no TOML; it
    gets ``hint`` where the file is likely not the one that was meant. The table raises it as well.
    """
    name = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_SIZE + 1)
    except OSError as error:
        raise failure(name, error.strerror or str(error), hint=hint) from None
    if len(content) > MAX_SIZE:
        raise failure(name, f"larger than {MAX_SIZE} bytes, which nobody writes by hand", hint=hint)
    if content.startswith(b"\x7fELF"):
        raise failure(name, "an ELF file, and TOML is wanted", hint=hint)
    try:
        text = content.decode()
        return Table(name, failure, tomllib.loads(text), find_lines(text))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise failure(name, "not UTF-8", place=f"line {line}", hint=hint) from None
    except tomllib.TOMLDecodeError as error:
        found = _LAST_LINE.fullmatch(str(error))
        place = f"line {found[2]}" if found and found[2] else "end of the file"
        problem = f"not TOML: {found[1] if found else error}"
        raise failure(name, problem, place=place, hint="see https://toml.io") from None
    except ValueError:  # of int(), which takes 4300 digits at the most
        raise failure(name, "not TOML that can be read: a number of thousands of digits") from None
    except RecursionError:
        raise failure(name, "not TOML that can be read: nested too deeply") from None
