# SPDX-License-Identifier: Apache-2.0
"""Predictions held against loads in booted kernels, and what came of it.

:mod:`~holdfast.truth.rows` keeps what kernels said, :mod:`~holdfast.truth.words` classes their last words,
:mod:`~holdfast.truth.score` counts where predictions were right.
"""

from __future__ import annotations
