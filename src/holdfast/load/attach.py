# SPDX-License-Identifier: Apache-2.0
"""Attach by section name, one program or all of an object."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError, LibbpfError
from holdfast.libbpf import Messages
from holdfast.load.failure import capabilities_to_load, failed_call
from holdfast.load.link import Link
from holdfast.terms import MapType

if TYPE_CHECKING:
    from holdfast.load.object import Object
    from holdfast.load.program import Program
    from holdfast.load.session import Session

__all__ = ["attach_all", "attach_program", "attach_struct_ops"]


def attach_program(session: Session, handle: Any, program: Program) -> Link:
    """Returns the link of one program (bpf_program__attach)."""
    wanted = capabilities_to_load(program.type)
    return _attach(session, "bpf_program__attach", handle, program.name, f"program {program.name!r}", wanted)


def attach_struct_ops(session: Session, handle: Any, name: str) -> Link:
    """Returns the link of a struct_ops map (bpf_map__attach_struct_ops)."""
    return _attach(
        session,
        "bpf_map__attach_struct_ops",
        handle,
        name,
        f"map {name!r}",
        frozenset({"CAP_BPF", "CAP_NET_ADMIN"}),
    )


def _attach(
    session: Session, function: str, handle: Any, name: str, what: str, wanted: frozenset[str]
) -> Link:
    messages = Messages()
    try:
        with session.library.listening(messages):
            link = session.check(function, handle)
    except OSError as error:
        raise _failure(f"{session.name}: attaching {what}", error, messages, wanted) from None
    session.keep_link(link)
    return Link(session, link, name)


def _failure(what: str, error: OSError, messages: Messages, wanted: frozenset[str]) -> HoldfastError:
    if error.errno == errno.EOPNOTSUPP and not messages.warnings():
        return LibbpfError(
            f"{what} failed: its section name does not say where to attach it",
            hint="hand over the program's descriptor, or write the section in full (tp/CATEGORY/NAME)",
        )
    failure = failed_call(what, error, wanted)
    if messages.warnings() and isinstance(failure, LibbpfError):
        return LibbpfError(f"{failure.message}: {messages.warnings()[-1]}", hint=failure.hint)
    return failure


def attach_all(target: Object, programs: Sequence[str] | None = None) -> tuple[Link, ...]:
    """Attaches the named programs (None: all), and with None every struct_ops map; returns the links.

    All or none: when one fails, those before it are detached and its error is raised. Programs of
    struct_ops maps are attached by their map.
    """
    links: list[Link] = []
    try:
        for name in target.programs if programs is None else programs:
            program = target.program(name)
            if not (programs is None and program.section.lstrip("?").startswith("struct_ops")):
                links.append(program.attach())
        for map_ in target.maps.values() if programs is None else ():
            if map_.type == MapType.STRUCT_OPS:
                links.append(map_.attach())
    except BaseException:
        for link in reversed(links):
            link.close()
        raise
    return tuple(links)
