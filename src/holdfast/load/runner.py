# SPDX-License-Identifier: Apache-2.0
"""Carry out a plan: load the best variant that this kernel takes, attach and pin it, or fall back.

::

    with holdfast.run("bundles/net/rss") as outcome:
        print(outcome.explain())
        if outcome.is_fallback:
            steering = outcome.fallback()
        else:
            tap.set_steering(outcome.program("steer").fd)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.bundle import Attach, Bundle, BundleManifest
from holdfast.bundle.plan import Action, Check, Plan, PlanStep, plan
from holdfast.errors import (
    HoldfastError,
    KernelAccessError,
    LibbpfError,
    LoadError,
    PrivilegeError,
    VerifierError,
)
from holdfast.load.link import Link
from holdfast.load.object import Object
from holdfast.load.outcome import NoVariantError, Outcome, OutcomeStep, StepResult
from holdfast.load.pins import Pins, pin_all
from holdfast.load.session import Session
from holdfast.load.verifier_log import VerifierLog

if TYPE_CHECKING:
    from holdfast.kernels import KernelFacts

__all__ = ["LINKS_FOLDER", "carry_out", "plan_here", "run"]

LINKS_FOLDER = "links"
"""Below the folder of the pins: a link has its program's name, so it cannot stand beside it."""

Prepare = Callable[[Session], None]


def run(
    path: str | os.PathLike[str] | Bundle,
    *,
    facts: KernelFacts | None = None,
    check: Check | None = None,
    pin: str | os.PathLike[str] | None = None,
    prepare: Prepare | None = None,
) -> Outcome:
    """Opens a bundle, plans it for this kernel and carries the plan out; returns the outcome, to be closed.

    ``facts`` None asks the running kernel; one that cannot be asked (no BTF) is tried without a prediction.
    ``check`` replaces the prediction. The rest is :func:`carry_out`'s, as are the errors; besides,
    those of :meth:`Bundle.open`.
    """
    bundle = path if isinstance(path, Bundle) else Bundle.open(path)
    return carry_out(plan_here(bundle, facts=facts, check=check), pin=pin, prepare=prepare)


def plan_here(bundle: Bundle, *, facts: KernelFacts | None = None, check: Check | None = None) -> Plan:
    """Returns the plan for this kernel and the libbpf that would load here; nothing is loaded yet."""
    if facts is None:
        facts = _facts_of_this_kernel(bundle)
    return plan(bundle, facts, check or _check_here())


def carry_out(
    plan: Plan, *, pin: str | os.PathLike[str] | None = None, prepare: Prepare | None = None
) -> Outcome:
    """Tries a plan's variants in their order; returns the first that loads and attaches, or the fallback.

    ``prepare`` is called with the session of each variant before it is loaded: it sets map sizes and global
    variables. ``pin`` is a folder of a bpf file system for the programs and maps of the interface, all or
    none, with the links in ``links`` below it; what cannot be pinned is an error, no reason for another
    variant. A variant that is refused leaves nothing behind, and neither does any error.

    Raises :class:`~holdfast.load.outcome.NoVariantError` when no variant runs and there is no fallback,
    :class:`~holdfast.errors.PrivilegeError` when that is for want of privilege alone,
    :class:`~holdfast.errors.LibbpfError` or PrivilegeError when pinning fails, and whatever ``prepare`` does.
    """
    manifest = plan.bundle.manifest
    steps: list[OutcomeStep] = []
    running: Object | None = None
    pins: list[Pins] = []
    try:
        links: dict[str, Link] = {}
        for step in plan.steps:
            if running is not None:
                steps.append(OutcomeStep.of(step, StepResult.NOT_TRIED))
            elif step.action is Action.SKIP:
                steps.append(OutcomeStep.of(step, StepResult.SKIPPED))
            else:
                try:
                    running, links = _start(step, manifest, prepare)
                    steps.append(OutcomeStep.of(step, StepResult.RUNS))
                except _RefusedError as refused:
                    steps.append(_refusal(step, refused.error))
        if running is None and plan.fallback is None:
            raise _nothing_runs(plan, steps)
        if pin is not None and running is not None:
            _pin(Path(pin), manifest, running, links, pins)
        return Outcome(plan, steps, running, links, pins)
    except BaseException:
        _remove(pins)
        if running is not None:
            running.close()
        raise


