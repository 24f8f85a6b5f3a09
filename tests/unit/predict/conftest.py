# SPDX-License-Identifier: Apache-2.0
"""Objects compiled once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clang import compile_c

from holdfast.elf import ObjectSpec, open_object

Compile = Callable[..., ObjectSpec]


@pytest.fixture(scope="session")
def compiled(need_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """A function from C text (see :mod:`tests.clang`) to the object's spec."""
    folder: Path = tmp_path_factory.mktemp("predict")
    known: dict[object, ObjectSpec] = {}

    def build(text: str, **options: Any) -> ObjectSpec:
        key = (text, tuple(sorted(options.items())))
        if key not in known:
            known[key] = open_object(compile_c(need_tool("clang"), text, folder, "test", **options))
        return known[key]

    return build
