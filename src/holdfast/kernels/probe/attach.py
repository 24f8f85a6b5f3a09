# SPDX-License-Identifier: Apache-2.0
"""Trial attachments: which attach types, link types and kinds of section a kernel has.

Nothing is ever attached: each request names a target that is not there (descriptor -1, interface 2^31 - 1,
an address that nobody can read), and what counts is how far the kernel gets. It refuses an attach type that
it does not know, or that is compiled out, with the errno that it has for a number that no kernel knows
(EINVAL, all of 5.10 to 7.1); one that it knows comes to look for the target and finds none.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Final

from holdfast import sys
from holdfast.kernels.probe.calls import Prober, any_answer
from holdfast.kernels.probe.contexts import Context, contexts
from holdfast.kernels.probe.programs import RETURN_0
from holdfast.terms import AttachType, MapFlag, MapType, ProgramType

__all__ = ["ATTACHMENTS", "LINK_TYPES", "Attacher"]

_ENOTSUPP: Final = 524  # the kernel's own number, in no errno.h
_NO_SUCH_TYPE: Final = 0x7FF0
_NO_FD: Final = 0xFFFFFFFF
_NO_INTERFACE: Final = 0x7FFFFFFF
_NO_ADDRESS: Final = 1  # no null pointer, and no page that anybody can map
_A: Final = AttachType
_P: Final = ProgramType

# bpf_prog_query() looks for a cgroup, a network namespace, a device of infrared or an interface.
_QUERIED: Final = frozenset(
    one
    for one in AttachType
    if one.name.startswith("CGROUP_") or one in (_A.FLOW_DISSECTOR, _A.SK_LOOKUP, _A.LIRC_MODE2)
)
_QUERIED_BY_INTERFACE: Final = frozenset({_A.TCX_INGRESS, _A.TCX_EGRESS, _A.NETKIT_PRIMARY, _A.NETKIT_PEER})
# bpf_prog_attach() looks for a sock map.
_SOCK_MAP: Final = {
    _A.SK_SKB_STREAM_PARSER: _P.SK_SKB,
    _A.SK_SKB_STREAM_VERDICT: _P.SK_SKB,
    _A.SK_SKB_VERDICT: _P.SK_SKB,
    _A.SK_MSG_VERDICT: _P.SK_MSG,
}
# link_create(): the program's type, and what follows the flags so that the kernel stumbles over it:
# kprobe_multi {flags, cnt, syms, addrs, cookies} and uprobe_multi {path, offsets, ref_ctr_offsets, cookies,
# cnt, flags, pid}, with addresses that cannot be read.
_KPROBES: Final = struct.pack("=IIQQQ", 0, 1, 0, _NO_ADDRESS, 0)
_UPROBES: Final = struct.pack("=QQQQIII", _NO_ADDRESS, _NO_ADDRESS, 0, 0, 1, 0, 0)
_LINKED: Final = {
    _A.PERF_EVENT: (_P.TRACEPOINT, b""),
    _A.TRACE_KPROBE_MULTI: (_P.KPROBE, _KPROBES),
    _A.TRACE_KPROBE_SESSION: (_P.KPROBE, _KPROBES),
    _A.TRACE_UPROBE_MULTI: (_P.KPROBE, _UPROBES),
    _A.TRACE_UPROBE_SESSION: (_P.KPROBE, _UPROBES),
    _A.NETFILTER: (_P.NETFILTER, b""),  # protocol family 0
}
# Told by whether a program can be loaded for it.
_LOADED: Final = {
    _A.TRACE_RAW_TP: _P.TRACING,
    _A.TRACE_FENTRY: _P.TRACING,
    _A.TRACE_FEXIT: _P.TRACING,
    _A.MODIFY_RETURN: _P.TRACING,
    _A.TRACE_ITER: _P.TRACING,
    _A.TRACE_FSESSION: _P.TRACING,
    _A.TRACE_FENTRY_MULTI: _P.TRACING,
    _A.TRACE_FEXIT_MULTI: _P.TRACING,
    _A.TRACE_FSESSION_MULTI: _P.TRACING,
    _A.LSM_MAC: _P.LSM,
    _A.LSM_CGROUP: _P.LSM,
    _A.SK_REUSEPORT_SELECT: _P.SK_REUSEPORT,
    _A.SK_REUSEPORT_SELECT_OR_MIGRATE: _P.SK_REUSEPORT,
}
_LINKS: Final = {
    "CGROUP": (Context(_P.CGROUP_SKB), _A.CGROUP_INET_INGRESS, _NO_FD),
    "NETNS": (Context(_P.SK_LOOKUP, _A.SK_LOOKUP), _A.SK_LOOKUP, _NO_FD),
    "TCX": (Context(_P.SCHED_CLS), _A.TCX_INGRESS, _NO_INTERFACE),
    "NETKIT": (Context(_P.SCHED_CLS), _A.NETKIT_PRIMARY, _NO_INTERFACE),
    "SOCKMAP": (Context(_P.SK_MSG), _A.SK_MSG_VERDICT, _NO_FD),
}
_LINKS_OF_ATTACH_TYPES: Final = {
    "PERF_EVENT": _A.PERF_EVENT,
    "KPROBE_MULTI": _A.TRACE_KPROBE_MULTI,
    "UPROBE_MULTI": _A.TRACE_UPROBE_MULTI,
    "NETFILTER": _A.NETFILTER,
    "STRUCT_OPS": _A.STRUCT_OPS,
}

LINK_TYPES: Final = (
    "RAW_TRACEPOINT", "TRACING", "CGROUP", "ITER", "NETNS", "PERF_EVENT", "KPROBE_MULTI", "STRUCT_OPS",
    "NETFILTER", "TCX", "UPROBE_MULTI", "NETKIT", "SOCKMAP", "XDP",
)  # fmt: skip
"""Link types that are asked for. XDP's answer is always None: without its interface it is EINVAL anyway."""

