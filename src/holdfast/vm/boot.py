# SPDX-License-Identifier: Apache-2.0
"""A guest from its start to its end: qemu, the port, the console, deadlines.

Nothing of it is in the file system: kernel and root are files in memory, port and console are sockets without
a name. qemu is tied to this process and dies with it, whatever that dies of.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from holdfast.errors import UsageError
from holdfast.vm.accelerator import forget_kvm, kvm_is_proven, may_use_kvm, prove_kvm
from holdfast.vm.console import Console
from holdfast.vm.errors import GuestError
from holdfast.vm.frames import Decoder, FrameError, Kind, encode
from holdfast.vm.initramfs import build, in_memory
from holdfast.vm.job import Job, JobResult
from holdfast.vm.kernel import BootKernel
from holdfast.vm.modules import insertion, normal
from holdfast.vm.qemu import command, find
from holdfast.vm.required import require
from holdfast.vm.values import ValueFormatError, pack, unpack

__all__ = ["PORT_MODULES", "Guest"]

# What the port needs and 5.10 and 6.1 cloud kernels have as modules; what they depend on comes with them.
PORT_MODULES = ("virtio_pci", "virtio_console")
# Nothing is changed that a program could feel. oops=panic: a kernel that is damaged says nothing more.
# no_timer_check, as the kernel does for itself under KVM: a guest that does not get to run for a while takes
# its timer for broken and panics (check_timer() of arch/x86/kernel/apic/io_apic.c).
# cryptomgr.notests: a second of each boot without KVM is the kernel's test of its own ciphers
# (crypto/testmgr.c).
_ARGUMENTS = "console=ttyS0 quiet panic=-1 oops=panic no_timer_check cryptomgr.notests"
_KVM_PATIENCE = 10.0  # seconds to user space before KVM is taken for broken; it needs less than two
_GRACE = 30.0  # seconds for the guest's own watch over a job to speak, before the guest counts as hung
_CHUNK = 1 << 18  # bytes
_CROWD = 8.0  # times that a limit is longer, at most, on a machine that has other things to do
_TOLD = 60  # lines of a console that an error carries: a panic with its trace
_MOST = 512 << 20  # bytes that one job may send
# the line of a console that says what went wrong, rather than the last of a trace
_TELLING = re.compile(r"Kernel panic(?!.*Attempted to kill init)|Oops|BUG: |Error: |qemu-system")


class Guest:
    """A booted kernel with a job runner in it. Use it in the thread that boots it; it dies with that thread.

    ``release`` is what the guest's kernel calls itself, ``modules`` the errno of each module that was to be
    inserted (0: done), ``absent`` the names that this kernel has no module for, ``accelerator`` "kvm" or
    "tcg", ``boot_seconds`` the time until it was ready; ``milestones`` is how the guest's own clock saw it:
    process 1 ``entered``, file systems ``mounted``, ``port`` open, ``ready`` for jobs.
    """

    def __init__(self, release: str, accelerator: str) -> None:
        self.release = release
        self.accelerator = accelerator
        self.modules: Mapping[str, int] = {}
        self.absent: tuple[str, ...] = ()
        self.boot_seconds = 0.0
        self.milestones: Mapping[str, float] = {}
        self._console = Console()
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder = Decoder()
        self._selector = selectors.DefaultSelector()
        self._port: socket.socket | None = None
        self._sockets: list[socket.socket] = []

    @classmethod
    def boot(
        cls,
        kernel: BootKernel,
        *,
        modules: Collection[str] = (),
        files: Mapping[str, bytes] | None = None,
        packages: Collection[str] = (),
        memory: int = 1536,
        timeout: float = 120.0,
        arguments: str = "",
        accelerator: str | None = None,
    ) -> Guest:
        """Boot a kernel and wait until it takes jobs.

        ``modules`` are inserted with all that they depend on. ``files`` are put into its root, contents by
        absolute path; ``packages`` are installed packages, by import name, that jobs need besides holdfast.
        ``memory`` in MiB; ``timeout`` in seconds until it is ready; ``arguments`` are added to the kernel's
        command line; ``accelerator`` "kvm" or "tcg" asks for just that one, None tries KVM where it may work.

        Raises :class:`~holdfast.vm.errors.GuestError`, :class:`~holdfast.errors.KernelFileError` for a kernel
        that cannot be booted, :class:`~holdfast.errors.UsageError` for packages that are not installed.
        """
        if accelerator not in (None, "kvm", "tcg"):
            raise UsageError(f"there is no accelerator {accelerator!r}", hint="there are kvm and tcg")
        require(kernel.release, kernel.config, {normal(one.name) for one in kernel.modules})
        inserted = insertion([*PORT_MODULES, *modules], kernel.modules)
        absent = tuple(name for name in inserted.absent if name not in PORT_MODULES)
        boot_file = kernel.boot_file()
        with contextlib.ExitStack() as stack:
            root = build(kernel.release, inserted, config=kernel.config, files=files, with_packages=packages)
            stack.callback(os.close, root)
            if isinstance(boot_file, Path):
                image = os.open(boot_file, os.O_RDONLY | os.O_CLOEXEC)
            else:
                image = in_memory("kernel", boot_file)
            stack.callback(os.close, image)

            def start(using: str, patience: float) -> Guest:
                guest = cls(kernel.release, using)
                guest.absent = absent
                guest._start(image, root, memory, f"{_ARGUMENTS} {arguments}".rstrip())
                guest._greet(patience)
                return guest

            if accelerator is not None or not may_use_kvm():
                return start(accelerator or "tcg", timeout)
            if kvm_is_proven():
                return start("kvm", timeout)
            try:
                guest = start("kvm", min(_KVM_PATIENCE, timeout))
            except GuestError:
                guest = start("tcg", timeout)
                forget_kvm()  # it was not the kernel's fault
            else:
                prove_kvm()
            return guest

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Run jobs one after the other and yield how each ended.

        Raises :class:`~holdfast.vm.errors.GuestError` when the guest is lost; results before were yielded,
        and ``job`` of the error names the one that it was lost with. Further jobs need another guest.
        """
        for job in jobs:
            yield self._run_one(job)

    def console(self, lines: int = 20) -> tuple[str, ...]:
        """Return the last lines of the console."""
        return self._console.lines(lines)

    def close(self) -> None:
        """End the guest. Closing twice is no error."""
        process, self._process = self._process, None
        self._selector.close()
        while self._sockets:
            self._sockets.pop().close()
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ inside

    def _start(self, image: int, root: int, memory: int, arguments: str) -> None:
        qemu = find()
        port, port_far = socket.socketpair()
        console, console_far = socket.socketpair()
        self._sockets = [port, console]
        self._port = port
        for one in self._sockets:
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ)
        with port_far, console_far:
            fds = (image, root, port_far.fileno(), console_far.fileno())
            line = command(
                qemu,
                parent=os.getpid(),
                accelerator=self.accelerator,
                kernel=f"/proc/self/fd/{image}",
                initrd=f"/proc/self/fd/{root}",
                arguments=arguments,
                memory=memory,
                port=port_far.fileno(),
                console=console_far.fileno(),
            )
            try:
                # its own group: Ctrl-C is for this process, which then ends the guest
                self._process = subprocess.Popen(
                    line, pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=console_far.fileno(), process_group=0,
                )  # fmt: skip
            except OSError as error:
                self.close()
                raise GuestError(f"qemu cannot be started: {error}") from None
            except BaseException:
                self.close()
                raise

    def _greet(self, patience: float) -> None:
        started = time.monotonic()
        try:
            kind, hello, _ = self._next(started + _fair(patience), "to boot", None)
            if kind is not Kind.HELLO:
                self._lose(f"it began with {kind.name}", None)
            self.release = str(hello["release"])
            self.modules = {str(name): int(code) for name, code in hello["modules"].items()}
            self.milestones = {str(name): float(at) for name, at in hello["seconds"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._lose(f"its greeting makes no sense ({error})", None)
        except BaseException:
            self.close()
            raise
        self.boot_seconds = time.monotonic() - started

    def _run_one(self, job: Job) -> JobResult:
        if self._process is None:
            raise UsageError(f"the guest of {self.release} is closed")
        timeout = _fair(job.timeout)
        request = {"call": job.call, "arguments": job.arguments, "timeout": timeout}
        try:
            frame = encode(Kind.JOB, pack(request))
        except (TypeError, FrameError) as error:
            raise UsageError(f"job {job.name} cannot be sent: {error}") from None
        parts: list[Any] = []
        try:
            self._send(frame, time.monotonic() + timeout + _GRACE, job.name)
            return self._answer(job, timeout, parts)
        except GuestError as error:
            error.parts = tuple(parts)
            raise
        except BaseException:
            self.close()
            raise

    def _answer(self, job: Job, timeout: float, parts: list[Any]) -> JobResult:
        room = _MOST
        while True:
            deadline = time.monotonic() + timeout + _GRACE
            kind, value, size = self._next(deadline, f"to answer within {timeout:g} s", job.name)
            if kind is Kind.PART:
                parts.append(value)
                room -= size
                if room < 0:
                    self._lose(f"it sent more than {_MOST >> 20} MiB", job.name)
            elif kind in (Kind.DONE, Kind.FAILED):
                break
            else:
                self._lose(f"it sent {kind.name} during a job", job.name)
        try:
            problem, stuck = str(value.get("problem", "")), bool(value.get("stuck"))
            result = JobResult(
                job, value.get("value"), tuple(parts), problem, str(value["said"]), float(value["seconds"])
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._lose(f"its answer makes no sense ({error!r})", job.name)
        if stuck:
            self._lose(problem, job.name)
        return result

    def _send(self, frame: bytes, deadline: float, job: str) -> None:
        assert self._port is not None
        view = memoryview(frame)
        self._selector.modify(self._port, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while view:
            for one, events in self._wait(deadline, "to take a job", job):
                if events & selectors.EVENT_READ:
                    self._hear(one, job)
                if events & selectors.EVENT_WRITE:
                    # an error shows as the end of what is read
                    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                        view = view[self._port.send(view[:_CHUNK]) :]
        self._selector.modify(self._port, selectors.EVENT_READ)

    def _next(self, deadline: float, what: str, job: str | None) -> tuple[Kind, Any, int]:
        """Return the next frame's kind, value and size in bytes.

        Raises :class:`GuestError` at the deadline, on an end, on nonsense.
        """
        try:
            while True:
                for kind, payload in self._decoder.frames():
                    return kind, unpack(payload), len(payload)
                for one, _ in self._wait(deadline, what, job):
                    self._hear(one, job)
        except (FrameError, ValueFormatError) as error:
            self._lose(f"it sends nonsense: {error}", job)

    def _wait(self, deadline: float, what: str, job: str | None) -> list[tuple[socket.socket, int]]:
        left = deadline - time.monotonic()
        if left <= 0:
            self._lose(f"it failed {what}", job)
        ready = self._selector.select(left)
        return [(key.fileobj, events) for key, events in ready if isinstance(key.fileobj, socket.socket)]

    def _hear(self, one: socket.socket, job: str | None) -> None:
        """Take what has come over a socket. The end of the port is the end of the guest."""
        data = _received(one)
        if data is None:
            return
        if one is self._port:
            self._decoder.add(data)
            if not data:
                self._lose("it died", job)
        else:
            self._console.add(data)
            if not data:
                self._selector.unregister(one)

    def _lose(self, problem: str, job: str | None) -> NoReturn:
        """End the guest and say why."""
        for one in self._sockets:
            while one is not self._port and (data := _received(one)):
                self._console.add(data)
        self.close()
        last = self.console(_TOLD)
        during = f" during {job}" if job is not None else ""
        said = next(
            (line for line in reversed(last) if _TELLING.search(line)), last[-1] if last else "nothing"
        )
        raise GuestError(
            f"the guest with {self.release} is lost{during}: {problem}; last on its console: {said}",
            console=last,
            job=job,
        )


def _fair(seconds: float) -> float:
    """Return a time limit for a machine with others on it: as many times longer as there is more to run than
    processors, up to eight times. Limits below ten seconds are meant as they are.
    """
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds if crowd <= 1 or seconds < 10 else float(round(seconds * min(crowd, _CROWD)))


def _received(one: socket.socket) -> bytes | None:
    """Return what has come; empty at the end, None when there is nothing now."""
    try:
        return one.recv(_CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
