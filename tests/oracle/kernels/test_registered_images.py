# SPDX-License-Identifier: Apache-2.0
"""Distributions' kernels: what is read off their code against what others wrote into them.

Kernels are those of ``HOLDFAST_KERNELS`` (packages or images, separated by colons), else of build/kernels.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from tests.conftest import lacks

from holdfast.btf import Btf
from holdfast.kernels import kallsyms
from holdfast.kernels.kfuncs import FMOD_RET_TESTS, tagged_kfuncs
from holdfast.kernels.registered import Result, read
from holdfast.kernels.registered.elf64 import Elf64
from holdfast.kernels.unpack import open_kernel
from holdfast.rules.ask import Allowed, Nothing, Sign, SignKind
from holdfast.rules.program_types import kfunc_hook
from holdfast.terms import Evidence, ProgramType

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

NAMED = [Path(one) for one in os.environ.get("HOLDFAST_KERNELS", "").split(":") if one]
PATHS = NAMED or sorted((Path(__file__).parents[3] / "build/kernels").glob("linux-image-*amd64*.deb"))


class Kernel(Nothing):
    """Answers rules from BTF and the release."""

    def __init__(self, btf: Btf, release: str) -> None:
        self._btf = btf
        self._release = release

    def btf(self, sign: Sign) -> bool | None:
        if not sign.of:
            return self._btf.find(sign.name) is not None
        found = self._btf.find(sign.of)
        rows = "values" if sign.kind is SignKind.ENUM_VALUE else "members"
        return found is not None and any(
            row.name == sign.name for row in getattr(self._btf.type(found), rows, ())
        )

    def release(self) -> tuple[int, int] | None:
        major, minor = self._release.split(".")[:2]
        return int(major), int(minor)


@pytest.fixture(params=PATHS or [Path()], ids=lambda path: path.name)
def kernel(request: pytest.FixtureRequest) -> tuple[Btf, Kernel, Result]:
    if not request.param.name:
        lacks("there is no kernel to read: HOLDFAST_KERNELS names none and build/kernels has none")
    return of(request.param)


@cache
def of(path: Path) -> tuple[Btf, Kernel, Result]:
    pieces = open_kernel(path, partial=True)
    elf = Elf64(pieces.vmlinux, path.name)
    types, rodata = elf.find(".BTF"), elf.find(".rodata")
    assert types is not None and rodata is not None
    btf = Btf(bytes(elf.view(types)))
    symbols = kallsyms.names(bytes(elf.view(rodata)))
    return btf, Kernel(btf, pieces.release), read(pieces.vmlinux, btf, arch=pieces.arch, symbols=symbols)


def test_nothing_is_unknown(kernel: tuple[Btf, Kernel, Result]) -> None:
    _, _, result = kernel
    assert result.registrations is not None
    assert not [note for note in result.notes if not note.startswith("no kfuncs")]
    for name, row in result.registrations.items():
        assert row.program_types, name
        assert row.flags is not None, name
        assert row.evidence == (Evidence.BTF_IDS, Evidence.INIT_CODE), name


def test_hooks_are_those_of_the_rules_from_source(kernel: tuple[Btf, Kernel, Result]) -> None:
    _, ask, result = kernel
    if not result.registrations:
        assert result.hooks is None
        return
    assert result.hooks is not None and result.hooks_evidence is Evidence.INIT_CODE
    for program_type in ProgramType:
        hook, ruling = kfunc_hook(program_type, ask)
        if program_type is not ProgramType.UNSPEC and ruling.allowed is not Allowed.UNKNOWN:
            read_off = result.hooks.get(program_type)
            assert read_off == hook, program_type


def test_tags_of_pahole_and_resolve_btfids(kernel: tuple[Btf, Kernel, Result]) -> None:
    btf, _, result = kernel
    tagged = {btf.name(number) for number in tagged_kfuncs(btf)} - FMOD_RET_TESTS
    assert result.registrations is not None
    assert tagged <= set(result.registrations)