_SECTIONS: Final[dict[str, tuple[ProgramType, AttachType | None, bool]]] = {
    "uprobe.s": (_P.KPROBE, _A.CGROUP_INET_INGRESS, True),
    "fentry": (_P.TRACING, _A.TRACE_FENTRY, False),
    "fentry.s": (_P.TRACING, _A.TRACE_FENTRY, True),
    "fexit": (_P.TRACING, _A.TRACE_FEXIT, False),
    "fexit.s": (_P.TRACING, _A.TRACE_FEXIT, True),
    "fmod_ret": (_P.TRACING, _A.MODIFY_RETURN, False),
    "fmod_ret.s": (_P.TRACING, _A.MODIFY_RETURN, True),
    "fsession": (_P.TRACING, _A.TRACE_FSESSION, False),
    "fentry.multi": (_P.TRACING, _A.TRACE_FENTRY_MULTI, False),
    "fexit.multi": (_P.TRACING, _A.TRACE_FEXIT_MULTI, False),
    "fsession.multi": (_P.TRACING, _A.TRACE_FSESSION_MULTI, False),
    "tp_btf": (_P.TRACING, _A.TRACE_RAW_TP, False),
    "iter": (_P.TRACING, _A.TRACE_ITER, False),
    "iter.s": (_P.TRACING, _A.TRACE_ITER, True),
    "lsm": (_P.LSM, _A.LSM_MAC, False),
    "lsm.s": (_P.LSM, _A.LSM_MAC, True),
    "lsm_cgroup": (_P.LSM, _A.LSM_CGROUP, False),
    "syscall": (_P.SYSCALL, None, True),
}
_MULTI: Final = {
    "kprobe.multi": _A.TRACE_KPROBE_MULTI,
    "kprobe.session": _A.TRACE_KPROBE_SESSION,
    "uprobe.multi": _A.TRACE_UPROBE_MULTI,
    "uprobe.session": _A.TRACE_UPROBE_SESSION,
}
ATTACHMENTS: Final = (*_SECTIONS, *_MULTI, "uprobe.multi.s", "uprobe.session.s", "struct_ops.link")
"""Kinds of sections that have a trial, named as libbpf's SEC() prefixes."""


