# SPDX-License-Identifier: Apache-2.0
"""What an export takes from the running machine besides its facts: symbols, and names of all its modules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from holdfast.kernels.exported import export
from holdfast.kernels.facts import KernelFacts

__all__ = ["export_live", "symbols"]


def export_live(kernel: KernelFacts) -> dict[str, Any]:
    """:func:`holdfast.kernels.exported.export` of the running kernel with all that the machine's files tell.

    ``kernel`` is from :func:`holdfast.kernels.live.facts`, with the probes that are to go along.
    """
    modules = Path("/lib/modules") / kernel.release
    return export(
        kernel,
        symbols=symbols(),
        uname_version=os.uname().version,
        module_names=_names(modules / "modules.order"),
        builtin_modules=_names(modules / "modules.builtin"),
    )


def symbols() -> str | None:
    """The kernel's own symbols as :func:`holdfast.kernels.kallsyms.names` gives those of an image; None where
    they cannot be read. Modules' symbols and those of BPF programs are left out.
    """
    try:
        text = Path("/proc/kallsyms").read_text(errors="replace")
    except OSError:
        return None
    lines = []
    for line in text.splitlines():
        if "\t" not in line:  # "address type name", and for a module "\t[module]"
            _, letter, name = line.split(" ", 2)
            lines.append(letter + name)
    return "\n" + "\n".join(lines) + "\n" if lines else None


def _names(path: Path) -> tuple[str, ...]:
    """Modules by their names in the kernel, of paths like kernel/fs/nls/nls_iso8859-1.ko."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    names = (line.rpartition("/")[2].partition(".ko")[0].replace("-", "_") for line in lines)
    return tuple(sorted({name for name in names if name}))
