# SPDX-License-Identifier: Apache-2.0
"""Membership in the sets of kernel functions that the verifier and the BPF LSM decide by."""

from __future__ import annotations

from functools import cache

from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.btf_sets import KNOWN_IN, SETS, TREES
from holdfast.rules.eras import trees_in

__all__ = ["member_of", "members"]


@cache
def members(name: str, tree: int) -> dict[str, str]:
    """Members of a set in the tree at that position -> options that compile them in ('' = always)."""
    found: dict[str, str] = {}
    for mask, options, names in SETS.get(name, ()):
        if mask[tree] == "y":
            found |= dict.fromkeys(names.split(), options)
    return found


def member_of(name: str, function: str, ask: Ask) -> Ruling:
    """Whether a kernel function belongs to the set on this kernel; UNKNOWN where releases disagree.

    The options that guard a member are not asked: where they are off the function itself is not in BTF.
    """
    trees, by_release = trees_in(ask, TREES)
    source = f"{name} in kernel/bpf"
    answers = {KNOWN_IN[name][tree] and function in members(name, tree) for tree in trees}
    if len(answers) > 1:
        return Ruling(Allowed.UNKNOWN, f"{name} changed between releases that this kernel may be", source)
    yes = answers.pop()
    return Ruling(Allowed.YES if yes else Allowed.NO, "", source, by_release=by_release)
