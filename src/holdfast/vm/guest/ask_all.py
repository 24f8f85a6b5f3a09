# SPDX-License-Identifier: Apache-2.0
"""Everything that can be asked of the guest's kernel by trial."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from holdfast.kernels import probe
from holdfast.kernels.cache import Cache
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.live import facts
from holdfast.kernels.probe_store import ProbeStore
from holdfast.kernels.probed import ProbeFacts, Wanted

__all__ = ["ask_all"]

_AT_ONCE = 16  # helpers or kfuncs between two signs of life


def ask_all(kfuncs: Sequence[str] = ()) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Yield ``{"asked", "of"}`` on the way and return ``{"obstacle", "answers"}``.

    ``kfuncs`` are names to ask besides those that the kernel's BTF tags: before 6.8 it has no tags.
    ``answers`` are those of a :class:`~holdfast.kernels.probe_store.ProbeStore` as bytes: program and map
    types, features, each helper and each kfunc from each program type.
    """
    kernel = facts(cache=Cache(None))
    modules = dict(kernel.modules)
    parts = list(_parts(kernel, sorted({*kernel.kfunc_names(), *kfuncs})))
    store, found = ProbeStore(), ProbeFacts()
    for number, wanted in enumerate(parts):
        found = probe.probe(wanted, kernel.vmlinux, modules)
        store.add(found)
        yield {"asked": number + 1, "of": len(parts)}
    return {"obstacle": found.obstacle, "answers": store.to_bytes()}


def _parts(kernel: KernelFacts, kfuncs: Sequence[str]) -> Iterator[Wanted]:
    yield probe.all_types() | probe.all_features()
    values = kernel.enumerators("bpf_func_id") or {}
    numbers = sorted(number for name, number in values.items() if name.startswith("BPF_FUNC_") and number > 0)
    for start in range(0, len(numbers), _AT_ONCE):
        yield probe.every_helper(numbers[start : start + _AT_ONCE])
    for start in range(0, len(kfuncs), _AT_ONCE):
        yield probe.every_kfunc(kfuncs[start : start + _AT_ONCE])