class _RefusedError(Exception):
    """A variant did not get into its place; ``error`` says why."""

    def __init__(self, error: HoldfastError) -> None:
        super().__init__(error.message)
        self.error = error


def _start(
    step: PlanStep, manifest: BundleManifest, prepare: Prepare | None
) -> tuple[Object, dict[str, Link]]:
    """Opens, loads and attaches one variant; whatever is raised, nothing of it stays."""
    variant = step.variant
    try:
        session = Session(variant.content, name=str(variant.path), programs=variant.programs)
    except HoldfastError as error:
        raise _RefusedError(error) from None
    try:
        if prepare is not None:
            prepare(session)  # its errors are the application's, and end the whole
        try:
            loaded = session.load()
            return loaded, _attach(loaded, manifest)
        except HoldfastError as error:
            raise _RefusedError(error) from None
    except BaseException:
        session.close()
        raise


def _attach(loaded: Object, manifest: BundleManifest) -> dict[str, Link]:
    links = {}
    for program in manifest.programs:
        if program.attach is Attach.AUTO:
            links[program.name] = loaded.program(program.name).attach()
    for one in manifest.maps:
        if one.attach is Attach.AUTO:
            links[one.name] = loaded.map(one.name).attach()
    return links


def _refusal(step: PlanStep, error: HoldfastError) -> OutcomeStep:
    # The words are kept, the error is not: its traceback would keep the session's buffers.
    log = VerifierLog.parse(error.log).tail() if isinstance(error, VerifierError) else ""
    return OutcomeStep.of(
        step,
        StepResult.REFUSED,
        error=type(error).__name__,
        errno=error.errno if isinstance(error, LoadError) else 0,
        words=error.message,
        hint=error.hint,
        log=log,
    )


def _nothing_runs(plan: Plan, steps: list[OutcomeStep]) -> HoldfastError:
    last = steps[-1]  # the one that asks least
    certain = [one for one in last.reasons if one.certain] or list(last.reasons)
    why = last.words or (certain[0].line if certain else "it was not tried")
    hint = last.hint if last.words else next((one.hint for one in certain), None)
    if all(_denied(one) for one in steps):
        return PrivilegeError(f"{plan.bundle.name}: {why}", hint=hint)
    message = f"{plan.bundle.name}: no variant runs here, and there is no fallback; {last.variant!r}: {why}"
    return NoVariantError(message, steps, hint=hint)


def _denied(step: OutcomeStep) -> bool:
    """Whether it is for want of privilege alone that a variant does not run."""
    if step.result is StepResult.REFUSED:
        return step.error == PrivilegeError.__name__
    from holdfast.predict.codes import ReasonCode

    codes = {one.code for one in step.reasons if one.certain}
    return bool(codes) and codes <= {ReasonCode.CAPABILITY_MISSING, ReasonCode.POLICY_DENIED}


def _pin(
    folder: Path, manifest: BundleManifest, running: Object, links: dict[str, Link], pins: list[Pins]
) -> None:
    """Pins, and adds to ``pins`` what it pinned, so that the caller can take it back."""
    descriptors = {one.name: running.program(one.name).fd for one in manifest.programs}
    descriptors |= {one.name: running.map(one.name).fd for one in manifest.maps}
    pins.append(pin_all(folder, descriptors))
    if links:
        pins.append(pin_all(folder / LINKS_FOLDER, {name: link.fd for name, link in links.items()}))


def _remove(pins: list[Pins]) -> None:
    while pins:  # the last first: it lies in a folder of the one before
        pins.pop().remove()


def _check_here() -> Check:
    from holdfast.libbpf import library
    from holdfast.predict import check_object

    try:
        return partial(check_object, libbpf=library().version)
    except LibbpfError:
        # Each attempt will say so; the prediction can do without.
        return check_object


def _facts_of_this_kernel(bundle: Bundle) -> KernelFacts | None:
    from holdfast.here import live_facts

    try:
        return live_facts(*(one.spec for one in bundle.variants))
    except KernelAccessError:
        return None
