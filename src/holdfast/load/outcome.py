# SPDX-License-Identifier: Apache-2.0
"""What became of a bundle here: the variant that runs or the fallback, and for each better one why not."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from holdfast import sys as kernel
from holdfast.bundle.entry_point import resolve
from holdfast.errors import LoadError, UsageError
from holdfast.load.link import Link
from holdfast.load.map import Map
from holdfast.load.object import Object
from holdfast.load.pins import Pins
from holdfast.load.program import Program
from holdfast.terms import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.bundle.manifest import BundleManifest
    from holdfast.bundle.plan import Plan, PlanReason, PlanStep

__all__ = ["Disowned", "NoVariantError", "Outcome", "OutcomeStep", "StepResult", "explain_steps"]

_T = TypeVar("_T")


WIDTH = 100  # columns of explain()


class StepResult(StrEnum):
    """What became of one variant."""

    RUNS = "RUNS"
    SKIPPED = "SKIPPED"  # it cannot load here, as was predicted
    REFUSED = "REFUSED"  # libbpf or the kernel refused to load or attach it
    NOT_TRIED = "NOT_TRIED"  # a better one runs


@dataclass(frozen=True, slots=True)
class OutcomeStep:
    """One variant. ``words`` and ``hint`` are those of the error that refused it, ``error`` is its class.

    ``errno`` is the kernel's or libbpf's, positive, 0 where neither said one. ``log`` holds the last lines of
    the verifier's log, where it was the verifier; ``reasons`` are those of the prediction.
    """

    variant: str
    summary: str
    object_path: str
    sha256: str
    result: StepResult
    verdict: Verdict
    reasons: tuple[PlanReason, ...] = ()
    error: str | None = None
    words: str | None = None
    hint: str | None = None
    log: str = ""
    errno: int = 0

    @classmethod
    def of(cls, step: PlanStep, result: StepResult, **refusal: str | int | None) -> OutcomeStep:
        """Returns the outcome of a planned step; ``refusal`` is error, errno, words, hint and log."""
        one = step.variant
        told: dict[str, Any] = refusal
        return cls(
            one.name,
            one.variant.summary,
            str(one.path),
            one.sha256,
            result,
            step.verdict,
            step.reasons,
            **told,
        )

    def to_dict(self) -> dict[str, object]:
        """Returns the step as JSON would have it."""
        from holdfast.bundle.rows import reason_row

        return {
            "name": self.variant,
            "object": self.object_path,
            "sha256": self.sha256,
            "result": str(self.result),
            "verdict": str(self.verdict),
            "reasons": [reason_row(one) for one in self.reasons],
            "error": self.error,
            "errno": self.errno or None,
            "words": self.words,
            "hint": self.hint,
            "log": self.log or None,
        }


class NoVariantError(LoadError):
    """No variant of a bundle runs here, and it has no fallback; ``steps`` say why."""

    def __init__(self, message: str, steps: Sequence[OutcomeStep], *, hint: str | None = None) -> None:
        super().__init__(message, log=explain_steps(steps), hint=hint)
        self.steps = tuple(steps)


@dataclass(frozen=True, slots=True)
class Disowned:
    """Descriptors that are the caller's to close; a link's attachment lasts as long as its descriptor."""

    programs: Mapping[str, kernel.OwnedFd]
    maps: Mapping[str, kernel.OwnedFd]
    links: Mapping[str, kernel.OwnedFd]

    def close(self) -> None:
        """Closes them all."""
        for group in (self.links, self.programs, self.maps):
            for one in group.values():
                one.close()


class Outcome:
    """A bundle at work; closing it closes its links, programs and maps. What was pinned stays.

    ``variant`` is the name of the one that runs, None on the fallback; ``steps`` has every variant, best
    first.
    """

    def __init__(
        self,
        plan: Plan,
        steps: Iterable[OutcomeStep],
        running: Object | None,
        links: Mapping[str, Link],
        pins: Sequence[Pins],
    ) -> None:
        self._plan = plan
        self._object = running
        self._closed = False
        self.steps = tuple(steps)
        self.links: Mapping[str, Link] = MappingProxyType(dict(links))
        self._pins = tuple(pins)
        self.variant = next((one.variant for one in self.steps if one.result is StepResult.RUNS), None)

    @property
    def bundle(self) -> str:
        """Returns the bundle's name."""
        return self._plan.bundle.name

    @property
    def bundle_path(self) -> Path:
        """Returns the bundle's folder."""
        return self._plan.bundle.path

    @property
    def kernel(self) -> str:
        """Returns the id of the kernel facts that the plan was made from."""
        return self._plan.kernel

    @property
    def pins(self) -> tuple[Path, ...]:
        """Returns the files that were pinned and not unpinned."""
        return tuple(path for pins in self._pins for path in pins.paths)

    @property
    def is_fallback(self) -> bool:
        return self.variant is None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def loaded(self) -> Object:
        """Returns the loaded object of the variant. Raises :class:`UsageError` on the fallback."""
        if self._closed:
            raise UsageError(f"{self.bundle}: the outcome is closed")
        if self._object is None:
            raise UsageError(
                f"{self.bundle}: no variant runs here, so there is nothing of it in the kernel",
                hint="see is_fallback, fallback and explain()",
            )
        return self._object

    @property
    def programs(self) -> Mapping[str, Program]:
        """Returns the programs of the interface; empty on the fallback."""
        if self._object is None:
            return {}
        return {one.name: self.loaded.program(one.name) for one in self._plan.bundle.manifest.programs}

    @property
    def maps(self) -> Mapping[str, Map]:
        """Returns the maps of the interface; empty on the fallback."""
        if self._object is None:
            return {}
        return {one.name: self.loaded.map(one.name) for one in self._plan.bundle.manifest.maps}

    def program(self, name: str) -> Program:
        """Returns a program of the interface. Raises :class:`UsageError` (no such one, fallback, closed)."""
        _ = self.loaded
        return self._pick(self.programs, name, "program")

    def map(self, name: str) -> Map:
        """Returns a map of the interface. Raises :class:`UsageError` as :meth:`program`."""
        _ = self.loaded
        return self._pick(self.maps, name, "map")

    def link(self, name: str) -> Link:
        """Returns the link of a program, or of a struct_ops map, that the manifest lets Holdfast attach.

        Raises :class:`UsageError` as :meth:`program`.
        """
        _ = self.loaded
        return self._pick(self.links, name, "link")

    def _pick(self, things: Mapping[str, _T], name: str, kind: str) -> _T:
        if name in things:
            return things[name]
        known = ", ".join(things) or "none"
        raise UsageError(f"{self.bundle}: the interface has no {kind} {name!r}", hint=f"there are: {known}")

    @property
    def fallback(self) -> Any:
        """Returns what the fallback's entry point names, imported now; None without one.

        None as well while a variant runs. It is the class or function itself: the application calls it with
        settings of its own. Raises :class:`ManifestError` when it cannot be imported.
        """
        fallback = self._plan.fallback
        if not self.is_fallback or fallback is None or fallback.python is None:
            return None
        return resolve(self._plan.bundle.manifest.path, fallback.python, "[fallback] python")

    @property
    def fallback_name(self) -> str | None:
        """Returns the name of the fallback that the bundle has, in use or not."""
        return self._plan.fallback.name if self._plan.fallback else None

    @property
    def manifest(self) -> BundleManifest:
        """Returns the bundle's manifest."""
        return self._plan.bundle.manifest

    def explain(self) -> str:
        """Returns what runs and why nothing better does, a line or two for each variant."""
        if self.variant is not None:
            head = f"{self.bundle}: variant {self.variant!r} runs"
        else:
            head = f"{self.bundle}: no variant runs here; the fallback {self.fallback_name!r} does the job"
            if self._plan.fallback and self._plan.fallback.summary:
                head += f": {self._plan.fallback.summary}"
        return "\n".join([f"{head} [{self.kernel}]", explain_steps(self.steps)])

    def to_dict(self) -> dict[str, object]:
        """Returns the outcome as JSON would have it; ids are the kernel's, descriptors this process's."""
        programs = {} if self._closed else self.programs
        maps = {} if self._closed else self.maps
        return {
            "bundle": self.bundle,
            "path": str(self.bundle_path),
            "kernel": self.kernel,
            "verdict": str(self._plan.verdict),
            "variant": self.variant,
            "fallback": self.is_fallback,
            "fallback_name": self.fallback_name,
            "variants": [one.to_dict() for one in self.steps],
            "programs": {name: {"id": one.id, "fd": one.fd} for name, one in programs.items()},
            "maps": {name: {"id": one.id, "fd": one.fd} for name, one in maps.items()},
            "links": {} if self._closed else {name: {"fd": one.fd} for name, one in self.links.items()},
            "pins": [str(path) for path in self.pins],
        }

    def disown(self) -> Disowned:
        """Returns descriptors of all programs, maps and links of the interface, for the caller to close.

        The outcome is closed by it, with nothing detached. Raises :class:`UsageError` on the fallback.
        """
        _ = self.loaded
        programs: dict[str, kernel.OwnedFd] = {}
        maps: dict[str, kernel.OwnedFd] = {}
        links: dict[str, kernel.OwnedFd] = {}
        taken = Disowned(programs, maps, links)
        try:
            for name, program in self.programs.items():
                programs[name] = program.duplicate_fd()
            for name, one in self.maps.items():
                maps[name] = one.duplicate_fd()
            for name, link in self.links.items():
                links[name] = link.disown()
        except BaseException:
            taken.close()
            self.close()
            raise
        self.close()
        return taken

    def unpin(self) -> None:
        """Removes what was pinned."""
        for pins in reversed(self._pins):  # those of links lie in a folder of the others'
            pins.remove()

    def close(self) -> None:
        """Detaches and closes everything; closing twice is no error."""
        self._closed = True
        if self._object is not None:
            self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        what = self.variant or f"fallback {self.fallback_name}"
        return f"<Outcome {self.bundle!r} {what}{' closed' if self._closed else ''}>"


