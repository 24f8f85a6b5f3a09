# SPDX-License-Identifier: Apache-2.0
"""The functions that jobs call. Each is imported only by the job that calls it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from typing import Any

__all__ = ["load_objects", "load_programs", "probe", "probe_quickly", "uname"]

_Rows = Generator[dict[str, Any], None, None]


def uname() -> dict[str, str]:
    """Return what the guest's kernel says of itself."""
    system = os.uname()
    return {"release": system.release, "version": system.version, "machine": system.machine}


def load_programs(name: str, content: bytes, programs: Sequence[str]) -> _Rows:
    """Load each of these programs alone; see :func:`holdfast.vm.guest.load_alone.load_alone`."""
    from holdfast.vm.guest.load_alone import load_alone

    for program in programs:
        yield load_alone(name, content, program)


def load_objects(objects: Sequence[Mapping[str, Any]]) -> _Rows:
    """Load the programs of several objects, each with ``name``, ``content`` and ``programs``.

    Rows are those of :func:`load_programs` with ``object``, the number of the object from 0. libbpf finds out
    once for a process what the kernel can do, so this is faster than a job for each.
    """
    for number, one in enumerate(objects):
        for row in load_programs(one["name"], one["content"], one["programs"]):
            yield {"object": number} | row


def probe(
    kfuncs: Sequence[str] | None = None, only: Sequence[str] | None = None
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Ask everything that can be asked by trial; see :func:`holdfast.kernels.probe.as_job.ask`.

    The value has ``modules`` as well: the names of those that are loaded.
    """
    from holdfast.kernels.probe import as_job

    asked = as_job.ask(kfuncs) if only is None else as_job.ask(kfuncs, only)
    answers = yield from asked
    with open("/proc/modules") as modules:  # noqa: PTH123  pathlib costs a guest half a second
        return answers | {"modules": sorted(line.split()[0] for line in modules)}


def probe_quickly() -> dict[str, Any]:
    """Ask what takes a second; see :func:`holdfast.kernels.probe.quick.ask`."""
    from holdfast.kernels.probe.quick import ask

    return ask()
