# SPDX-License-Identifier: Apache-2.0
"""The order in which modules are inserted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from holdfast.errors import KernelFileError
from holdfast.vm.modules import depends, insertion


@dataclass(frozen=True)
class Piece:
    name: str
    needs: str = ""

    @property
    def path(self) -> str:
        return f"kernel/{self.name}.ko"

    def read(self) -> bytes:
        return modinfo(self.needs, self.name)


def modinfo(needs: str, name: str) -> bytes:
    return f"\x7fELF\0\0license=GPL\0depends={needs}\0retpoline=Y\0name={name}\0".encode()


def order(names: list[str], *pieces: Piece) -> list[str]:
    return [name for name, _ in insertion(names, pieces).order]


def test_depends() -> None:
    assert depends(modinfo("nf-conntrack,nf_defrag_ipv4", "x")) == ("nf_conntrack", "nf_defrag_ipv4")
    assert depends(modinfo("", "x")) == ()
    assert depends(b"\x7fELF no such section") == ()
    assert depends(b"\0depends=cut") == ()


def test_what_a_module_depends_on_comes_first_and_once() -> None:
    pieces = (Piece("a", "b,c"), Piece("b", "d"), Piece("c", "d"), Piece("d"), Piece("e"))
    assert order(["a", "c"], *pieces) == ["d", "b", "c", "a"]


def test_hyphens_and_underscores_are_the_same() -> None:
    assert order(["nf-conntrack"], Piece("nf_conntrack", "nf-defrag"), Piece("nf_defrag")) == [
        "nf_defrag",
        "nf_conntrack",
    ]


def test_absent_ones_are_told() -> None:
    found = insertion(["there", "built_in"], [Piece("there", "built_in_too")])
    assert [name for name, _ in found.order] == ["there"]
    assert found.absent == ("built_in",)


def test_a_circle_is_refused() -> None:
    with pytest.raises(KernelFileError, match="a > b > a"):
        insertion(["a"], [Piece("a", "b"), Piece("b", "a")])
