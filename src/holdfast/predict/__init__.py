# SPDX-License-Identifier: Apache-2.0
"""Predict whether programs load: needs x facts -> verdicts."""

from __future__ import annotations

from holdfast.predict.check import DEFAULT_LIBBPF, Predictor, check_object
from holdfast.predict.codes import HazardCode, ReasonCode
from holdfast.predict.model import Hazard, ProgramVerdict, Reason, Stage

__all__ = [
    "DEFAULT_LIBBPF",
    "Hazard",
    "HazardCode",
    "Predictor",
    "ProgramVerdict",
    "Reason",
    "ReasonCode",
    "Stage",
    "check_object",
]
