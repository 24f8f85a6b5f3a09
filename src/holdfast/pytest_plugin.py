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
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.report.cases import Case

__all__ = ["bpf_loads"]


@pytest.fixture(scope="session")
def bpf_loads() -> Callable[..., None]:
    """A function ``(path, *, kernels, programs=None, boot=False, packages=(), unknown=False)`` that fails the
    test unless the programs load.

    ``path`` is an object, a bundle or a folder of objects; ``kernels`` are selectors as ``--kernel`` takes
    them; ``programs`` names those that matter, None all that libbpf loads without being asked. ``boot`` boots
    the kernels and loads for real, and looks for packages in ``packages`` first. A program that cannot be
    told fails the test unless ``unknown`` is true; one that could not be tried always does.
    """
    return _require


def _require(
    path: str | Path,
    *,
    kernels: Iterable[str],
    programs: Iterable[str] | None = None,
    boot: bool = False,
    packages: Sequence[str | Path] = (),
    unknown: bool = False,
) -> None:
    __tracebackhide__ = True
    from holdfast.report.cases import State
    from holdfast.truth.subject import subjects

    found = subjects([path])
    wanted = None if programs is None else set(programs)
    there = {program.name for subject in found for program in subject.spec.programs}
    if wanted is not None and wanted - there:
        pytest.fail(f"{path} has no program {sorted(wanted - there)[0]!r}; it has {', '.join(sorted(there))}")
    chosen = {
        (subject.name, program.name)
        for subject in found
        for program in subject.spec.programs
        if (program.autoload if wanted is None else program.name in wanted)
    }
    if not chosen:
        pytest.fail(f"{path} has no program to load")
    cases = _tried(found, list(kernels), packages) if boot else _predicted(found, list(kernels))
    allowed = {State.LOADS, State.UNKNOWN} if unknown else {State.LOADS}
    mine = [case for case in cases if (case.object, case.program) in chosen]
    bad = [case for case in mine if case.state not in allowed]
    if not mine:
        pytest.fail(f"{path} was tried on no kernel")
    if bad:
        lines = [f"{case.program} on {case.kernel} {_word(case)}: {case.code}: {case.line}" for case in bad]
        pytest.fail("\n".join(lines), pytrace=False)


def _word(case: Case) -> str:
    return {"fails": "does not load", "unknown": "may not load", "error": "was not tried"}[case.state.value]


def _predicted(found: list[Any], kernels: list[str]) -> list[Case]:
    from holdfast.kernels.select import select
    from holdfast.predict import DEFAULT_LIBBPF, Predictor
    from holdfast.report.cases import cases_of

    return [
        case
        for facts in select(kernels)
        for subject in found
        for case in cases_of(Predictor(facts, DEFAULT_LIBBPF).check(subject.spec))
    ]


def _tried(found: list[Any], kernels: list[str], packages: Sequence[str | Path]) -> list[Case]:
    from pathlib import Path

    from holdfast.cli.verify import verify

    return verify(found, kernels, [Path(one) for one in packages]).cases
