# SPDX-License-Identifier: Apache-2.0
"""Wheel build hook: ship the built libbpf and the bundles, and say for which machine the wheel is.

``make setup`` builds both. A wheel made without them is a pure one: it uses the system's libbpf.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # runs from the checkout, where both lie in place
            return
        root = Path(self.root)
        include: dict[str, str] = build_data["force_include"]
        bundles = root / "bundles"
        for path in sorted(bundles.rglob("*")):
            if path.is_file() and path.name != "vmlinux.h":
                include[str(path)] = f"holdfast/_bundles/{path.relative_to(bundles)}"
        # Only libbpf makes the wheel one platform's: a BPF object runs on every machine of its byte order.
        libraries = root / "src/holdfast/_bundled"
        if any(libraries.glob("libbpf.so*")):
            for path in sorted(libraries.iterdir()):
                include[str(path)] = f"holdfast/_bundled/{path.name}"
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
