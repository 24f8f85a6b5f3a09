# SPDX-License-Identifier: Apache-2.0
"""In which order modules go into a kernel.

Debian's packages have no modules.dep (depmod makes it at installation), and a guest has no modprobe, so the
order comes from what each module says of itself in ``.modinfo``. ``softdep`` and request_module() are not
followed: who needs such modules names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.errors import KernelFileError
from holdfast.kernels.record import ModulePiece

__all__ = ["Insertion", "depends", "insertion", "normal"]

_MARK = b"depends="


@dataclass(frozen=True, slots=True)
class Insertion:
    """Modules in the order to insert them. ``absent`` were asked for and did not come with this kernel.

    An absent one may be built in; whether it is, modules.builtin knows.
    """

    order: tuple[tuple[str, bytes], ...] = field(repr=False)
    absent: tuple[str, ...]


def normal(name: str) -> str:
    """Return a module's name as the kernel says it, with ``_`` for ``-``."""
    return name.replace("-", "_")


def depends(image: bytes) -> tuple[str, ...]:
    """Return the names in ``depends=`` of a module's ``.modinfo``; empty where it says none.

    Strings there are separated by NUL, and ``depends=`` stands at the beginning of one.
    """
    at = image.find(b"\0" + _MARK)
    if at < 0:
        return ()
    start = at + 1 + len(_MARK)
    text = image[start : image.index(b"\0", start)] if b"\0" in image[start : start + 65536] else b""
    return tuple(normal(name) for name in text.decode("ascii", "replace").split(",") if name)


def insertion(names: Iterable[str], modules: Sequence[ModulePiece]) -> Insertion:
    """Return these modules and all that they depend on, each after what it depends on.

    Raises :class:`~holdfast.errors.KernelFileError` for a module that cannot be read, or modules that depend
    on each other in a circle.
    """
    there: Mapping[str, ModulePiece] = {normal(one.name): one for one in modules}
    order: dict[str, bytes] = {}
    absent: list[str] = []
    for name in dict.fromkeys(normal(one) for one in names):
        if name not in there:
            absent.append(name)
            continue
        _visit(name, there, order, ())
    return Insertion(tuple(order.items()), tuple(absent))


def _visit(
    name: str, there: Mapping[str, ModulePiece], order: dict[str, bytes], above: tuple[str, ...]
) -> None:
    if name in order:
        return
    if name in above:
        raise KernelFileError(there[name].path, f"modules depend on each other: {' > '.join((*above, name))}")
    image = there[name].read()
    for other in depends(image):
        # one that did not come along is built in, or its absence shows when this one is inserted
        if other in there:
            _visit(other, there, order, (*above, name))
    order[name] = image
