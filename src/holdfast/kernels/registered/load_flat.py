# SPDX-License-Identifier: Apache-2.0
"""The flat ``Image`` of arm64 as a :class:`~holdfast.kernels.registered.space.Space`.

It has no sections: what stands at an offset of the file is that far behind the symbol ``_text``.
"""

from __future__ import annotations

from holdfast.kernels.registered.kallsyms_addresses import addresses
from holdfast.kernels.registered.space import Names, Segment, Space

__all__ = ["flat"]


def flat(image: bytes, symbols: str | None) -> Space:
    """All of it, at address 0. Pointers in it are not relocated, and code is not marked as such."""
    names = Names([], [])
    texts = [line[1:] for line in symbols.split("\n")[1:-1]] if symbols else []
    found = addresses(image, 0, len(texts)) if texts else None
    if found and "_text" in texts:
        start = found[texts.index("_text")]
        names = Names([at - start for at in found], texts)
    return Space([Segment("Image", 0, image)], names)
