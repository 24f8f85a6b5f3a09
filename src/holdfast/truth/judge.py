# SPDX-License-Identifier: Apache-2.0
"""What is predicted put beside what was said: rows for the file, cases for reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from holdfast.kernels.facts import KernelFacts
from holdfast.predict import Predictor, ProgramVerdict
from holdfast.predict.memory import Memory
from holdfast.report.cases import Case
from holdfast.truth.rows import TruthRow
from holdfast.truth.run import Said, Trouble
from holdfast.truth.subject import Subject
from holdfast.truth.words import classify, telling, was_taken

__all__ = ["Predictions", "case_of", "predictions", "row_of"]

Predictions = Mapping[tuple[str, str, str], ProgramVerdict]
"""By kernel id, the object's sha256 and program. Of two programs with one name the first."""


def predictions(
    subjects: Iterable[Subject],
    facts: Sequence[KernelFacts],
    libbpf: tuple[int, int],
    step: Callable[[str], object] = lambda _: None,
) -> Predictions:
    """Verdicts on every program on every kernel, for that release of libbpf."""
    memory = Memory()
    predictors = [Predictor(one, libbpf, memory) for one in facts]
    found: dict[tuple[str, str, str], ProgramVerdict] = {}
    for subject in subjects:
        for predictor in predictors:
            for verdict in predictor.check(subject.spec):
                found.setdefault((verdict.kernel, subject.sha256, verdict.program), verdict)
        memory.forget(subject.sha256)
        step(subject.name.rpartition("/")[2])
    return found


def row_of(said: Said, loader: str) -> TruthRow:
    """What is kept of it."""
    row = said.row
    libbpf, verifier = row.get("libbpf", []), row.get("verifier", [])
    loaded = was_taken(row["loaded"], libbpf) is True
    return TruthRow(
        row["sha256"],
        said.kernel,
        loader,
        row["program"],
        loaded,
        None if loaded else row["errno"],
        classify(loaded, row["errno"], libbpf, verifier),
        row.get("processed_insns") or None,
    )


def case_of(verdict: ProgramVerdict, said: Said | None, trouble: Trouble | None) -> Case:
    """A verdict with what came of it: an answer, or the trouble that was in its way."""
    row = said.row if said is not None else {}
    libbpf, verifier = row.get("libbpf", []), row.get("verifier", [])
    loaded = was_taken(row.get("loaded"), libbpf)
    refused = loaded is False
    return Case(
        verdict.object_path,
        verdict.program,
        verdict.kernel,
        verdict.verdict,
        verdict.reasons,
        loaded=loaded,
        tried=True,
        trouble="" if said is not None else trouble.message if trouble else "nobody knows why",
        errno=row.get("errno"),
        said=(*libbpf, *verifier) if refused else trouble.console if trouble else (),
        last=telling(libbpf, verifier) if refused else "",
        stopped_at=row.get("source"),
        processed=row.get("processed_insns"),
        seconds=row.get("seconds"),
    )
