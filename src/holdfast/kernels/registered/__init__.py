# SPDX-License-Identifier: Apache-2.0
"""kfuncs of a kernel image, with flags and program types: out of ``.BTF_ids`` and the code that registers.

BTF has neither. The KF_ flags stand beside the ids of the ``BTF_SET8`` sets, which stripped kernels keep. The
program types are arguments of register_btf_kfunc_id_set(), so its calls are followed in the code of the
kernel and its modules (x86-64; elsewhere program types stay unknown), and the table from types to hooks is
read from the code of that function itself. What cannot be told is None, never a guess.
"""

from __future__ import annotations

from holdfast.kernels.registered.reader import read
from holdfast.kernels.registered.result import Call, KfuncSet, Result, Role, SetEntry

__all__ = ["Call", "KfuncSet", "Result", "Role", "SetEntry", "read"]
