# SPDX-License-Identifier: Apache-2.0
"""Which helpers are for GPL-compatible programs only (``bpf_func_proto.gpl_only``)."""

from __future__ import annotations

from functools import cache

from holdfast.rules.helper_table import HELPERS, RULES

__all__ = ["gpl_only"]


def gpl_only(helper: int) -> bool:
    """Whether every kernel that was read offers the helper to GPL-compatible programs alone."""
    return HELPERS.get(helper) in _names()


@cache
def _names() -> frozenset[str]:
    offered: set[str] = set()
    free: set[str] = set()
    for row, groups in RULES:
        alternatives = [alternative for cell in row if cell != "no" for alternative in cell.split("|")]
        names = {name for _, group in groups for name in group.split()}
        if alternatives:
            offered |= names
            if any("gpl" not in alternative.split("&") for alternative in alternatives):
                free |= names
    return frozenset(offered - free)
