# SPDX-License-Identifier: Apache-2.0
"""One object on its way into the kernel: opened, adjusted, loaded, closed."""

from __future__ import annotations

import ctypes
import errno
import os
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.errors import ObjectFileError, UsageError
from holdfast.libbpf import Level, Library, Messages, library
from holdfast.libbpf.prototypes import OpenOpts
from holdfast.load.attach import attach_struct_ops
from holdfast.load.failure import failed_call, load_failure, program_logs
from holdfast.load.link import Link
from holdfast.load.map import Map
from holdfast.load.object import Object
from holdfast.load.program import Program
from holdfast.terms import MapType

__all__ = ["Session", "open_object"]

# Where the kernel wants max_entries 0 (bpf_local_storage_map_alloc_check, bpf_struct_ops_map_alloc_check)
# or, for the cgroup storages, ignores it: a size must not be made up for these.
_SIZELESS = frozenset(
    {
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.STRUCT_OPS,
    }
)
# Only where libbpf cannot hand its words over: room for a log of the verifier's largest size, paged in when
# written.
_QUIET_LOG_SIZE = (1 << 24) - 1
_POINTER = ctypes.sizeof(ctypes.c_void_p)  # bytes


@dataclass(slots=True)
class _Held:
    """What must be given back; apart from the session, so that a forgotten session can be finalized."""

    library: Library
    handle: int | None
    links: dict[int, None] = field(default_factory=dict)

    def release(self) -> None:
        while self.links:
            self.library.call("bpf_link__destroy", self.links.popitem()[0])
        handle, self.handle = self.handle, None
        if handle is not None:
            self.library.call("bpf_object__close", handle)


