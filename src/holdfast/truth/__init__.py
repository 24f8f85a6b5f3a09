# SPDX-License-Identifier: Apache-2.0
"""Predictions held against loads in booted kernels, and what came of it.

:mod:`~holdfast.truth.subject` is what is loaded, :mod:`~holdfast.truth.ground` where,
:mod:`~holdfast.truth.run` and :mod:`~holdfast.truth.workers` do it, :mod:`~holdfast.truth.journal` remembers
it. :mod:`~holdfast.truth.words` classes last words, :mod:`~holdfast.truth.rows` keeps what kernels said in a
file, :mod:`~holdfast.truth.score` counts where predictions were right.
"""

from __future__ import annotations
