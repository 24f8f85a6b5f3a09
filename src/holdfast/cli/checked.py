# SPDX-License-Identifier: Apache-2.0
"""Verdicts on objects and bundles, for ``holdfast check`` and for the pytest fixture."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.bundle.bundle import Bundle
    from holdfast.bundle.plan import Plan
    from holdfast.elf import ObjectSpec
    from holdfast.kernels import KernelFacts
    from holdfast.kernels.probed import Wanted
    from holdfast.predict import Predictor, ProgramVerdict

__all__ = ["Checked", "check"]


@dataclass(frozen=True, slots=True)
class Checked:
    """``verdicts`` on the programs of ``objects`` and ``plans`` of bundles, both by kernel."""

    kernels: list[KernelFacts]
    objects: list[ObjectSpec]
    verdicts: list[ProgramVerdict]
    plans: list[Plan]


def check(
    paths: Sequence[str],
    kernels: Sequence[str],
    *,
    modules: str = "all",
    libbpf: str | None = None,
    probe: bool = True,
    predict_only: bool = False,
) -> Checked:
    """Judge; the options are those of the verb. Raises what it says to the user."""
    from holdfast.cli.console import progress
    from holdfast.cli.findings import Findings
    from holdfast.cli.subjects import open_subjects
    from holdfast.predict import Predictor
    from holdfast.predict.memory import Memory, few_collections
    from holdfast.predict.wanted import wanted
    from holdfast.truth.loads import PastLoads

    release = _release(libbpf)
    objects, bundles = open_subjects(paths)
    _refuse_without_programs(objects)
    everything = objects + [variant.spec for bundle in bundles for variant in bundle.variants]
    facts = _facts(kernels, modules, wanted(everything) if probe else None)
    findings = Findings([bundle.path for bundle in bundles])
    loads = None if predict_only else PastLoads(release)
    memory = Memory()

    def judge(spec: ObjectSpec, predictor: Predictor) -> list[ProgramVerdict]:
        real = predictor.kernel.facts.real
        verdicts = predictor.check(spec)
        return findings.add(spec, real, verdicts if loads is None else loads.apply(verdicts, real))

    predictors = [Predictor(kernel, release, memory) for kernel in facts]
    # By object, so that what kernels answer alike is worked out once and forgotten; printed by kernel.
    of_kernel: list[list[ProgramVerdict]] = [[] for _ in facts]
    plans_of: list[list[Plan]] = [[] for _ in facts]
    steps = len(facts) * (len(objects) + len(bundles))
    with few_collections(), progress("checking", steps) as step:
        for spec in objects:
            for found, predictor in zip(of_kernel, predictors, strict=True):
                found += judge(spec, predictor)
                step(spec.path)
            memory.forget(spec.sha256)
        for bundle in bundles:
            for planned, kernel, predictor in zip(plans_of, facts, predictors, strict=True):
                planned.append(_plan(bundle, kernel, judge, predictor))
                step(bundle.name)
    return Checked(
        facts,
        objects,
        [verdict for found in of_kernel for verdict in found],
        [plan for planned in plans_of for plan in planned],
    )


def _release(text: str | None) -> tuple[int, int]:
    """The libbpf to judge for: as asked, else the one that would load here."""
    from holdfast.cli.subjects import read_release
    from holdfast.errors import LibbpfError
    from holdfast.predict import DEFAULT_LIBBPF

    if text is not None:
        return read_release(text)
    from holdfast.libbpf import library
    from holdfast.libbpf.discover import ENVIRONMENT

    try:
        major, minor = library().version[:2]
    except LibbpfError:
        if os.environ.get(ENVIRONMENT):
            raise  # the one that was asked for is not replaced by another
        return DEFAULT_LIBBPF  # nothing loads here; the newest is the fair assumption
    return major, minor


def _refuse_without_programs(objects: list[ObjectSpec]) -> None:
    """An object that libbpf refuses and that has no program to give the verdict of must not pass."""
    from holdfast.errors import ObjectFileError

    for spec in objects:
        if spec.problems and not spec.programs:
            problem = spec.problems[0]
            message = f"libbpf refuses the object: {problem.message} ({problem.rule})"
            raise ObjectFileError(spec.path, message, hint=problem.hint)


def _facts(selectors: Sequence[str], modules: str, probe: Wanted | None) -> list[KernelFacts]:
    from holdfast.cli.subjects import open_kernels
    from holdfast.errors import UsageError

    found = open_kernels(selectors, probe=probe)
    if modules == "all":
        return found
    names = set() if modules == "none" else set(filter(None, modules.split(",")))
    result = []
    for kernel in found:
        there = {*kernel.modules, *(kernel.module_names or ())}
        unknown = sorted(names - there)
        if unknown:
            raise UsageError(
                f"--modules: {kernel.id} has no module {unknown[0]!r}",
                hint="give the names of modules as /proc/modules spells them",
            )
        result.append(kernel.with_modules(names))
    return result


def _plan(
    bundle: Bundle,
    kernel: KernelFacts,
    judge: Callable[[ObjectSpec, Predictor], list[ProgramVerdict]],
    predictor: Predictor,
) -> Plan:
    from holdfast.bundle.plan import plan

    return plan(bundle, kernel, lambda spec, _facts: judge(spec, predictor))
