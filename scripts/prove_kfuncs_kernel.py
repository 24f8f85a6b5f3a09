# SPDX-License-Identifier: Apache-2.0
"""What a kernel itself answers about calls of kfuncs: out of a file, or asked of it in a virtual machine.

Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from prove_kfuncs_cpp import ReadError

from holdfast.errors import HoldfastError
from holdfast.kernels.probe_plain import from_plain
from holdfast.kernels.probed import ProbeFacts

__all__ = ["BootError", "Rows", "booted", "of_file", "of_probes"]

SILENCE = 600.0  # seconds without news from a guest that is emulated
Rows = Sequence[Mapping[str, Any]]


class BootError(HoldfastError):
    """The kernel did not answer."""


def of_file(path: Path) -> Rows:
    """What `holdfast kernels probe --format json` printed, or the job of a guest returned, about kfuncs."""
    raw = json.loads(path.read_text())
    kfuncs = raw.get("kfuncs") if isinstance(raw, dict) else None
    if isinstance(kfuncs, list):
        return kfuncs
    if isinstance(kfuncs, dict):
        return of_probes(from_plain(raw))
    raise ReadError(f"{path.name} has no answers about kfuncs")


def booted(
    selector: str, names: Collection[str], modules: Collection[str], say: Callable[[str], None]
) -> Rows:
    """Boot the kernel of a package or folder, insert the modules and ask about each name.

    Raises :exc:`BootError`, and what :mod:`holdfast.vm` raises.
    """
    from holdfast.vm import BootKernel, Guest, Job

    kernel = BootKernel.from_path(selector)
    arguments = {"kfuncs": sorted(names), "only": ["kfuncs"]}
    job = Job("kfuncs", "holdfast.vm.guest.jobs:probe", arguments, timeout=SILENCE)
    say(f"{kernel.release}: booting")
    with Guest.boot(kernel, modules=sorted(modules), timeout=SILENCE) as guest:
        failed = [name for name in modules if name in guest.absent or guest.modules.get(name)]
        if failed:
            raise BootError(f"{kernel.release}: cannot be loaded: {', '.join(failed)}")
        say(f"{kernel.release}: asking about {len(names)} kfuncs")
        (result,) = guest.run([job])
    if not result.ok:
        raise BootError(f"{kernel.release}: {result.problem}")
    return of_probes(from_plain(result.value))


def of_probes(probes: ProbeFacts) -> Rows:
    """Answers as rows. Raises :exc:`BootError` where something stood in the way of asking."""
    if probes.obstacle:
        raise BootError(f"nothing was asked: {probes.obstacle}")
    return [
        {"name": use.name, "program_type": use.program_type.name, "answer": answer}
        for use, answer in probes.kfuncs.items()
    ]
