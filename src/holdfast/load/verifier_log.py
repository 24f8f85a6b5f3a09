# SPDX-License-Identifier: Apache-2.0
"""The verifier's log: what it said last, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["VerifierLog"]

_PROCESSED = re.compile(r"^processed (\d+) insns", re.M)
# What the verifier prints about its way (print_verifier_state, verbose_linfo, verbose_insn), not about an
# error.
_NARRATION = re.compile(
    r"^(\d+: |; |from \d+ to \d+|\s*R\d+(_w|_r)?=|func#\d+ @|Live regs|mark_precise|propagating|live regs)"
)
_STATISTICS = re.compile(r"^(processed \d+ insns|verification time|stack depth|max_states_per_insn)")
_SOURCE = re.compile(r"^; .* @ (\S+:\d+)(?::\d+)?$")  # verbose_linfo names the file since 6.10
_INSN = re.compile(r"^(\d+): \(")


@dataclass(frozen=True, slots=True)
class VerifierLog:
    """A log and what can be read from it."""

    text: str
    error: str | None  # the verifier's last words, None when it gave none
    processed_insns: int | None
    insn: int | None  # index of the last instruction that it looked at
    source: str | None  # file:line of the last C line that it printed

    @classmethod
    def parse(cls, text: str) -> VerifierLog:
        """Returns what a log of level 1 or 2 says. Any text will do; what is not there is None."""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        while lines and _STATISTICS.match(lines[-1]):
            lines.pop()
        error = insn = source = None
        # The verifier stops at the first error: its words are the last that are not narration.
        if lines and not _NARRATION.match(lines[-1]):
            error = lines[-1].strip()
        for line in reversed(lines):
            if insn is None and (found := _INSN.match(line)):
                insn = int(found[1])
            if source is None and (found := _SOURCE.match(line)):
                source = found[1]
            if insn is not None and source is not None:
                break
        processed = _PROCESSED.search(text)
        return cls(text, error, int(processed[1]) if processed else None, insn, source)

    def tail(self, lines: int = 12) -> str:
        """Returns the last ``lines`` lines, the statistics left out."""
        kept = [line for line in self.text.splitlines() if line.strip() and not _STATISTICS.match(line)]
        return "\n".join(kept[-lines:])
