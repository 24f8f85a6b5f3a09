# SPDX-License-Identifier: Apache-2.0
"""Hash reporting: who reads a TAP gets each frame with its ``virtio_net_hdr_v1_hash``, the best way there is.

::

    kernel      a kernel that reports by itself, should one be asked and say so
    bpf         the bundle net/rss-report: a program on the TAP's egress hook hashes, and puts the hash before
                the frame; the steering program hands on the queue that it chose
    user space  whatever arrives without: frame by frame, also among those of the other two
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from holdfast.errors import HoldfastError, KernelAccessError, LibbpfError, PrivilegeError, UsageError
from holdfast.rss.config import RssConfig
from holdfast.rss.kernel import KernelSteering
from holdfast.rss.report_ask import enable, hash_types, interface_index, where
from holdfast.rss.report_read import FrameHasher, Received, ReportReader, Rung
from holdfast.rss.report_wire import template
from holdfast.rss.terms import TunnelType

if TYPE_CHECKING:
    from holdfast.load.tc import TcAttachment

__all__ = ["FrameHasher", "Loaded", "Received", "ReportReader", "Reporting", "Rung"]

_TUNSETSTEERINGEBPF: Final = 0x800454E0  # declared _IOR, and yet it reads its argument


class Loaded(Protocol):
    """What is needed of an outcome of net/rss-report; :class:`holdfast.load.Outcome` has it."""

    @property
    def is_fallback(self) -> bool:
        """Whether no variant runs."""

    def program(self, name: str, /) -> Any:
        """Returns a loaded program, which has ``fd``."""

    def map(self, name: str, /) -> Any:
        """Returns a map, which has ``update(key, value)``."""


class Reporting:
    """Hash reporting on one TAP, and the reader of its queues; a context manager.

    ``rung`` is the best way that works here, ``why`` has a line for each better one that does not. Each frame
    tells by itself which way it took: one that came past the program is hashed in user space. ``cookie`` is
    what a :class:`ReportReader` in another thread or process needs to read some of the queues in this one's
    place; None without a program.

    Closing takes the programs off the TAP; descriptors, programs and maps stay the caller's. Frames that
    wait in the queues then still have their prefixes, and can still be read here.
    """

    def __init__(
        self,
        fds: Sequence[int],
        config: RssConfig,
        outcome: Loaded | None = None,
        *,
        supported_tunnel_types: TunnelType = TunnelType.NONE,
        hasher: FrameHasher | None = None,
        tcx: bool = True,
    ) -> None:
        """``fds`` are all queues of the TAP, non-blocking; ``outcome`` is what came of running the bundle
        net/rss-report, None for no BPF. ``supported_tunnel_types`` are those that its programs can look into:
        ``ALL_TUNNELS`` for the bundle net/rss-report-tunnel; other settings are for user space. ``hasher``
        replaces what user space hashes with. ``tcx=False`` attaches by clsact even where there is tcx.

        Raises :class:`~holdfast.errors.UsageError` for descriptors that are no TAP's, or that block.
        """
        self._fds = tuple(fds)
        self._steering: KernelSteering | None = None
        self._attachment: TcAttachment | None = None
        self._kernel = False
        self._steered = False
        self._tunnels = supported_tunnel_types
        self.why: tuple[str, ...] = ()
        ReportReader(fds, config)  # whether these are descriptors that can be read
        cookie = None
        if refusal := self._ask_kernel(config):
            self.why += (f"kernel: {refusal}",)
            cookie, refusal = self._attach(outcome, config, tcx)
            if refusal:
                self.why += (f"bpf: {refusal}",)
        self.cookie = cookie
        self.rung = Rung.KERNEL if self._kernel else Rung.USER if cookie is None else Rung.BPF
        try:
            self._reader = ReportReader(fds, config, cookie=cookie, by_kernel=self._kernel, hasher=hasher)
        except BaseException:
            self.close()
            raise

    def _ask_kernel(self, config: RssConfig) -> str:
        """Return why the kernel does not report, nothing where it does from now on."""
        types = hash_types(self._fds[0])
        if types is None:
            return "it has no hash reporting for TAPs"
        if config.types & ~types or config.tunnel_types:
            return f"it reports other hash types: {types!r}"
        try:
            enable(self._fds[0], config)
        except OSError as error:
            return f"it refuses: {error.strerror}"
        self._kernel = True
        return ""

    def _attach(self, outcome: Loaded | None, config: RssConfig, tcx: bool) -> tuple[int | None, str]:
        """Return the cookie of the attached program, or None and why there is none."""
        if outcome is None:
            return None, "no bundle was given"
        if outcome.is_fallback:
            return None, "no variant of the bundle runs here"
        try:
            program_fd = outcome.program("steer").fd
            steering = KernelSteering(outcome.map, program_fd, supported_tunnel_types=self._tunnels)
            steering.configure(config)
            cookie = secrets.randbits(32) or 1
            outcome.map("report_config").update(0, template(cookie))
            # First the queue, then the prefix: before tc runs, the steering program decides by itself.
            self._steer(steering.program_fd)
            self._attachment = self._to_egress(outcome.program("report").fd, tcx)
        except (PrivilegeError, LibbpfError, UsageError) as error:
            self.close()
            return None, error.message
        self._steering = steering
        return cookie, ""

    def _to_egress(self, program_fd: int, tcx: bool) -> TcAttachment:
        from holdfast.load.netns import in_network_namespace
        from holdfast.load.tc import attach_egress

        namespace, name = where(self._fds[0])
        try:
            index = in_network_namespace(namespace, lambda: interface_index(name))
            return attach_egress(program_fd, index, namespace=namespace, tcx=tcx)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                hint = "CAP_SYS_ADMIN is needed to enter it"
                raise PrivilegeError(
                    f"the network namespace of TAP {name}: {error.strerror}", hint=hint
                ) from None
            raise LibbpfError(f"TAP {name}: {error.strerror or error}") from None
        finally:
            os.close(namespace)

    def _steer(self, program_fd: int) -> None:
        import fcntl

        try:
            fcntl.ioctl(self._fds[0], _TUNSETSTEERINGEBPF, bytearray(struct.pack("i", program_fd)))
        except OSError as error:
            raise LibbpfError(f"TUNSETSTEERINGEBPF: {error.strerror}") from None
        self._steered = program_fd >= 0

    @property
    def how(self) -> str:
        """Returns ``tcx`` or ``clsact``, by which the program hangs on the TAP; empty without one."""
        return self._attachment.how if self._attachment else ""

    @property
    def counts(self) -> Mapping[Rung, int]:
        """Returns how many frames were read so far, by who hashed them."""
        return self._reader.counts

    def configure(self, config: RssConfig) -> None:
        """Takes new settings, for queues and hashes. Frames on their way may carry hashes of the old ones.

        Raises :class:`~holdfast.errors.UsageError` for tunnel types that the attached program does not
        support: what it hashes and what user space does would not be the same.
        """
        if self._kernel:
            try:
                enable(self._fds[0], config)
            except OSError as error:
                raise KernelAccessError(f"the TAP refuses these settings: {error.strerror}") from None
        if self._steering is not None:
            self._steering.configure(config)
        self._reader.configure(config)

    def read(self, queue: int) -> Received | None:
        """Returns the next frame of a queue, None where none waits. Raises as :meth:`read_batch`."""
        return self._reader.read(queue)

    def read_batch(self, queue: int, most: int = 256) -> list[Received]:
        """Returns what waits in a queue, in order, at most ``most`` frames.

        Raises :class:`~holdfast.errors.KernelAccessError` when the TAP cannot be read: it is down, or gone.
        """
        return self._reader.read_batch(queue, most)

    def close(self) -> None:
        """Takes the programs off the TAP; closing twice is no error, nor is a TAP that has gone."""
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.close()
        if self._steered:
            try:
                self._steer(-1)
            except HoldfastError:
                self._steered = False  # the TAP, and with it what steered it, is gone

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
