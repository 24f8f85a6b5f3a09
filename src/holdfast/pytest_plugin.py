# SPDX-License-Identifier: Apache-2.0
"""A pytest fixture for projects that ship BPF objects: this object must load on these kernels.

::

    def test_our_object(bpf_loads):
        bpf_loads("build/prog.bpf.o", kernels=["debian/6.1*", "debian/6.12*"])

pytest imports this in every run where Holdfast is installed, so it imports nothing of Holdfast before a test
asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.elf import ObjectSpec
    from holdfast.report.cases import Case

__all__ = ["bpf_loads"]


@pytest.fixture(scope="session")
def bpf_loads() -> Callable[..., None]:
    """A function ``(path, *, kernels, programs=None, boot=False, packages=(), unknown=False)`` that fails the
    test unless the programs load.

    ``path`` is an object, a folder of objects, or a bundle, which loads where one of its variants does.
    ``kernels`` are selectors as ``--kernel`` takes them, one or several. ``programs`` names those that
    matter, None all that libbpf loads without being asked. ``boot`` boots the kernels and loads for real,
    and looks for packages in ``packages`` first. What cannot be told fails the test unless ``unknown`` is
    true; what could not be tried always does.
    """
    return _require


def _require(
    path: str | Path,
    *,
    kernels: str | Iterable[str],
    programs: str | Iterable[str] | None = None,
    boot: bool = False,
    packages: Sequence[str | Path] = (),
    unknown: bool = False,
) -> None:
    __tracebackhide__ = True
    from holdfast.errors import HoldfastError

    selectors = [kernels] if isinstance(kernels, str) else list(kernels)
    wanted = None if programs is None else {programs} if isinstance(programs, str) else set(programs)
    if not selectors:
        pytest.fail("bpf_loads: no kernels are named", pytrace=False)
    try:
        told = _told(str(path), selectors, wanted, boot, packages, unknown)
    except HoldfastError as error:
        pytest.fail(f"{error.message}\nhint: {error.hint}" if error.hint else error.message, pytrace=False)
    if told:
        pytest.fail("\n".join(told), pytrace=False)


def _told(
    path: str,
    kernels: list[str],
    wanted: set[str] | None,
    boot: bool,
    packages: Sequence[str | Path],
    unknown: bool,
) -> list[str]:
    """What is to be said against it, a line each."""
    from holdfast.cli.subjects import open_subjects
    from holdfast.report.cases import State

    objects, bundles = open_subjects([path])
    if bundles and wanted is not None:
        return [f"{path} is a bundle: its manifest says which programs matter"]
    there = {program.name for spec in objects for program in spec.programs}
    if wanted is not None and wanted - there:
        return [f"{path} has no program {min(wanted - there)!r}; it has {', '.join(sorted(there))}"]
    chosen = {(str(bundle.path), bundle.name) for bundle in bundles} | set(_programs(objects, wanted))
    if not chosen:
        return [f"{path} has no program to load"]
    cases = _tried(path, kernels, packages) if boot else _predicted(path, kernels)
    mine = [case for case in cases if (case.object, case.program) in chosen]
    if not mine:
        return [f"{path} was tried on no kernel"]
    allowed = {State.LOADS, State.UNKNOWN} if unknown else {State.LOADS}
    bad = [case for case in mine if case.state not in allowed]
    return [f"{case.program} on {case.kernel} {_word(case)}: {case.code}: {case.line}" for case in bad]


def _programs(objects: Iterable[ObjectSpec], wanted: set[str] | None) -> Iterable[tuple[str, str]]:
    for spec in objects:
        for program in spec.programs:
            if program.autoload if wanted is None else program.name in wanted:
                yield spec.path, program.name


def _word(case: Case) -> str:
    return {"fails": "does not load", "unknown": "may not load", "error": "was not tried"}[case.state.value]


def _predicted(path: str, kernels: list[str]) -> list[Case]:
    from holdfast.cli.checked import check
    from holdfast.report.cases import cases_of, cases_of_plans

    done = check([path], kernels)
    return [*cases_of(done.verdicts), *cases_of_plans(done.plans)]


def _tried(path: str, kernels: list[str], packages: Sequence[str | Path]) -> list[Case]:
    from pathlib import Path

    from holdfast.cli.verify import verify
    from holdfast.truth.bundles import bundles_of
    from holdfast.truth.bundles_rows import case_of_bundle
    from holdfast.truth.subject import subjects

    done = verify(subjects([path]), kernels, [Path(one) for one in packages], bundles=bundles_of([path]))
    return [*done.outer, *(case_of_bundle(one) for one in done.bundles)]