class Session:
    """An object that libbpf has opened: adjust it, then :meth:`load` it.

    Nothing of it is in the kernel before :meth:`load`. Closing the session closes everything that came of
    it. One session is used by one thread at a time.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        programs: Sequence[str] | None = None,
        skip_maps: Collection[str] = (),
        kernel_log_level: int = 0,
        debug: bool = False,
        pin_root: str | os.PathLike[str] | None = None,
        kconfig: str | None = None,
        btf: str | os.PathLike[str] | None = None,
        token: str | os.PathLike[str] | None = None,
    ) -> None:
        """Opens an object from a file or from bytes (then ``name`` is what errors call it).

        ``programs``: load exactly these (None: what the sections say, ``?`` meaning no). ``skip_maps``: do
        not create these. ``kernel_log_level`` 1 or more keeps the verifier's log of programs that load,
        too. ``debug`` keeps libbpf's debug messages. ``pin_root``: maps declared pinned are pinned, or
        reused, there; None: nothing is pinned. ``kconfig`` adds to the kernel's configuration
        (``CONFIG_X=y`` lines). ``btf``: raw BTF file that replaces the kernel's for CO-RE. ``token``: bpf
        file system to derive a BPF token from (libbpf 1.4).

        Raises :class:`ObjectFileError` (not readable as an object), :class:`UsageError` (no such program or
        map), :class:`LibbpfError`.
        """
        self.library = library()
        self.messages = Messages(Level.DEBUG if debug or kernel_log_level else Level.INFO)
        self._keep_logs = bool(kernel_log_level)
        self._pin_root = pin_root
        self._own_pins: list[Path] = []
        if token is not None:
            self.library.require((1, 4), "a BPF token (bpf_token_path)")
        self.name = name or ("object" if isinstance(source, bytes) else os.fspath(source))
        self._quiet_log = None if self.library.printer.talks else ctypes.create_string_buffer(_QUIET_LOG_SIZE)
        options = OpenOpts(
            sz=ctypes.sizeof(OpenOpts),
            # The part before the first dot of a file's name is libbpf's own choice; it begins the names of
            # .rodata and its like, of which the kernel keeps 15 characters.
            object_name=_identifier(Path(self.name).name.split(".")[0]).encode(),
            pin_root_path=os.fsencode(pin_root) if pin_root is not None else None,
            kconfig=kconfig.encode() if kconfig is not None else None,
            btf_custom_path=os.fsencode(btf) if btf is not None else None,
            kernel_log_buf=ctypes.addressof(self._quiet_log) if self._quiet_log is not None else None,
            kernel_log_size=_QUIET_LOG_SIZE if self._quiet_log is not None else 0,
            kernel_log_level=kernel_log_level,
            bpf_token_path=os.fsencode(token) if token is not None else None,
        )
        self._held = _Held(self.library, self._open(source, options))
        self._finalizer = weakref.finalize(self, self._held.release)
        self._object: Object | None = None
        try:
            self._programs = self._walk("bpf_object__next_program", "bpf_program__name")
            self._maps = {self._map_name(handle): handle for handle in self._walk_all("bpf_object__next_map")}
            self._choose(programs, skip_maps)
        except BaseException:
            self.close()
            raise

    def _open(self, source: str | os.PathLike[str] | bytes, options: OpenOpts) -> int:
        try:
            with self.library.listening(self.messages):
                if isinstance(source, bytes):
                    opened = self.library.check(
                        "bpf_object__open_mem", source, len(source), ctypes.byref(options)
                    )
                else:
                    opened = self.library.check(
                        "bpf_object__open_file", os.fsencode(source), ctypes.byref(options)
                    )
        except OSError as error:
            words = self.messages.warnings()
            problem = (
                f"libbpf cannot open it: {words[-1] if words else self.library.strerror(error.errno or 0)}"
            )
            raise ObjectFileError(self.name, problem) from None
        return int(opened)

    @property
    def closed(self) -> bool:
        return self._held.handle is None

    @property
    def program_names(self) -> tuple[str, ...]:
        """Returns all programs of the object, chosen or not."""
        return tuple(self._programs)

    @property
    def map_names(self) -> tuple[str, ...]:
        """Returns all maps of the object; global variables as ``.rodata``, ``.data``, ``.bss``,
        ``.kconfig``.
        """
        return tuple(self._maps)

    def initial_value(self, map_name: str) -> bytes:
        """Returns what a map of global variables will hold, or a struct_ops map its members; empty for
        others.
        """
        size = ctypes.c_size_t()
        start = self.call("bpf_map__initial_value", self._map(map_name), ctypes.byref(size))
        return ctypes.string_at(start, size.value) if start else b""

    def set_initial_value(self, map_name: str, value: bytes) -> None:
        """Replaces what a map of global variables holds at load, ``.rodata`` included; the size must stay.

        Raises :class:`UsageError`.
        """
        size = len(self.initial_value(map_name))
        if not size or len(value) != size:
            raise UsageError(
                f"{self.name}: the initial value of map {map_name!r} has {size} bytes, not {len(value)}"
            )
        self._adjust("bpf_map__set_initial_value", map_name, value, len(value))

    def set_max_entries(self, map_name: str, entries: int) -> None:
        """Sets how many entries a map will have. Raises :class:`UsageError`."""
        self._adjust("bpf_map__set_max_entries", map_name, entries)

    def reuse_map(self, map_name: str, fd: int) -> None:
        """Uses a map that exists instead of creating one; ``fd`` stays the caller's. Raises
        :class:`UsageError`.
        """
        self._adjust("bpf_map__reuse_fd", map_name, fd)

    def size_zero_maps(self) -> None:
        """Gives every map that was left at 0 entries, for the application to size, one entry, as veristat
        does.

        Not those that the kernel wants at 0: local storages and struct_ops.
        """
        for name, handle in self._maps.items():
            kind = self.call("bpf_map__type", handle)
            if kind not in _SIZELESS and not self.call("bpf_map__max_entries", handle):
                self.set_max_entries(name, 1)

    def keep_members(self, programs: Collection[str]) -> None:
        """Makes NULL what names other programs than these in struct_ops maps, as if it had not been assigned.

        A struct_ops map that names one of them is created even where its section says no. Before libbpf 1.4,
        which brought members that can be written, this changes nothing. Raises :class:`UsageError` for a
        program that is not there.
        """
        wanted = {self._program(name) for name in programs}
        others = set(self._programs.values()) - wanted
        for name, handle in self._maps.items():
            if self.call("bpf_map__type", handle) != MapType.STRUCT_OPS:
                continue
            size = ctypes.c_size_t()
            start = self.call("bpf_map__initial_value", handle, ctypes.byref(size))
            words = (ctypes.c_uint64 * (size.value // _POINTER)).from_address(start) if start else ()
            # libbpf keeps a pointer to its program where a member is one (bpf_object__collect_st_ops_relos())
            for number, word in enumerate(words):
                if word in others:
                    words[number] = 0  # type: ignore[index]
            if not wanted.isdisjoint(words):
                self._adjust("bpf_map__set_autocreate", name, True)

    def set_attach_target(self, program: str, function: str, *, prog_fd: int = 0) -> None:
        """Says which kernel function (or, with ``prog_fd``, which function of a program) a program is for.

        For fentry, fexit, fmod_ret, freplace, lsm and iter programs whose section leaves it open.
        Raises :class:`UsageError`.
        """
        handle = self._program(program)
        try:
            self.check("bpf_program__set_attach_target", handle, prog_fd, function.encode())
        except OSError as error:
            # find_kernel_btf_id() of libbpf says it so, and prints nothing
            absent = error.errno == errno.ESRCH
            words = "BTF has no such target" if absent else error.strerror
            raise UsageError(
                f"{self.name}: program {program!r} cannot be for {function!r}: {words}"
            ) from None

    def load(self) -> Object:
        """Loads the chosen programs and returns them with their maps.

        Raises :class:`VerifierError` (with the verifier's log), :class:`PrivilegeError`,
        :class:`LoadError`. On any error nothing is left in the kernel: descriptors are closed and pins made
        by this call are unlinked.
        """
        if self._object is not None:
            raise UsageError(f"{self.name} is loaded already")
        types = {
            name: int(self.call("bpf_program__type", handle))
            for name, handle in self._programs.items()
            if self.call("bpf_program__autoload", handle)
        }
        self._own_pins = self._prepare_pins()
        try:
            try:
                with self.library.listening(self.messages):
                    self.check("bpf_object__load", self._held.handle)
            except OSError as error:
                log = self._quiet_log.value.decode(errors="replace") if self._quiet_log is not None else ""
                raise load_failure(
                    self.name, error.errno or 0, self.messages, types, kernel_log=log
                ) from None
            self._object = Object(self, self._loaded_programs(), self._created_maps())
        except BaseException:
            self.remove_own_pins()
            self.close()
            raise
        return self._object

    def close(self) -> None:
        """Closes all that came of this session; closing twice is no error."""
        self._finalizer()

    # ------------------------------------------------------------ for the parts of a loaded object

    def call(self, function: str, *arguments: Any) -> Any:
        """Calls libbpf about this object. Raises :class:`UsageError` once it is closed."""
        if self.closed:
            raise UsageError(f"{self.name}: the object is closed")
        return self.library.call(function, *arguments)

    def check(self, function: str, *arguments: Any) -> Any:
        """Like :meth:`call`; raises :class:`OSError` when the function failed."""
        if self.closed:
            raise UsageError(f"{self.name}: the object is closed")
        return self.library.check(function, *arguments)

    def keep_link(self, link: int) -> None:
        """Destroys the link with the session, unless :meth:`destroy_link` comes first."""
        self._held.links[link] = None

    def destroy_link(self, link: int) -> None:
        if link in self._held.links:
            del self._held.links[link]
            self.library.call("bpf_link__destroy", link)

    def map_fds(self) -> frozenset[int]:
        """Returns the descriptors of the object's maps, which are the object's to close."""
        return frozenset(int(self.call("bpf_map__fd", handle)) for handle in self._maps.values()) - {-1}

    def remove_own_pins(self) -> None:
        """Unlinks the map pins that libbpf made for this load, not those that it found."""
        while self._own_pins:
            self._own_pins.pop().unlink(missing_ok=True)

    # ------------------------------------------------------------ inside

    def _walk_all(self, function: str) -> Iterator[int]:
        handle = None
        while handle := self.call(function, self._held.handle, handle):
            yield int(handle)

    def _walk(self, function: str, name: str) -> dict[str, int]:
        return {_text(self.call(name, handle)): handle for handle in self._walk_all(function)}

    def _map_name(self, handle: int) -> str:
        name = _text(self.call("bpf_map__name", handle))
        # libbpf puts the object's name before the section's; ours does not depend on what a file is called.
        if self.call("bpf_map__is_internal", handle) and "." in name:
            return name[name.index(".") :]
        return name

    def _choose(self, programs: Sequence[str] | None, skip_maps: Collection[str]) -> None:
        if programs is not None:
            chosen = {self._program(name) for name in programs}
            for handle in self._programs.values():
                self.call("bpf_program__set_autoload", handle, handle in chosen)
        for name in skip_maps:
            self._adjust("bpf_map__set_autocreate", name, False)

    def _program(self, name: str) -> int:
        if name not in self._programs:
            known = ", ".join(self._programs) or "none"
            raise UsageError(f"{self.name}: no program {name!r}", hint=f"there are: {known}")
        return self._programs[name]

    def _map(self, name: str) -> int:
        if name not in self._maps:
            known = ", ".join(self._maps) or "none"
            raise UsageError(f"{self.name}: no map {name!r}", hint=f"there are: {known}")
        return self._maps[name]

    def _adjust(self, function: str, map_name: str, *arguments: Any) -> None:
        handle = self._map(map_name)
        try:
            self.check(function, handle, *arguments)
        except OSError as error:
            what = function.removeprefix("bpf_map__").replace("_", " ")
            raise UsageError(f"{self.name}: map {map_name!r}: {what}: {error.strerror}") from None

    def _prepare_pins(self) -> list[Path]:
        """Returns the pins that libbpf will make; without a root it makes none."""
        absent = []
        for handle in self._maps.values():
            path = self.call("bpf_map__pin_path", handle)
            if path is None:
                continue
            if self._pin_root is None:
                # Declared pinned, but nobody said where: a pin in /sys/fs/bpf would outlive this process
                # unasked.
                self.call("bpf_map__set_pin_path", handle, None)
            elif not Path(os.fsdecode(path)).exists():
                absent.append(Path(os.fsdecode(path)))
        return absent

    def _loaded_programs(self) -> dict[str, Program]:
        logs = program_logs(self.messages) if self._keep_logs else {}
        loaded = {}
        for name, handle in self._programs.items():
            if self.call("bpf_program__fd", handle) >= 0:
                section = _text(self.call("bpf_program__section_name", handle))
                loaded[name] = Program(self, handle, name, section, logs.get(name, ""))
        return loaded

    def _created_maps(self) -> dict[str, Map]:
        created = {}
        for name, handle in self._maps.items():
            # A skipped map has a descriptor too since libbpf 1.5: a placeholder that is no map.
            if self.call("bpf_map__fd", handle) < 0 or not self.call("bpf_map__autocreate", handle):
                continue
            attach: Callable[[], Link] | None = None
            if self.call("bpf_map__type", handle) == MapType.STRUCT_OPS:
                attach = partial(attach_struct_ops, self, handle, name)
            try:
                created[name] = Map(name, partial(self.call, "bpf_map__fd", handle), attach)
            except OSError as error:
                raise failed_call(f"{self.name}: map {name!r}: reading its description", error) from None
        return created

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text(name: bytes) -> str:
    """A name of libbpf's; bytes that are no UTF-8 are written as :mod:`holdfast.elf` does."""
    return name.decode("utf-8", "backslashreplace")


def _identifier(name: str) -> str:
    return "".join(c if (c.isascii() and c.isalnum()) or c == "_" else "_" for c in name) or "object"


@contextmanager
def open_object(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None = None,
    programs: Sequence[str] | None = None,
    skip_maps: Collection[str] = (),
    map_sizes: Mapping[str, int] | None = None,
    initial_values: Mapping[str, bytes] | None = None,
    reuse_maps: Mapping[str, int] | None = None,
    size_zero_maps: bool = False,
    kernel_log_level: int = 0,
    debug: bool = False,
    pin_root: str | os.PathLike[str] | None = None,
    kconfig: str | None = None,
    btf: str | os.PathLike[str] | None = None,
    token: str | os.PathLike[str] | None = None,
) -> Iterator[Object]:
    """Opens, adjusts and loads an object; closes it at the end of the ``with``.

    ``map_sizes`` sets max_entries by map name, ``initial_values`` the global variables by map name
    (``.rodata``), ``reuse_maps`` descriptors of maps to use instead of new ones; ``size_zero_maps`` gives
    maps left at 0 entries one entry. The rest, and the errors, are those of :class:`Session` and
    :meth:`Session.load`.
    """
    with Session(
        source, name=name, programs=programs, skip_maps=skip_maps, kernel_log_level=kernel_log_level,
        debug=debug, pin_root=pin_root, kconfig=kconfig, btf=btf, token=token,
    ) as session:  # fmt: skip
        for map_name, entries in (map_sizes or {}).items():
            session.set_max_entries(map_name, entries)
        for map_name, value in (initial_values or {}).items():
            session.set_initial_value(map_name, value)
        for map_name, fd in (reuse_maps or {}).items():
            session.reuse_map(map_name, fd)
        if size_zero_maps:
            session.size_zero_maps()
        yield session.load()
