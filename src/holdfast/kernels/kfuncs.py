# SPDX-License-Identifier: Apache-2.0
"""kfuncs: which functions of a kernel BPF programs may call, as far as its data tell.

BTF says that a function exists and, in kernels whose BTF has decl tags (pahole 1.27 and a kernel from 6.11
on, or resolve_btfids from 7.3 on), that it is marked ``bpf_kfunc``. Flags and program types are in no BTF:
they come from :class:`Registration` rows, which whoever reads .BTF_ids and init code supplies, or from a
probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.types import Kind
from holdfast.terms import Evidence, ProgramType

__all__ = ["FMOD_RET_TESTS", "KfuncFacts", "Registration", "tagged_kfuncs"]

FMOD_RET_TESTS: Final = frozenset({"bpf_fentry_test1", "bpf_modify_return_test", "bpf_modify_return_test2"})
"""Tagged ``bpf_kfunc`` and callable from no program.

net/bpf/test_run.c lists them in a kfunc set (bpf_test_modify_return_ids) that is registered by
register_btf_fmodret_id_set(), the only user of it in 6.12, 6.18, 7.1 and 7.2. A tag does not tell the two
apart. The set's fourth member, bpf_modify_return_test_tp, is in the kfuncs of all program types as well
(common_btf_ids in kernel/bpf/helpers.c).
"""


@dataclass(frozen=True, slots=True)
class Registration:
    """How a kfunc was registered: a row of .BTF_ids and of the init code around it.

    ``flags`` are without ``KF_``, those that every set gives it; ``program_types`` are those whose hook the
    registration admits, the kernel's aliases applied; ``narrowed`` when a filter admits fewer. None where
    unknown.
    """

    flags: frozenset[str] | None
    program_types: frozenset[ProgramType] | None
    narrowed: bool
    evidence: tuple[Evidence, ...]
    module: str | None = None
    """Which module registers it; None for vmlinux."""
    by_type: Mapping[ProgramType, frozenset[str]] | None = None
    """Flags per program type, only where sets that differ hold it (hid_bpf_* in 7.3: KF_SLEEPABLE for
    SYSCALL alone); None where ``flags`` are those of every set."""
    filters: Mapping[ProgramType, tuple[str, ...]] | None = None
    """Names of the filter functions that are run for it, by program type; those that are absent run none.
    None where only ``narrowed`` is known.
    """


@dataclass(frozen=True, slots=True)
class KfuncFacts:
    """One function of the name of a kfunc.

    ``module`` is None for vmlinux; ``type_id`` is the FUNC in that BTF, ``btf``. ``is_tagged`` says whether
    it has the decl tag ``bpf_kfunc``, None when that BTF has no such tags at all and so cannot tell.
    ``flags`` (without ``KF_``) and ``program_types`` are None where unknown.
    ``program_types`` from a probe are those that admitted the call here, and then ``undecided`` are those
    that could not be asked; ``narrowed`` says that some attach types of one program type admit it and others
    do not.
    """

    name: str
    module: str | None
    type_id: int
    btf: Btf
    is_tagged: bool | None
    flags: frozenset[str] | None = None
    program_types: frozenset[ProgramType] | None = None
    undecided: frozenset[ProgramType] = frozenset()
    narrowed: bool = False
    evidence: tuple[Evidence, ...] = (Evidence.BTF,)

    @property
    def prototype(self) -> str:
        """The declaration as C text."""
        from holdfast.btf.cformat import declaration

        return declaration(self.btf, self.type_id)


def tagged_kfuncs(btf: Btf) -> Iterator[int]:
    """Ids of this BTF's own FUNCs with the decl tag ``bpf_kfunc`` (pahole 1.27, ``decl_tag_kfuncs``)."""
    yield from btf.tagged("bpf_kfunc", Kind.FUNC)