def explain_steps(steps: Sequence[OutcomeStep]) -> str:
    """Returns the variants as text, best first: result, then the reasons of those that do not run."""
    width = max((len(one.variant) for one in steps), default=0)
    lines = []
    for number, one in enumerate(steps, 1):
        told = _told(one)
        first = f"  {number}. {one.variant:<{width}}  {_WORDS[one.result]}{': ' + told[0] if told else ''}"
        indent = " " * (7 + width)
        lines += _wrapped(first, "", indent + "  ")
        for line in told[1:]:
            lines += _wrapped(line, indent, indent + "  ")
    return "\n".join(lines)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


_WORDS = {
    StepResult.RUNS: "runs",
    StepResult.SKIPPED: "skipped",
    StepResult.REFUSED: "refused",
    StepResult.NOT_TRIED: "not tried",
}


def _told(step: OutcomeStep) -> list[str]:
    if step.result is StepResult.NOT_TRIED:
        return ["a better one runs"] if step.verdict is not Verdict.FAILS else _reasons(step)
    if step.result is StepResult.RUNS:
        return [step.summary] if step.summary else []
    told = [step.words] if step.words else _reasons(step)
    return [*told, f"hint: {step.hint}"] if step.hint else told


def _reasons(step: OutcomeStep) -> list[str]:
    lines = []
    for one in step.reasons:
        lines.append(f"program {one.program!r}: {one.line}")
        if one.hint:
            lines.append(f"hint: {one.hint}")
    return lines
