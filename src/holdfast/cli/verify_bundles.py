# SPDX-License-Identifier: Apache-2.0
"""The part of ``holdfast verify`` that is about bundles: plans beside what ran, and whether it works."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from holdfast.bundle.bundle import Bundle
    from holdfast.bundle.plan import Plan
    from holdfast.truth.bundles_judge import BundleCase, VariantCase
    from holdfast.truth.run import Task

__all__ = ["explained", "status_of_bundles", "with_bundles", "with_proofs_prepared"]


def with_bundles(
    tasks: Sequence[Task], bundles: Sequence[Bundle], planned: Mapping[tuple[int, str], Plan]
) -> list[Task]:
    """The tasks with these bundles in them, a task for each kernel.

    Raises :exc:`~holdfast.errors.UsageError` for a Python package that a proof needs and that is not here.
    """
    from importlib.util import find_spec

    from holdfast.errors import UsageError
    from holdfast.truth.bundles import modules_of, packages_of, part_of

    for bundle in bundles:
        for name in packages_of([bundle]):
            if find_spec(name) is None:
                raise UsageError(
                    f"the proof of {bundle.name} needs the Python package {name!r}, which is not installed",
                    hint="install it, or put its folder into PYTHONPATH; guests get it from here",
                )
    return [
        replace(
            task,
            modules=tuple(dict.fromkeys([*task.modules, *modules_of(bundles)])),
            packages=packages_of(bundles),
            bundles=tuple(part_of(number, planned[number, task.kernel]) for number in range(len(bundles))),
        )
        for task in tasks
    ]


def with_proofs_prepared(tasks: Sequence[Task], bundles: Sequence[Bundle]) -> list[Task]:
    """The tasks with what the proofs of their bundles prepare, which is made once for all kernels.

    Raises what :func:`holdfast.load.prove.prepared` and :func:`holdfast.truth.bundles.with_prepared` do.
    """
    from holdfast.load.prove import prepared
    from holdfast.truth.bundles import with_prepared

    numbers = sorted({part.number for task in tasks for part in task.bundles})
    ready = {number: prepared(bundles[number].manifest) for number in numbers}
    return [
        replace(task, bundles=tuple(with_prepared(part, ready[part.number]) for part in task.bundles))
        for task in tasks
    ]


def explained(cases: Sequence[BundleCase], wanted: str) -> Iterator[tuple[BundleCase, VariantCase]]:
    """The variants that ``VARIANT@KERNEL`` or ``BUNDLE@KERNEL`` names; globs will do."""
    name, _, kernel = wanted.partition("@")
    for case in cases:
        for one in case.variants:
            names = (one.name, case.bundle, f"{case.bundle}:{one.name}")
            if fnmatchcase(case.kernel, kernel or "*") and any(fnmatchcase(each, name) for each in names):
                yield case, one


def status_of_bundles(cases: Sequence[BundleCase]) -> ExitStatus:
    """FAILS where no variant runs or one that loads does not work, UNKNOWN where that could not be told."""
    status = ExitStatus.OK
    for case in cases:
        if case.fails:
            status |= ExitStatus.FAILS
        if case.open:
            status |= ExitStatus.UNKNOWN
    return status
