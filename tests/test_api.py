# SPDX-License-Identifier: Apache-2.0
"""The public surface: what `import holdfast` gives, and what it costs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from tests.elfwriter import ElfWriter
from tests.unit.predict.fake import kernel

import holdfast
from holdfast import errors

# A name that goes away or changes its arguments breaks somebody's application: change this table knowingly,
# and CHANGELOG.md with it.
SURFACE = {
    "Bundle": "class",
    "HoldfastError": "class",
    "KernelFacts": "class",
    "ObjectSpec": "class",
    "Outcome": "class",
    "Plan": "class",
    "ProgramVerdict": "class",
    "Verdict": "class",
    "__version__": "value",
    "check": "(spec, facts, *, libbpf=(1, 7))",
    "facts_from_path": "(path, *, cache=None)",
    "live_facts": "(*specs)",
    "load_object": "(source, *, name=None, programs=None, skip_maps=(), map_sizes=None, initial_values=None, "
    "reuse_maps=None, size_zero_maps=False, kernel_log_level=0, debug=False, pin_root=None, kconfig=None, "
    "btf=None, token=None)",
    "needs_of_object": "(spec)",
    "open_object": "(path)",
    "plan": "(bundle, facts, check=None)",
    "run": "(path, *, facts=None, check=None, pin=None, prepare=None)",
}
HEAVY = {
    "rich",
    "msgspec",
    "numpy",
    "ctypes",
    "elftools",
    "pyroute2",
    "click",
    "zstandard",
    "tomllib",
    "sqlite3",
}


def shape(value: object) -> str:
    if inspect.isclass(value):
        return "class"
    if not callable(value):
        return "value"
    parameters = []
    starred = False
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            parameters.append(f"*{parameter.name}")
            starred = True
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parameters.append("*")
            starred = True
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        parameters.append(parameter.name + default)
    return f"({', '.join(parameters)})"


def test_every_name_resolves() -> None:
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    assert dir(holdfast) == sorted(holdfast.__all__)


def test_the_surface_is_as_agreed() -> None:
    assert {name: shape(getattr(holdfast, name)) for name in holdfast.__all__} == SURFACE


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'holdfast' has no attribute 'nothing'"):
        _ = holdfast.nothing


def test_names_for_type_checkers_are_those_at_run_time() -> None:
    """The block under TYPE_CHECKING imports each name from where it is found at run time."""
    source = Path(inspect.getfile(holdfast)).read_text()
    block = source.partition("if TYPE_CHECKING:\n")[2].partition("__all__")[0]
    found = {}
    for line in filter(lambda text: " holdfast." in text, block.splitlines()):
        _, module, _, names = line.split(maxsplit=3)
        for name in names.split(", "):
            real, _, alias = name.partition(" as ")
            found[alias or real] = (module, real)
    assert set(found) == set(holdfast.__all__) - {"__version__"}
    for name, (module, real) in found.items():
        assert getattr(importlib.import_module(module), real) is getattr(holdfast, name), name


@pytest.mark.parametrize("module", ["holdfast", "holdfast.cli.main", "holdfast.errors", "holdfast.terms"])
def test_import_brings_in_nothing_heavy(module: str) -> None:
    code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("open_object", set()),
        ("check", set()),
        ("KernelFacts", set()),
        ("needs_of_object", set()),
    ],
)
def test_what_is_pure_brings_in_neither_ctypes_nor_the_terminal(name: str, allowed: set[str]) -> None:
    code = (
        "import sys; before = set(sys.modules); import holdfast; "
        f"holdfast.{name}; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not (HEAVY - allowed) & {name.partition(".")[0] for name in done.stdout.split()}


def test_every_error_is_of_the_tree() -> None:
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, holdfast.HoldfastError)
        assert error.exit_status in (1, 2)
        assert error.__doc__


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "Error" in line]
    named = {
        word
        for line in lines
        for word in line.replace("─", " ").replace("├", " ").split()
        if word.endswith("Error")
    }
    assert set(errors.__all__) <= named


def test_three_steps(tmp_path: Path) -> None:
    """An object, a kernel, a verdict."""
    elf = ElfWriter()
    elf.license()
    elf.program("prog", "tc")
    path = tmp_path / "prog.bpf.o"
    path.write_bytes(elf.bytes())
    spec = holdfast.open_object(path)
    (verdict,) = holdfast.check(spec, kernel())
    assert isinstance(verdict, holdfast.ProgramVerdict)
    assert verdict.verdict is holdfast.Verdict.LOADS
    (needs,) = holdfast.needs_of_object(spec).programs
    assert needs.program is spec.programs[0]


def test_the_package_is_typed() -> None:
    assert (Path(inspect.getfile(holdfast)).parent / "py.typed").exists()
