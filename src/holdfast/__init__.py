# SPDX-License-Identifier: Apache-2.0
"""Holdfast: BPF programs that hold on to kernels that move.

The best variant of a bundle, loaded, or its fallback, and why::

    import holdfast

    with holdfast.run("bundles/net/rss") as outcome:
        print(outcome.explain())

What a file requires, and whether it loads here::

    spec = holdfast.open_object("program.bpf.o")
    for verdict in holdfast.check(spec, holdfast.live_facts(spec)):
        print(verdict.program, verdict.verdict, *verdict.reasons)

Every error that is raised on purpose is a :class:`HoldfastError` with a ``hint`` (:mod:`holdfast.errors`).
Names are imported when they are first used, so ``import holdfast`` costs next to nothing.
"""

from __future__ import annotations

from holdfast._version import __version__

# Type checkers take any name like this for true; typing itself costs more than all that is imported here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from holdfast.bundle.bundle import Bundle
    from holdfast.bundle.plan import Plan, plan
    from holdfast.elf import ObjectSpec, open_object
    from holdfast.errors import HoldfastError
    from holdfast.here import live_facts
    from holdfast.kernels import KernelFacts
    from holdfast.kernels.image import from_path as facts_from_path
    from holdfast.load import open_object as load_object
    from holdfast.load.outcome import Outcome
    from holdfast.load.runner import run
    from holdfast.needs import needs_of_object
    from holdfast.predict import ProgramVerdict
    from holdfast.predict import check_object as check
    from holdfast.terms import Verdict

__all__ = [
    "Bundle",
    "HoldfastError",
    "KernelFacts",
    "ObjectSpec",
    "Outcome",
    "Plan",
    "ProgramVerdict",
    "Verdict",
    "__version__",
    "check",
    "facts_from_path",
    "live_facts",
    "load_object",
    "needs_of_object",
    "open_object",
    "plan",
    "run",
]

_HOMES = {
    "Bundle": ("holdfast.bundle.bundle", "Bundle"),
    "HoldfastError": ("holdfast.errors", "HoldfastError"),
    "KernelFacts": ("holdfast.kernels", "KernelFacts"),
    "ObjectSpec": ("holdfast.elf", "ObjectSpec"),
    "Outcome": ("holdfast.load.outcome", "Outcome"),
    "Plan": ("holdfast.bundle.plan", "Plan"),
    "ProgramVerdict": ("holdfast.predict", "ProgramVerdict"),
    "Verdict": ("holdfast.terms", "Verdict"),
    "check": ("holdfast.predict", "check_object"),
    "facts_from_path": ("holdfast.kernels.image", "from_path"),
    "live_facts": ("holdfast.here", "live_facts"),
    "load_object": ("holdfast.load", "open_object"),
    "needs_of_object": ("holdfast.needs", "needs_of_object"),
    "open_object": ("holdfast.elf", "open_object"),
    "plan": ("holdfast.bundle.plan", "plan"),
    "run": ("holdfast.load.runner", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