class Attacher:
    """Asks for attachments that cannot come about, with programs of a :class:`Prober`."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._attach_types: dict[AttachType, bool | None] = {}

    def attach_type(self, wanted: AttachType) -> bool | None:
        """Whether a program can be attached in this way; None where no trial can tell."""
        if wanted not in self._attach_types:
            self._attach_types[wanted] = self._attach_type(wanted)
        return self._attach_types[wanted]

    def _attach_type(self, wanted: AttachType) -> bool | None:
        if wanted in _QUERIED:
            return _compared(lambda number: _query(_NO_FD, number), wanted)
        if wanted in _QUERIED_BY_INTERFACE:
            return _compared(lambda number: _query(_NO_INTERFACE, number), wanted)
        if wanted in _SOCK_MAP:
            return self._with(Context(_SOCK_MAP[wanted]), _attach, wanted)
        if wanted in _LINKED:
            kind, detail = _LINKED[wanted]
            expected = 0 if wanted is _A.PERF_EVENT else wanted
            return self._with(Context(kind, expected), lambda fd, number: _link(fd, number, detail), wanted)
        if wanted in _LOADED:
            kind = _LOADED[wanted]
            if kind is _P.SK_REUSEPORT and self._prober.loads(Context(kind, _NO_SUCH_TYPE)):
                return None  # before 5.14 nobody looks at the number
            return any_answer(self._prober.loads(one) for one in contexts(kind, wanted))
        return self._struct_ops_link() if wanted is _A.STRUCT_OPS else None

    def link_type(self, name: str) -> bool | None:
        """Whether there are links of this type, one of :data:`LINK_TYPES`; None where no trial can tell."""
        if name in _LINKS:
            context, attach_type, target = _LINKS[name]
            return self._with(context, lambda fd, number: _link(fd, number, b"", target), attach_type)
        if name in _LINKS_OF_ATTACH_TYPES:
            return self.attach_type(_LINKS_OF_ATTACH_TYPES[name])
        if name == "ITER":
            return self._iterator_link()
        if name == "RAW_TRACEPOINT":
            return self._raw_tracepoint_link()
        # Links came to TRACING programs (5.7) before anything that is asked here.
        return True if name == "TRACING" and self._prober.program_type(_P.TRACING) else None

    def attachment(self, section: str) -> bool | None:
        """Whether a program of such a section can be loaded and attached, as far as a trial can tell."""
        if section in _MULTI:
            return self.attach_type(_MULTI[section])
        if section == "struct_ops.link":
            return self.attach_type(_A.STRUCT_OPS)
        if section in ("uprobe.multi.s", "uprobe.session.s"):
            attach_type = _MULTI[section.removesuffix(".s")]
            there = self.attach_type(attach_type)
            loads = self._prober.loads(Context(_P.KPROBE, attach_type, sleepable=True))
            return False if False in (there, loads) else None if None in (there, loads) else True
        kind, wanted, sleepable = _SECTIONS[section]
        return any_answer(self._prober.loads(one) for one in contexts(kind, wanted, sleepable))

    def _with(self, context: Context, ask: Callable[[int, int], int], wanted: AttachType) -> bool | None:
        """The answer of a request that needs a program; no when there are no such programs."""
        program = self._prober.loader.keep(context, RETURN_0)
        if program is None:
            return False if self._prober.loads(context) is False else None
        with program:
            return _compared(lambda number: ask(program.fileno(), number), wanted)

    def _iterator_link(self) -> bool | None:
        iterator = next(iter(contexts(_P.TRACING, _A.TRACE_ITER)))
        detail = struct.pack("=QI", _NO_ADDRESS, 8)  # iter_info, iter_info_len
        return self._with(iterator, lambda fd, number: _link(fd, number, detail, 0), _A.TRACE_ITER)

    def _raw_tracepoint_link(self) -> bool | None:
        program = self._prober.loader.keep(Context(_P.RAW_TRACEPOINT), RETURN_0)
        if program is None:
            return False if self._prober.loads(Context(_P.RAW_TRACEPOINT)) is False else None
        with program:
            # Comes to read the tracepoint's name, which is nowhere.
            request = struct.pack("=QII", _NO_ADDRESS, program.fileno(), 0)
            code = _errno(sys.Command.RAW_TRACEPOINT_OPEN, request)
        return True if code == errno.EFAULT else None

    @staticmethod
    def _struct_ops_link() -> bool | None:
        """Whether a struct_ops map may have BPF_F_LINK (6.4, together with the link).

        Type id 1 of vmlinux is no struct_ops value, so no map comes about: ENOTSUPP says that it came to look
        for the value, after the flags (``bpf_struct_ops_map_alloc_check()``).
        """

        def code(flags: int) -> int:
            try:
                sys.map_create(
                    MapType.STRUCT_OPS,
                    key_size=4,
                    value_size=4,
                    max_entries=1,
                    flags=flags,
                    btf_vmlinux_value_type_id=1,
                ).close()
            except OSError as error:
                return error.errno or 0
            return 0

        if code(0) != _ENOTSUPP:
            return None
        return {_ENOTSUPP: True, errno.EINVAL: False}.get(code(MapFlag.LINK))


def _compared(ask: Callable[[int], int], wanted: AttachType) -> bool | None:
    """The answer by errnos: of this attach type, and of one that no kernel knows."""
    code, nobody = ask(wanted), ask(_NO_SUCH_TYPE)
    if code in (0, errno.EPERM, errno.EACCES) or nobody != errno.EINVAL:
        return None
    # EOPNOTSUPP and ENOTSUPP: known, and compiled out or not for this architecture.
    return code not in (nobody, errno.EOPNOTSUPP, _ENOTSUPP)


def _errno(command: sys.Command, request: bytes) -> int:
    try:
        result = sys.bpf(command, request)
    except OSError as error:
        return error.errno or 0
    if command in (sys.Command.LINK_CREATE, sys.Command.RAW_TRACEPOINT_OPEN):
        sys.OwnedFd(result).close()
    return 0


def _query(target: int, attach_type: int) -> int:
    # target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
    return _errno(sys.Command.PROG_QUERY, struct.pack("=IIIIQI", target, attach_type, 0, 0, 0, 0))


def _attach(program: int, attach_type: int) -> int:
    # target_fd, attach_bpf_fd, attach_type, attach_flags
    return _errno(sys.Command.PROG_ATTACH, struct.pack("=IIII", _NO_FD, program, attach_type, 0))


def _link(program: int, attach_type: int, detail: bytes, target: int = _NO_FD) -> int:
    return _errno(sys.Command.LINK_CREATE, struct.pack("=IIII", program, target, attach_type, 0) + detail)
