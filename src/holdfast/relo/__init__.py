# SPDX-License-Identifier: Apache-2.0
"""CO-RE relocation and extern resolution, exactly as libbpf does them, against the BTF of any kernel.

Nothing here reads files or the running kernel. :class:`Relocator` resolves the relocations of one object
against a :class:`Target`; :func:`resolve_ksym` does the externs of ``.ksyms``.
"""

from __future__ import annotations

from holdfast.relo.compat import fields_are_compat, types_are_compat, types_match
from holdfast.relo.failure import Refused, ReloError
from holdfast.relo.ksym import Kallsyms, KsymKind, KsymResolution, find_ksym, resolve_ksym
from holdfast.relo.patch import BAD_RELO
from holdfast.relo.resolve import Relocator, Resolution, resolve
from holdfast.relo.spec import Accessor, Spec
from holdfast.relo.target import KernelBtf, Side, Target

__all__ = [
    "BAD_RELO",
    "Accessor",
    "Kallsyms",
    "KernelBtf",
    "KsymKind",
    "KsymResolution",
    "Refused",
    "ReloError",
    "Relocator",
    "Resolution",
    "Side",
    "Spec",
    "Target",
    "fields_are_compat",
    "find_ksym",
    "resolve",
    "resolve_ksym",
    "types_are_compat",
    "types_match",
]
