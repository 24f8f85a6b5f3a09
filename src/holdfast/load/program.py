# SPDX-License-Identifier: Apache-2.0
"""Programs in the kernel."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from holdfast import sys as kernel
from holdfast.errors import UsageError
from holdfast.load.failure import failed_call
from holdfast.terms import AttachType, ProgramType

if TYPE_CHECKING:
    from holdfast.load.link import Link
    from holdfast.load.session import Session

__all__ = ["Program"]


class Program:
    """One loaded program. The descriptor belongs to the :class:`Object`; :meth:`duplicate_fd` gives one
    that outlives it.
    """

    __slots__ = ("_handle", "_session", "name", "section", "verifier_log")

    def __init__(self, session: Session, handle: Any, name: str, section: str, verifier_log: str) -> None:
        self._session = session
        self._handle = handle
        self.name = name
        self.section = section
        self.verifier_log = verifier_log  # empty unless kernel_log_level asked for it

    @property
    def fd(self) -> int:
        """Returns the descriptor. Raises :class:`UsageError` once the object is closed."""
        return int(self._session.call("bpf_program__fd", self._handle))

    @property
    def type(self) -> ProgramType | int:
        """Returns the type; a bare number for one that this release does not know."""
        number = int(self._session.call("bpf_program__type", self._handle))
        try:
            return ProgramType(number)
        except ValueError:
            return number

    @property
    def expected_attach_type(self) -> AttachType | int:
        number = int(self._session.call("bpf_program__expected_attach_type", self._handle))
        try:
            return AttachType(number)
        except ValueError:
            return number

    @property
    def id(self) -> int:
        return self.info.id

    @property
    def info(self) -> kernel.ProgInfo:
        """Returns what the kernel tells of the program now (run counts change)."""
        return kernel.prog_info(self.fd)

    @property
    def insns(self) -> bytes:
        """Returns the instructions that libbpf handed to the kernel, 8 bytes each: relocated, subprograms
        appended.

        Map and BTF references carry this process's descriptors.
        """
        count = int(self._session.call("bpf_program__insn_cnt", self._handle))
        return ctypes.string_at(self._session.call("bpf_program__insns", self._handle), 8 * count)

    def xlated_insns(self) -> bytes:
        """Returns the instructions as the kernel holds them after verification; see
        :func:`prog_xlated_insns`.
        """
        return kernel.prog_xlated_insns(self.fd)

    def duplicate_fd(self) -> kernel.OwnedFd:
        """Returns a descriptor of the caller's own, which keeps the program alive."""
        return kernel.OwnedFd.duplicate(self.fd)

    def attach(self) -> Link:
        """Attaches where the section's name says and returns the link; the object closes it with itself.

        Raises :class:`LibbpfError` (no such place; nothing that libbpf could attach by section alone) or
        :class:`PrivilegeError`.
        """
        from holdfast.load.attach import attach_program

        return attach_program(self._session, self._handle, self)

    def test_run(
        self,
        data: bytes | None = None,
        *,
        repeat: int = 1,
        context: bytes | None = None,
        data_out_size: int | None = None,
        flags: int = 0,
        cpu: int = 0,
    ) -> kernel.TestRun:
        """Runs the program without attaching it (bpf_prog_test_run_opts) and returns what came out.

        ``data`` is a frame of at least 14 bytes for skb and XDP programs (all skb types but SCHED_CLS and
        SCHED_ACT then see it from layer 3 on: bpf_prog_test_run_skb), None for those that take only a
        ``context`` (e.g. ``sys.pack_skb(mark=1)``); ``data_out_size`` is the room in bytes for what it leaves
        (default: the frame and 256 more). Raises :class:`LibbpfError` where the kernel has no test run for
        the type.
        """
        from holdfast.libbpf.prototypes import TestRunOpts

        room = (len(data) + 256 if data is not None else 0) if data_out_size is None else data_out_size
        if repeat < 1:
            raise UsageError(f"test_run: repeat is at least 1, not {repeat}")
        before = None if data is None else ctypes.create_string_buffer(data, max(len(data), 1))
        after = ctypes.create_string_buffer(room) if room else None
        context_in = None if context is None else ctypes.create_string_buffer(context, max(len(context), 1))
        context_out = None if context is None else ctypes.create_string_buffer(max(len(context), 1))
        size = 0 if context is None else len(context)
        options = TestRunOpts(
            sz=ctypes.sizeof(TestRunOpts),
            data_in=ctypes.cast(before, ctypes.c_void_p) if before is not None else None,
            data_out=ctypes.cast(after, ctypes.c_void_p) if after is not None else None,
            data_size_in=0 if data is None else len(data),
            data_size_out=room,
            ctx_in=ctypes.cast(context_in, ctypes.c_void_p) if context_in is not None else None,
            ctx_out=ctypes.cast(context_out, ctypes.c_void_p) if context_out is not None else None,
            ctx_size_in=size,
            ctx_size_out=size,
            repeat=repeat,
            flags=flags,
            cpu=cpu,
        )
        try:
            self._session.check("bpf_prog_test_run_opts", self.fd, ctypes.byref(options))
        except OSError as error:
            raise failed_call(f"program {self.name!r}: test run", error) from None
        return kernel.TestRun(
            options.retval,
            options.duration,
            after.raw[: min(options.data_size_out, room)] if after is not None else b"",
            context_out.raw[: min(options.ctx_size_out, size)] if context_out is not None else b"",
        )

    def __repr__(self) -> str:
        kind = self.type.name if isinstance(self.type, ProgramType) else self.type
        return f"<Program {self.name!r} {kind} {self.section!r}>"
