# SPDX-License-Identifier: Apache-2.0
"""Programs: load raw instructions (probes only; objects are libbpf's job) and run one on data."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from holdfast.sys.abi import OBJ_NAME_LEN, Command
from holdfast.sys.fd import OwnedFd
from holdfast.sys.syscall import address, bpf, buffer, c_string

__all__ = ["RawLoad", "TestRun", "btf_load", "link_create", "pack_skb", "prog_load", "prog_test_run"]


@dataclass(frozen=True, slots=True)
class RawLoad:
    """What PROG_LOAD said: a descriptor of the caller's or an errno (positive), and the log."""

    fd: OwnedFd | None
    errno: int
    log: str


@dataclass(frozen=True, slots=True)
class TestRun:
    """What one PROG_TEST_RUN gave: ``duration_ns`` is the kernel's mean over all repetitions."""

    __test__ = False  # pytest collects classes by this prefix

    return_value: int
    duration_ns: int
    data: bytes
    context: bytes


def prog_load(
    prog_type: int,
    insns: bytes,
    *,
    licence: str = "GPL",
    name: str = "",
    expected_attach_type: int = 0,
    flags: int = 0,
    log_level: int = 0,
    log_size: int = 1 << 16,
    attach_btf_id: int = 0,
    attach_fd: int = 0,
    prog_btf_fd: int = 0,
    func_info: bytes = b"",
    func_info_size: int = 8,
    fd_array: tuple[int, ...] = (),
    kern_version: int = 0,
) -> RawLoad:
    """Returns what BPF_PROG_LOAD said of ``insns`` (8 bytes each); a refusal is an answer, not an exception.

    ``log_level`` 1 or more fills the log, at most ``log_size`` bytes (from 6.4 on its end is kept, before its
    beginning, and ENOSPC tells that it was cut). ``attach_fd`` is a program or BTF descriptor.
    """
    program, licence_text = buffer(insns), buffer(licence.encode() + b"\0")
    log = buffer(log_size) if log_level else None
    functions = buffer(func_info) if func_info else None
    numbers = buffer(struct.pack(f"={len(fd_array)}i", *fd_array)) if fd_array else None
    content = struct.pack(
        "=IIQQIIQII16sIIIIQIIQIIIIQQII",
        prog_type, len(insns) // 8, address(program), address(licence_text),
        log_level, log_size if log_level else 0, address(log),
        kern_version, flags, name.encode()[: OBJ_NAME_LEN - 1],
        0, expected_attach_type, prog_btf_fd,
        func_info_size if func_info else 0, address(functions), len(func_info) // func_info_size, 0, 0, 0,
        attach_btf_id, attach_fd, 0, address(numbers), 0, 0, 0,
    )  # fmt: skip
    try:
        fd, errno = OwnedFd(bpf(Command.PROG_LOAD, content)), 0
    except OSError as error:
        fd, errno = None, error.errno or 0
    return RawLoad(fd, errno, c_string(log.raw) if log is not None else "")


def btf_load(data: bytes, *, log_size: int = 0) -> OwnedFd:
    """Returns loaded BTF. Raises :class:`OSError`, with the kernel's log as a note when ``log_size`` bytes
    are given.
    """
    block = buffer(data)
    log = buffer(log_size) if log_size else None
    content = struct.pack(
        "=QQIIIIII", address(block), address(log), len(data), log_size, bool(log_size), 0, 0, 0
    )
    try:
        return OwnedFd(bpf(Command.BTF_LOAD, content))
    except OSError as error:
        if log is not None and (text := c_string(log.raw).strip()):
            error.add_note(text)
        raise


def link_create(
    prog_fd: int, target: int, attach_type: int, *, flags: int = 0, detail: bytes = b""
) -> OwnedFd:
    """Returns a link; ``target`` is a descriptor or an interface index, ``detail`` the union that follows."""
    return OwnedFd(
        bpf(Command.LINK_CREATE, struct.pack("=IIII", prog_fd, target, attach_type, flags) + detail)
    )


def prog_test_run(
    fd: int,
    data: bytes | None = None,
    *,
    repeat: int = 1,
    context: bytes | None = None,
    data_out_size: int | None = None,
    flags: int = 0,
    cpu: int = 0,
) -> TestRun:
    """Runs a program on ``data`` (for skb and XDP programs a frame of at least 14 bytes). Raises
    :class:`OSError`.

    Of the skb types only SCHED_CLS and SCHED_ACT see the Ethernet header, the others begin at layer 3, and it
    comes back as zeros (bpf_prog_test_run_skb). A SOCKET_FILTER on a real TAP or packet socket does see it.
    ``data_out_size`` is the room in bytes for what the program leaves (default: the frame and 256 more;
    0: not asked for); ``context`` is e.g. :func:`pack_skb`, and comes back as the program left it.
    """
    source = buffer(data) if data is not None else None
    room = (len(data) + 256 if data is not None else 0) if data_out_size is None else data_out_size
    target = buffer(room) if room else None
    before = buffer(context) if context is not None else None
    after = buffer(len(context)) if context is not None else None
    size = len(context) if context is not None else 0
    block = buffer(
        struct.pack(
            "=IIIIQQIIIIQQIII",
            fd,
            0,
            len(data) if data is not None else 0,
            room,
            address(source),
            address(target),
            repeat,
            0,
            size,
            size,
            address(before),
            address(after),
            flags,
            cpu,
            0,
        )
    )
    bpf(Command.PROG_TEST_RUN, block)
    _, value, _, told = struct.unpack_from("=IIII", block, 0)
    duration, _, told_context = struct.unpack_from("=III", block, 36)
    return TestRun(
        value,
        duration,
        target.raw[: min(told, room)] if target is not None else b"",
        after.raw[: min(told_context, size)] if after is not None else b"",
    )


_SKB = {
    "mark": 8, "priority": 32, "ingress_ifindex": 36, "ifindex": 40,
    "wire_len": 160, "gso_segs": 164, "gso_size": 176,
}  # fmt: skip


def pack_skb(
    *, cb: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0), tstamp: int = 0, **fields: int
) -> bytes:
    """Returns a ``struct __sk_buff`` (192 bytes) with what PROG_TEST_RUN lets a caller set.

    mark, priority, ingress_ifindex, ifindex, wire_len, gso_segs, gso_size, cb and tstamp (ns); any other
    non-zero field is refused by the kernel (convert___skb_to_skb in net/bpf/test_run.c).
    """
    block = bytearray(192)
    for name, value in fields.items():
        if name not in _SKB:
            raise ValueError(
                f"__sk_buff.{name} cannot be set for a test run; these can: {', '.join(_SKB)}, cb, tstamp"
            )
        struct.pack_into("=I", block, _SKB[name], value)
    struct.pack_into("=5I", block, 48, *cb)
    struct.pack_into("=Q", block, 152, tstamp)
    return bytes(block)
