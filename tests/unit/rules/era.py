# SPDX-License-Identifier: Apache-2.0
"""A kernel of some release, as far as the markers of ``holdfast.rules.eras`` show one."""

from __future__ import annotations

from holdfast.rules.ask import Nothing, Sign, SignKind
from holdfast.rules.eras import MARKERS
from holdfast.rules.helper_table import HELPERS, LAST_HELPER, TREES

__all__ = ["Era"]


class Era(Nothing):
    """Shows the markers up to a release, the helpers of the tree it follows, and what else it is given."""

    def __init__(
        self, *release: int, extra: tuple[Sign, ...] = (), options: dict[str, bool] | None = None
    ) -> None:
        self.at = (release[0], release[1])
        self.extra = set(extra)
        self.options = options
        self.capabilities: dict[str, bool] = {}
        self.forbidden: frozenset[str] | None = frozenset()
        self.markers = {sign: since for since, sign in MARKERS}
        # An odd release has all helpers of the tree after it: only existence hangs on that.
        tree = next((n for n, known in enumerate(TREES) if known >= self.at), len(TREES) - 1)
        self.helpers = {f"BPF_FUNC_{name}" for number, name in HELPERS.items() if number <= LAST_HELPER[tree]}

    def btf(self, sign: Sign) -> bool | None:
        if sign in self.extra:
            return True
        if sign in self.markers:
            return self.markers[sign] <= self.at
        if sign.kind is SignKind.ENUM_VALUE and sign.of == "bpf_func_id":
            return sign.name in self.helpers
        return None if sign.kind is SignKind.ENUM_VALUE else False

    def config(self, option: str) -> bool | None:
        return True if self.options is None else self.options.get(option, True)

    def capability(self, name: str) -> bool | None:
        return self.capabilities.get(name)

    def locked_down(self, reason: str) -> bool | None:
        return None if self.forbidden is None else reason in self.forbidden
