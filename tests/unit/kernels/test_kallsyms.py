# SPDX-License-Identifier: Apache-2.0
"""Symbol names in an image, written here as scripts/kallsyms.c writes them."""

from __future__ import annotations

import struct

import pytest

from holdfast.kernels.kallsyms import ImageSymbols, names

SYMBOLS = [f"t{'function' if n % 3 else 'f'}_{n}" for n in range(5000)] + [
    "Tdouble",
    "tdouble",
    "D" + "x" * 200,
]


def tables(*, alignment: int = 8, seqs: bool = False, order: str = "<") -> bytes:
    """All tables with something before and after; token 1 is "function", others stand for themselves."""
    tokens = [chr(n).encode("latin-1") if n != 1 else b"function" for n in range(256)]
    tokens[0] = b"zero"

    def align(data: bytes) -> bytes:
        return data + bytes(-len(data) % alignment)

    packed, markers = b"", []
    for number, symbol in enumerate(SYMBOLS):
        if number % 256 == 0:
            markers.append(len(packed))
        name = symbol.encode().replace(b"function", b"\x01")
        size = bytes([len(name)]) if len(name) < 128 else bytes([0x80 | len(name) & 0x7F, len(name) >> 7])
        packed += size + name
    table, offsets = b"", []
    for token in tokens:
        offsets.append(len(table))
        table += token + b"\0"
    image = align(b"before" * 100)
    image += align(struct.pack(f"{order}I", len(SYMBOLS))) + align(packed)
    image += align(struct.pack(f"{order}{len(markers)}I", *markers))
    if seqs:
        image += align(b"".join(n.to_bytes(3, "big") for n in range(len(SYMBOLS))))
    return image + align(table) + struct.pack(f"{order}256H", *offsets) + b"behind" * 100


@pytest.mark.parametrize("alignment", [4, 8])
@pytest.mark.parametrize("seqs", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_names_are_read(alignment: int, seqs: bool, order: str) -> None:
    text = names(tables(alignment=alignment, seqs=seqs, order=order))
    assert text is not None
    assert text.split("\n")[1:-1] == SYMBOLS


def test_a_symbol_is_asked_for_by_its_whole_name() -> None:
    symbols = ImageSymbols(tables())
    assert list(symbols("function_1") or ()) == [1]
    assert len(symbols("double") or ()) == 2
    assert len(symbols("x" * 200) or ()) == 1
    assert list(symbols("unction_1") or ()) == []
    assert list(symbols("function") or ()) == []


@pytest.mark.parametrize("damage", [b"", b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00" * 50])
def test_an_image_without_tables_tells_nothing(damage: bytes) -> None:
    assert ImageSymbols(damage)("init_net") is None


def test_tables_that_disagree_are_not_believed() -> None:
    image = tables()
    at = image.index(struct.pack("<I", len(SYMBOLS)))
    assert names(image[:at] + struct.pack("<I", len(SYMBOLS) - 1) + image[at + 4 :]) is None
    assert names(image[: len(image) // 2]) is None


def test_names_that_would_fill_the_memory_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.kernels.kallsyms._MOST_TEXT", 100_000)
    assert names(tables()) is None


def test_not_every_place_that_may_be_a_table_is_looked_at() -> None:
    decoys = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00"
    assert names(decoys * 10 + tables()) is not None
    assert names(decoys * 100 + tables()) is None


def test_names_that_are_damaged_between_the_markers_are_not_believed() -> None:
    image = bytearray(tables())
    at = image.index(b"t\x01_1000") - 1
    image[at : at + 2] = b"\xff\xff"  # a length of 16 KiB: what comes after it is read at the wrong places
    text = names(bytes(image))
    assert text is None or text.count("\n") == len(SYMBOLS) + 1
    for end in range(at - 40, at, 4):
        damaged = bytearray(tables())
        damaged[end : end + 40] = b"\xff" * 40
        names(bytes(damaged))
