# SPDX-License-Identifier: Apache-2.0
"""Hold what Holdfast claims of a kernel's kfuncs against its source and against the kernel's own answers.

Three outcomes for each fact: agreed, unknown (Holdfast says that it does not know) and wrong. A fact that is
wrong is a Finding with both sides in it. Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prove_kfuncs_cpp import ReadError
from prove_kfuncs_prototypes import Prototype, parse
from prove_kfuncs_source import Kfunc, Source

__all__ = ["LAYERS", "Claim", "Comparison", "Finding", "against_probe", "against_source"]

LAYERS = ("names", "flags", "program types", "flags by type", "filters", "modules", "prototypes")
# resolve_prog_type(): an EXT program counts as the program that it replaces, so it has no answer of its own.
BORROWED = frozenset({"EXT"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What Holdfast says of one kfunc; None where it says that it does not know."""

    name: str
    module: str | None
    flags: frozenset[str] | None
    program_types: frozenset[str] | None
    narrowed: bool
    by_type: Mapping[str, frozenset[str]] | None
    prototype: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    layer: str
    name: str
    claimed: str
    truth: str


@dataclass(slots=True)
class Comparison:
    """Counts for each layer, and every disagreement by name.

    ``unresolved`` and ``broken`` are defects of the build, where Holdfast and its BTF agree with each other
    and not with the source: kfuncs that BTF lacks, and kfuncs with implicit arguments that BTF shows to
    programs because resolve_btfids did not take the function for a kfunc. The verifier refuses calls of both.
    """

    agreed: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    wrong: list[Finding] = field(default_factory=list)
    unresolved: tuple[str, ...] = ()
    broken: list[str] = field(default_factory=list)

    def count(self, layer: str, outcome: bool | None) -> None:
        table = self.unknown if outcome is None else self.agreed
        for each in (self.agreed, self.unknown):
            each.setdefault(layer, 0)
        if outcome is not False:
            table[layer] += 1

    def check(self, layer: str, name: str, claimed: object, truth: object, *, known: bool = True) -> None:
        outcome = (claimed == truth) if known else None
        self.count(layer, outcome)
        if outcome is False:
            self.wrong.append(Finding(layer, name, _words(claimed), _words(truth)))

    def row(self, layer: str) -> tuple[int, int, int]:
        wrong = sum(1 for finding in self.wrong if finding.layer == layer)
        return self.agreed.get(layer, 0), self.unknown.get(layer, 0), wrong


def against_source(claims: Mapping[str, Claim], source: Source, in_btf: frozenset[str]) -> Comparison:
    """Every kfunc that either side knows.

    ``in_btf`` are the names that are functions in the build's BTF: resolve_btfids leaves the id of a set's
    other members 0 (tools/bpf/resolve_btfids), so no program can call them and no image can tell of them.
    """
    result = Comparison()
    result.unresolved = tuple(sorted(name for name in source.kfuncs if name not in in_btf))
    for name in sorted(claims.keys() | source.kfuncs.keys()):
        claim, truth = claims.get(name), source.kfuncs.get(name)
        if claim is None or truth is None:
            if truth is not None and name not in in_btf:
                continue
            said = "a kfunc" if claim else "no kfunc"
            what = "a kfunc" if truth else "fmod_ret only" if name in source.fmod_ret else "no kfunc"
            result.check("names", name, said, what)
            continue
        result.check("names", name, True, True)
        _compare(result, claim, truth, has_twin=f"{name}_impl" in in_btf)
    return result


def _compare(result: Comparison, claim: Claim, truth: Kfunc, *, has_twin: bool) -> None:
    name = claim.name
    result.check("flags", name, claim.flags, truth.common_flags, known=claim.flags is not None)
    types = _types(truth.flags)
    result.check(
        "program types",
        name,
        claim.program_types and _types(claim.program_types),
        types,
        known=claim.program_types is not None,
    )
    if claim.flags is not None and claim.program_types is not None:
        each = {kind: (claim.by_type or {}).get(kind, claim.flags) for kind in types}
        result.check("flags by type", name, each, {kind: truth.flags[kind] for kind in types})
    else:
        result.count("flags by type", None)
    result.check("filters", name, claim.narrowed, bool(truth.filters), known=claim.program_types is not None)
    result.check("modules", name, claim.module or "vmlinux", truth.module or "vmlinux")
    said = _parsed(claim.prototype)
    called = truth.called
    if said is not None and truth.prototype != called and said == truth.prototype and not has_twin:
        result.broken.append(name)
        called = truth.prototype
    result.check(
        "prototypes", name, _text(said), _text(called), known=said is not None and called is not None
    )


def _types(kinds: Iterable[str]) -> frozenset[str]:
    return frozenset(kinds) - BORROWED


def _parsed(text: str | None) -> Prototype | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ReadError:
        return Prototype(f"not understood: {text}", ())


def _text(prototype: Prototype | None) -> str | None:
    return None if prototype is None else prototype.text


def against_probe(claims: Mapping[str, Claim], rows: Sequence[Mapping[str, Any]]) -> Comparison:
    """Program types against a booted kernel's answers (``kfuncs`` of ``holdfast kernels probe``).

    A claim is wrong when the kernel says the opposite for all programs of a type; where Holdfast says that a
    filter narrows it, a refusal is no contradiction.
    """
    result = Comparison()
    for name, prog_type, answers in _answers(rows):
        claim = claims.get(name)
        pair = f"{name} from {prog_type}"
        admitted = True in answers
        if claim is None:
            if admitted:
                result.check("probe", pair, "no kfunc", "the kernel admits it")
            continue
        said = None if claim.program_types is None else prog_type in claim.program_types
        if said is None or answers == {None}:
            result.count("probe", None)
        elif said and not admitted:
            known = None not in answers and not claim.narrowed
            result.check("probe", pair, "admitted", "the kernel refuses it", known=known)
        elif admitted and not said:
            result.check("probe", pair, "not admitted", "the kernel admits it")
        else:
            result.count("probe", True)
    return result


def _answers(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, set[bool | None]]]:
    found: dict[tuple[str, str], set[bool | None]] = {}
    for row in rows:
        found.setdefault((row["name"], row["program_type"]), set()).add(row["answer"])
    for (name, prog_type), answers in found.items():
        yield name, prog_type, answers


def _words(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, frozenset | set):
        return " ".join(sorted(value)) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in sorted(value.items()))
    return str(value)
