# SPDX-License-Identifier: Apache-2.0
"""What the outcome of a trial call means, judged by comparison with trials whose meaning is certain.

No message of any release is known here. A verifier log is split at the line that shows the call: what stands
before it (with names and numbers blanked) says whether the verifier got as far as it does for a control, and
the line after it what it then said. A control is a call that is surely refused because it may not be made, so

* the same line before and after, and the same errno: not allowed;
* the same before and something else after: the call was admitted, and its arguments or context were refused
  (the verifier asks who may call before it looks at arguments: check_helper_call, check_kfunc_call);
* anything else (it stopped before the call, as "metadata kfuncs require device-bound program"): undecided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["Shape", "Trial", "judge", "last_words", "shape"]

_CALL: Final = re.compile(r"^(\d+: \(85\) call )(\S+)")
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Trial:
    """One BPF_PROG_LOAD: whether it loaded, the errno (positive, 0 when loaded) and the verifier's log."""

    loaded: bool
    errno: int
    log: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A refusal with names and numbers blanked, split after the line that shows the call."""

    errno: int
    before: tuple[str, ...]
    after: str


# One kfunc is refused in the same words by most program types.
@lru_cache(256)
def shape(trial: Trial) -> Shape | None:
    """The shape of a refusal; None when the log shows no call, or when the program loaded."""
    if trial.loaded:
        return None
    lines = trial.log.splitlines()
    for at, line in enumerate(lines):
        call = _CALL.match(line)
        if call is None:
            continue
        token = call[2]
        name = token.partition("#")[0]
        before = [*lines[:at], call[1] + token]
        after = lines[at + 1] if at + 1 < len(lines) else ""
        return Shape(
            trial.errno, tuple(_blank(text, token, name) for text in before), _blank(after, token, name)
        )
    return None


def _blank(text: str, token: str, name: str) -> str:
    text = text.replace(token, "FUNC")
    if name:
        text = re.sub(rf"\b{re.escape(name)}\b", "FUNC", text)
    return _DIGITS.sub("0", text)


def last_words(trial: Trial) -> tuple[int, str]:
    """The errno and the last line that is about the program, numbers blanked; statistics are left out."""
    lines = [line for line in trial.log.splitlines() if not line.startswith("processed ")]
    return trial.errno, _DIGITS.sub("0", lines[-1]) if lines else ""


def judge(trial: Trial, controls: Iterable[Shape]) -> bool | None:
    """Whether the call may be made: True, False, or None for undecided. No controls, no negative answer."""
    if trial.loaded:
        return True
    seen = shape(trial)
    if seen is None:
        return None
    comparable = False
    for control in controls:
        if seen == control:
            return False
        comparable |= seen.before == control.before
    return True if comparable else None
