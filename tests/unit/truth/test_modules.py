# SPDX-License-Identifier: Apache-2.0
"""Which modules are inserted for an object."""

from __future__ import annotations

from tests.btfwriter import BtfWriter
from tests.elfwriter import RETURN_0, ElfWriter
from tests.unit.predict.fake import kernel

from holdfast.elf import object_from_bytes
from holdfast.kernels.kfuncs import Registration
from holdfast.terms import Evidence
from holdfast.truth.modules import needed_modules


def test_the_module_with_an_attach_target_is_needed() -> None:
    base = kernel(lambda w: w.function("in_vmlinux", w.int))
    assert base.vmlinux is not None
    split = BtfWriter(base=base.vmlinux)
    split.func("in_module", split.proto(0))
    split.func("in_vmlinux", split.proto(0))
    facts = kernel(lambda w: w.function("in_vmlinux", w.int), modules={"conn": split.btf("conn")})
    elf = ElfWriter()
    elf.program("a", "fentry/in_module", RETURN_0)
    spec = object_from_bytes(elf.bytes())
    assert needed_modules(facts, [spec]) == ("conn",)
    elf = ElfWriter()
    elf.program("a", "fentry/in_vmlinux", RETURN_0)
    elf.program("b", "tc", RETURN_0)
    assert needed_modules(facts, [object_from_bytes(elf.bytes())]) == ()


def test_a_registration_says_the_module() -> None:
    evidence = (Evidence.BTF_IDS,)
    rows = {
        "fentry_me": Registration(None, None, False, evidence, "nf_flow_table"),
        "of_vmlinux": Registration(None, None, False, evidence),
    }
    facts = kernel(registrations=rows)
    elf = ElfWriter()
    elf.program("a", "fentry/fentry_me", RETURN_0)
    elf.program("b", "fentry/of_vmlinux", RETURN_0)
    assert needed_modules(facts, [object_from_bytes(elf.bytes())]) == ("nf_flow_table",)
