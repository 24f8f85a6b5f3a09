# SPDX-License-Identifier: Apache-2.0
"""Loads trial programs and closes them at once."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from holdfast import sys
from holdfast.btf import Btf
from holdfast.btf.types import Struct
from holdfast.kernels.probe.contexts import Context, Target
from holdfast.kernels.probe.judge import Trial

__all__ = ["Loader"]

_LOG_BYTES: Final = 4096


class Loader:
    """BPF_PROG_LOAD for a :class:`~holdfast.kernels.probe.contexts.Context`. Close it: it may hold BTF.

    ``vmlinux`` and ``modules`` are the running kernel's own.
    """

    def __init__(self, vmlinux: Btf | None, modules: Mapping[str, Btf]) -> None:
        self.vmlinux = vmlinux
        self.modules = modules
        self.loads = 0
        self._places: dict[Target, tuple[int, int] | None] = {}
        self._module_fds: dict[str, int] | None = None
        self._held = ExitStack()

    def close(self) -> None:
        """Give back the descriptors of modules' BTF."""
        self._held.close()

    def load(self, context: Context, insns: bytes, *, fd_array: tuple[int, ...] = ()) -> Trial:
        """What the kernel says of these instructions; ENOENT without a log where the target is not there."""
        fd, error, log = self._load(context, insns, fd_array)
        if fd is not None:
            fd.close()
        return Trial(fd is not None, error, log)

    def keep(self, context: Context, insns: bytes) -> sys.OwnedFd | None:
        """A descriptor of the program, which the caller closes; None when it is refused."""
        return self._load(context, insns, ())[0]

    def _load(
        self, context: Context, insns: bytes, fd_array: tuple[int, ...]
    ) -> tuple[sys.OwnedFd | None, int, str]:
        type_id = place = owner = 0
        if context.target is not None:
            found = self._place(context.target)
            module = context.target.module
            fd = self.module_btf(module) if module else 0
            if found is None or fd is None:
                return None, errno.ENOENT, ""
            (type_id, place), owner = found, fd
        self.loads += 1
        result = sys.prog_load(
            context.program_type,
            insns,
            expected_attach_type=place or context.attach_type,
            flags=sys.ProgFlag.SLEEPABLE if context.sleepable else 0,
            log_level=1,
            log_size=_LOG_BYTES,
            attach_btf_id=type_id,
            attach_fd=owner,
            fd_array=fd_array,
        )
        return result.fd, result.errno, result.log

    def module_btf(self, module: str) -> int | None:
        """A descriptor of the module's BTF, held until close; None without CAP_SYS_ADMIN (going by id)."""
        if self._module_fds is None:
            self._module_fds = {}
            try:
                for number in sys.ids("btf"):
                    self._hold_module(number, self._module_fds)
            except OSError:
                pass  # EPERM: what was found is still true
        return self._module_fds.get(module)

    def _hold_module(self, number: int, found: dict[str, int]) -> None:
        try:
            owned = sys.fd_by_id("btf", number)
        except FileNotFoundError:
            return  # somebody's that went away meanwhile: the others are still there
        try:
            info = sys.btf_info(owned.fileno())
            if info.kernel and info.name in self.modules:
                found[info.name] = self._held.enter_context(owned).fileno()
                return
        except BaseException:
            owned.close()
            raise
        owned.close()

    def _place(self, target: Target) -> tuple[int, int] | None:
        """The target's type id and the place of its member (0 where it has none)."""
        if target not in self._places:
            self._places[target] = self._find_place(target)
        return self._places[target]

    def _find_place(self, target: Target) -> tuple[int, int] | None:
        btf = self.modules.get(target.module) if target.module else self.vmlinux
        ids = btf.find_all(target.name, target.kind) if btf is not None else []
        if btf is None or not ids:
            return None
        if not target.member:
            return ids[0], 0
        found = btf.type(ids[0])
        names = [member.name for member in found.members] if isinstance(found, Struct) else []
        return (ids[0], names.index(target.member)) if target.member in names else None
