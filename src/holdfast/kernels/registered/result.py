# SPDX-License-Identifier: Apache-2.0
"""What was found: sets, their registrations, and the rows that a catalogue keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from holdfast.kernels.kfuncs import Registration
from holdfast.terms import Evidence, ProgramType

__all__ = ["Call", "KfuncSet", "Result", "Role", "SetEntry"]


class Role(StrEnum):
    """What a ``BTF_SET8`` was found to be registered as."""

    KFUNC = "kfunc"  # register_btf_kfunc_id_set()
    FMOD_RET = "fmod_ret"  # register_btf_fmodret_id_set() and nothing else: no kfuncs
    UNREGISTERED = "unregistered"  # all of the code was read, and nothing registers it
    UNKNOWN = "unknown"  # the code could not be read, or not all of it


@dataclass(frozen=True, slots=True)
class SetEntry:
    """One function of a set.

    ``bits`` is the KF_ word as it stands in .BTF_ids; ``flags`` are its names without ``KF_``, None when a
    bit has no name that is known. ``type_id`` is the FUNC in the BTF that was given for the set's image.
    """

    function: str
    type_id: int
    bits: int
    flags: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call that registers a set: its arguments, as the code around it leaves them.

    ``program_type`` is the number that is passed (0 is BPF_PROG_TYPE_UNSPEC: every type), None for
    register_btf_fmodret_id_set(), which takes none. ``hook`` is the name of its ``BTF_KFUNC_HOOK_``, None
    where the kernel knows none for it. ``site`` is the address of the call, ``function`` the name of the
    function that it stands in. ``filter`` is the name of the set's filter function, None when it has none;
    where it has one whose name is not known, that is its address in hexadecimal.
    """

    program_type: int | None
    hook: str | None
    site: int
    function: str
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class KfuncSet:
    """One ``BTF_SET8`` of .BTF_ids.

    ``name`` is the C variable's, "" where no symbol tells it. ``address`` is virtual in a kernel; in a module
    and in a flat Image it is an offset into ``.BTF_ids``, respectively the file (bytes).
    ``header`` are the flags of the set itself: bit 0, BTF_SET8_KFUNCS, says that it was made for kfuncs
    (6.9, 79b47344bbc5; 0 in all sets before). ``module`` is None for vmlinux.
    """

    name: str
    module: str | None
    address: int
    header: int
    entries: tuple[SetEntry, ...]
    role: Role
    calls: tuple[Call, ...] = ()

    @property
    def filters(self) -> tuple[str, ...]:
        """Names of the filters that it is registered with, each once."""
        return tuple(dict.fromkeys(call.filter for call in self.calls if call.filter))


@dataclass(frozen=True, slots=True)
class Result:
    """What .BTF_ids and init code of one kernel build tell.

    ``registrations`` has a row for each kfunc, by its name; it is empty for a kernel that has no kfunc calls
    (before 5.13) and None where the image cannot tell. ``hooks`` maps each program type that has a hook to
    the hook's name (``TRACING``), None where that is not known; ``hooks_evidence`` says whether it was read
    from the code or follows from a rule. ``filters`` are, for each kfunc that has any, the names of the
    filter functions that are run for a program type. ``notes`` say in words what could not be read, and why.
    """

    registrations: Mapping[str, Registration] | None
    sets: tuple[KfuncSet, ...] = ()
    hooks: Mapping[ProgramType, str] | None = None
    hooks_evidence: Evidence = Evidence.NONE
    filters: Mapping[str, Mapping[ProgramType, tuple[str, ...]]] | None = None
    notes: tuple[str, ...] = ()
