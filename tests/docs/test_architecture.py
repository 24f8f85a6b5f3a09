# SPDX-License-Identifier: Apache-2.0
"""ARCHITECTURE.md has every package on the floor that the import contract gives it."""

from __future__ import annotations

import re
import tomllib

from tests.docs.documents import ROOT, names, sections, table, text_of

HOUSE = [(int(row[0]), names(row[1])[0]) for row in table(sections("ARCHITECTURE.md")["The house"])]


def _packages() -> set[str]:
    top = ROOT / "src/holdfast"
    found = {path.parent.name for path in top.glob("*/__init__.py")}
    return found | {path.stem for path in top.glob("*.py") if not path.stem.startswith("_")}


def _floors() -> list[set[str]]:
    """The layers of the contract from the bottom up, those parts that are there."""
    config = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(one for one in config if one["id"] == "floors")["layers"]
    there = _packages()
    floors = [set(re.findall(r"\w+", layer)) & there for layer in reversed(layers)]
    return [floor for floor in floors if floor]


def test_the_table_has_each_package_once() -> None:
    packages = [package for _, package in HOUSE]
    assert len(packages) == len(set(packages))
    assert set(packages) == _packages()


def test_the_floors_are_those_of_the_contract() -> None:
    numbers = sorted({number for number, _ in HOUSE})
    assert numbers == list(range(1, len(numbers) + 1))
    assert [{p for at, p in HOUSE if at == number} for number in numbers] == _floors()


def test_modules_that_are_named_exist() -> None:
    packages = _packages()
    wrong = []
    for name in names(text_of("ARCHITECTURE.md")):
        dotted = re.fullmatch(r"([a-z_]+)\.([a-z_]+)((?:\.\w+)*)", name)
        if dotted and dotted[1] in packages and dotted[2] != "py":
            folder = ROOT / "src/holdfast" / dotted[1]
            module = folder / f"{dotted[2]}.py"
            there = module.exists() or (folder / dotted[2]).is_dir()
            exported = (folder / "__init__.py").exists() and dotted[2] in (folder / "__init__.py").read_text()
            if not there and not exported:
                wrong.append(name)
        slashed = re.fullmatch(r"([a-z_]+)/[a-z_/]+\.py", name)
        if slashed and slashed[1] in packages and not (ROOT / "src/holdfast" / name).exists():
            wrong.append(name)
    assert wrong == []
