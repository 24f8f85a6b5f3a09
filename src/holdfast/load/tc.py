# SPDX-License-Identifier: Apache-2.0
"""A SCHED_CLS program on the egress hook of a network interface: by a tcx link, or by clsact before 6.6."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from holdfast import sys as kernel
from holdfast.errors import HoldfastError, UsageError
from holdfast.load.failure import failed_call
from holdfast.load.netlink import (
    ETH_P_ALL,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    Refused,
    Route,
    attribute,
    bpf_options,
)
from holdfast.load.netns import in_network_namespace
from holdfast.terms import AttachType

__all__ = ["TcAttachment", "attach_egress"]

# include/uapi/linux/pkt_sched.h: TC_H_CLSACT, the qdisc's handle, and TC_H_MIN_EGRESS in it
_CLSACT: Final = 0xFFFFFFF1
_CLSACT_HANDLE: Final = 0xFFFF0000
_CLSACT_EGRESS: Final = 0xFFFFFFF3
# Of the filter that clsact gets; the number is ours alone, so that what a process that was killed left
# behind on a persistent interface is replaced, not doubled. Late among the filters: what follows sees the
# program's changes.
_HANDLE: Final = 1
_PRIORITY: Final = 0x4846
# What link creation says where there is no tcx (Linux commit e420bed02507 ("bpf: Add fd-based tcx multi-prog
# infra with link support") (in v6.6)): an attach type that is not known, or none for the program type.
_NO_TCX: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class TcAttachment:
    """A program on an egress hook: taken off by :meth:`close` or the end of a ``with``.

    ``how`` is ``tcx`` or ``clsact``. A tcx link goes with the process. A filter of clsact is netlink's: it
    stays behind a process that is killed, until the interface goes or the program is attached there again.
    """

    __slots__ = ("_detach", "how")

    def __init__(self, how: str, detach: Callable[[], None]) -> None:
        self.how = how
        self._detach: Callable[[], None] | None = detach

    def close(self) -> None:
        """Takes the program off the hook; closing twice is no error, nor is an interface that has gone."""
        detach, self._detach = self._detach, None
        if detach is not None:
            detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach_egress(
    program_fd: int, ifindex: int, *, namespace: int | None = None, tcx: bool = True
) -> TcAttachment:
    """Attaches the SCHED_CLS program to the interface, behind those that are there, and returns the
    attachment; the descriptors stay the caller's.

    ``namespace`` is a descriptor of the network namespace that ``ifindex`` is of (None: this thread's). It
    is kept, duplicated, as long as the attachment. ``tcx=False`` takes clsact even where there is tcx.

    Raises :class:`~holdfast.errors.PrivilegeError`, :class:`~holdfast.errors.UsageError` without such an
    interface, :class:`~holdfast.errors.LibbpfError`.
    """
    if namespace is None:
        with kernel.OwnedFd(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)) as here:
            return attach_egress(program_fd, ifindex, namespace=here.fileno(), tcx=tcx)
    try:
        if tcx:
            try:
                link = in_network_namespace(
                    namespace, lambda: kernel.link_create(program_fd, ifindex, AttachType.TCX_EGRESS)
                )
                return TcAttachment("tcx", link.close)
            except OSError as error:
                if error.errno not in _NO_TCX:
                    raise
        with kernel.OwnedFd.duplicate(namespace) as owned:
            made = in_network_namespace(namespace, lambda: _add_filter(program_fd, ifindex))
            kept = kernel.OwnedFd(owned.disown())
    except OSError as error:
        raise _explained(error, ifindex) from None

    def detach() -> None:
        with kept:
            in_network_namespace(kept.fileno(), lambda: _remove_filter(ifindex, with_qdisc=made))

    return TcAttachment("clsact", detach)


def _add_filter(program_fd: int, ifindex: int) -> bool:
    """Return whether the qdisc clsact was not there before."""
    with Route() as route:
        made = True
        try:
            content = TCMSG.pack(0, ifindex, _CLSACT_HANDLE, _CLSACT, 0) + attribute(TCA_KIND, b"clsact\0")
            route.ask(RTM_NEWQDISC, content, NLM_F_CREATE | NLM_F_EXCL)
        except Refused as error:
            if error.errno != errno.EEXIST:
                raise
            made = False
        content = _filter(ifindex) + attribute(TCA_KIND, b"bpf\0")
        content += attribute(TCA_OPTIONS, bpf_options(program_fd, "holdfast"))
        try:
            route.ask(RTM_NEWTFILTER, content, NLM_F_CREATE | NLM_F_REPLACE)
        except Refused:
            if made:
                _destroy(route, ifindex)
            raise
    return made


def _remove_filter(ifindex: int, *, with_qdisc: bool) -> None:
    with Route() as route:
        try:
            route.ask(RTM_DELTFILTER, _filter(ifindex) + attribute(TCA_KIND, b"bpf\0"))
        except Refused:
            pass  # it is not there any more: the interface, or a filter that somebody else removed
        if with_qdisc:
            _destroy(route, ifindex)


def _filter(ifindex: int) -> bytes:
    return TCMSG.pack(0, ifindex, _HANDLE, _CLSACT_EGRESS, _PRIORITY << 16 | socket.htons(ETH_P_ALL))


def _destroy(route: Route, ifindex: int) -> None:
    try:
        route.ask(RTM_DELQDISC, TCMSG.pack(0, ifindex, _CLSACT_HANDLE, _CLSACT, 0))
    except Refused:
        pass  # as above


def _explained(error: OSError, ifindex: int) -> HoldfastError:
    if error.errno == errno.ENODEV:
        return UsageError(f"there is no network interface with the index {ifindex}")
    if error.errno == errno.EACCES:
        error.errno = errno.EPERM
    return failed_call(
        f"attaching to the egress hook of interface {ifindex}", error, ("CAP_BPF", "CAP_NET_ADMIN")
    )
