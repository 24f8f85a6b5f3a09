# SPDX-License-Identifier: Apache-2.0
"""Modules that are imported when something of them is used."""

from __future__ import annotations

import subprocess
import sys

from holdfast.vm.guest.later import later

_USED = """
import sys
from holdfast.vm.guest.later import later
later("inspect", "colorsys")
import inspect, dataclasses, colorsys

@dataclasses.dataclass
class Documented:
    \"\"\"It says what it is.\"\"\"
    x: int

before = "ast" in sys.modules

@dataclasses.dataclass
class Plain:
    x: int

import inspect as again
print(before, Documented(1).x, Plain.__doc__, again.isclass(Plain), hasattr(colorsys, "no"))
print("ast" in sys.modules)
"""


def test_a_module_is_imported_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-IBc", _USED], capture_output=True, text=True, check=True)
    assert done.stdout == "False 1 Plain(x: int) True False\nTrue\n"


def test_a_module_that_is_there_stays() -> None:
    later("sys")
    assert sys.modules["sys"] is sys
