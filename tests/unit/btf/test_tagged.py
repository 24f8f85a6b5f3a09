# SPDX-License-Identifier: Apache-2.0
"""What decl tags mark as a whole."""

from __future__ import annotations

import pytest
from tests.btfwriter import BtfWriter

from holdfast.btf.types import Kind


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_functions_that_are_tagged(byteorder: str) -> None:
    w = BtfWriter(byteorder)
    proto = w.proto(w.integer(), ("x", 1))
    first, second, third, fourth = (w.func(f"function_{one}", proto) for one in range(4))
    w.decl_tag("bpf_kfunc", third)
    w.decl_tag("bpf_kfunc", first)
    w.decl_tag("bpf_kfunc", third)  # twice
    w.decl_tag("bpf_kfunc", second, 0)  # its argument
    w.decl_tag("bpf_kfunc___other", second)  # another tag, though of one essential name
    w.decl_tag("bpf_fastcall", fourth)
    w.func("bpf_kfunc", proto)  # of the name, and no tag
    alias = w.typedef("alias", 1)
    w.decl_tag("bpf_kfunc", alias)
    btf = w.btf()
    assert btf.tagged("bpf_kfunc", Kind.FUNC) == [third, first]
    assert btf.tagged("bpf_kfunc", Kind.TYPEDEF) == [alias]
    assert btf.tagged("bpf_fastcall", Kind.FUNC) == [fourth]
    assert btf.tagged("no_such", Kind.FUNC) == []


@pytest.mark.parametrize("shared", [True, False])
def test_tags_of_a_module(shared: bool) -> None:
    base = BtfWriter()
    proto = base.proto(base.integer())
    there = base.func("there", proto)
    base.decl_tag("bpf_kfunc", there)
    module = BtfWriter(base=base.btf())
    if shared:  # as pahole does: a string that the base has is not written again
        module.offsets.update(base.offsets)
    own = module.func("own", proto)
    module.decl_tag("bpf_kfunc", own)
    module.decl_tag("bpf_kfunc", there)
    assert module.btf().tagged("bpf_kfunc", Kind.FUNC) == [own, there]
    assert base.btf().tagged("bpf_kfunc", Kind.FUNC) == [there]
