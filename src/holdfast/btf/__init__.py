# SPDX-License-Identifier: Apache-2.0
"""BTF: the type format of BPF objects and kernels."""

from __future__ import annotations

from holdfast.btf.reader import Btf, essential_name

__all__ = ["Btf", "essential_name"]
