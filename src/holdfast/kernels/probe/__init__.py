# SPDX-License-Identifier: Apache-2.0
"""Ask the running kernel by trial: tiny programs and maps that are loaded, looked at and closed at once.

Every answer has three values. A refusal counts as "no" only when it looks like that of a control, a trial
that the same kernel surely refuses for that very reason; see :mod:`holdfast.kernels.probe.judge`.
"""

from __future__ import annotations

# A booted guest asks little and must not pay for the rest: names are imported when they are used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from holdfast.kernels.probe.door import (
        all_features,
        all_types,
        every_helper,
        every_kfunc,
        everything,
        obstacle,
        probe,
    )
    from holdfast.kernels.probe.survey import ALL, Part, Step

__all__ = [
    "ALL",
    "Part",
    "Step",
    "all_features",
    "all_types",
    "every_helper",
    "every_kfunc",
    "everything",
    "obstacle",
    "probe",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'holdfast.kernels.probe' has no attribute {name!r}")
    from holdfast.kernels.probe import door

    value = globals()[name] = getattr(door, name)
    return value
