# SPDX-License-Identifier: Apache-2.0
"""What one kernel build offers, each answer with its evidence.

:class:`KernelFacts` is pure: :mod:`holdfast.kernels.live` fills one for the running kernel,
:mod:`holdfast.kernels.image` for a file. Every question tries the strongest evidence first: a probe,
.BTF_ids, BTF, the config, and says "cannot tell" rather than guess.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.types import Enum, Kind
from holdfast.kernels import enabled
from holdfast.kernels.answer import Answer
from holdfast.kernels.host import HostFacts
from holdfast.kernels.kfuncs import FMOD_RET_TESTS, KfuncFacts, Registration, tagged_kfuncs
from holdfast.kernels.probed import HelperUse, KfuncUse, KindUse, ProbeFacts
from holdfast.rules import kfunc_filters
from holdfast.rules.ask import Allowed
from holdfast.rules.btf_ask import BtfAsk
from holdfast.terms import AttachType, Evidence, MapType, ProgramType

__all__ = ["Answer", "HostFacts", "Kallsyms", "KernelFacts", "KfuncFacts", "Place", "Registration"]

Kallsyms = Callable[[str], Collection[int] | None]
"""Addresses of a symbol in /proc/kallsyms by its full name (empty: none); None when that cannot be known.

Hidden addresses read as 0, so only the number of them means something to everybody.
"""

_UNKNOWN: Final = partial(Answer, None, Evidence.NONE)
_FROM_BTF: Final = partial(Answer, evidence=Evidence.BTF)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a type stands: ``module`` is None for vmlinux, ``type_id`` is an id of ``btf``."""

    module: str | None
    type_id: int
    btf: Btf = field(repr=False)

    @property
    def where(self) -> str:
        """``vmlinux`` or the module's name."""
        return self.module or "vmlinux"


@dataclass(eq=False, slots=True)
class KernelFacts:
    """One kernel. All questions are methods; the fields are the raw material.

    ``id`` is ``live/<release>``, ``file/<release>`` or ``<distribution>/<release>``. ``modules`` holds the
    BTF of the modules that are loaded (or came along), in load order, read when asked for; ``module_names``
    are all of them, with BTF or without, None for a kernel that is only a file. ``config`` maps ``CONFIG_X``
    to its value (``y``, ``m``, a number, a string without quotes), without those that are not set; it may
    read its file when first asked; None where there is none. ``host`` is None for a kernel that
    is only a file: policy is then not judged. ``registrations`` is for what .BTF_ids and init code tell, by
    kfunc name, None where they were not read. ``upstream`` is the version that a distribution's kernel is
    made from, "" where that is the release. ``build`` is the sha256 (hex) of the package that the kernel came
    in: what was loaded into one build counts for that one alone. It is "" for a running kernel, for a bare
    image, and where other modules count as loaded than the package's own.

    Not for use from several threads at once.
    """

    id: str
    release: str
    arch: str
    source: str
    vmlinux: Btf | None
    modules: Mapping[str, Btf] = field(default_factory=dict)
    module_names: Set[str] | None = None
    config: Mapping[str, str] | None = None
    host: HostFacts | None = None
    probes: ProbeFacts | None = None
    kallsyms: Kallsyms | None = None
    registrations: Mapping[str, Registration] | None = None
    upstream: str = ""
    unloaded: Mapping[str, Btf] = field(default_factory=dict)
    build: str = ""
    _enums: dict[str, dict[str, int] | None] = field(default_factory=dict, repr=False)
    _enumerator_names: dict[str, dict[int, str]] = field(default_factory=dict, repr=False)
    _tagged: dict[str, frozenset[int]] = field(default_factory=dict, repr=False)
    _kfunc_answers: dict[str, dict[ProgramType, set[bool | None]]] = field(default_factory=dict, repr=False)
    _places: dict[tuple[str, tuple[Kind, ...]], Place | None] = field(default_factory=dict, repr=False)

    def with_probes(self, probes: ProbeFacts) -> KernelFacts:
        """The same kernel with these answers added to those it has; BTF is shared."""
        joined = self.probes | probes if self.probes else probes
        return replace(self, probes=joined, _kfunc_answers={})

    def with_modules(self, loaded: Collection[str]) -> KernelFacts:
        """The same kernel with just these of its modules loaded; vmlinux's BTF is shared."""
        there = {**self.modules, **self.unloaded} if self.unloaded else self.modules
        return replace(
            self,
            modules=_Part(there, tuple(name for name in there if name in loaded)),
            unloaded=_Part(there, tuple(name for name in there if name not in loaded)),
            module_names=frozenset(loaded),
            build="",
            _tagged={},
            _enums={},
            _enumerator_names={},
            _places={},
        )

    # -- BTF ---------------------------------------------------------------------------------------

    def btfs(self) -> Iterator[tuple[str | None, Btf]]:
        """vmlinux (None) and then each module, in libbpf's order of search."""
        if self.vmlinux is not None:
            yield None, self.vmlinux
        for name in self.modules:
            yield name, self.modules[name]

    def find(self, name: str, *kinds: Kind) -> Place | None:
        """The first type of that very name and one of ``kinds``: vmlinux before modules."""
        key = name, kinds
        if key not in self._places:
            self._places[key] = self._looked_up(name, kinds)
        return self._places[key]

    def _looked_up(self, name: str, kinds: tuple[Kind, ...]) -> Place | None:
        for module, btf in self.btfs():
            found = btf.find_all(name, *kinds)
            if found:
                return Place(module, found[0], btf)
        return None

    def function(self, name: str) -> Place | None:
        """Where the FUNC of that name is: a kfunc, or a target of fentry, fexit, fmod_ret."""
        return self.find(name, Kind.FUNC)

    def has_type(self, name: str, *kinds: Kind) -> Answer:
        """Whether there is a type of that name (of one of ``kinds``, if given)."""
        return self._exists(name, *kinds)

    def has_func(self, name: str) -> Answer:
        """Whether there is a FUNC of that name. That BPF can attach to it or call it is another question."""
        return self._exists(name, Kind.FUNC)

    def _exists(self, name: str, *kinds: Kind, what: str = "") -> Answer:
        if self.vmlinux is None:
            return _UNKNOWN("the kernel has no BTF")
        place = self.find(name, *kinds)
        what = what or name
        if place is None:
            return _FROM_BTF(False, note=f"{what} is not in the BTF of {self._where()}")
        return _FROM_BTF(True, note=f"{what} is in the BTF of {place.where}")

    def _where(self) -> str:
        return f"vmlinux and {len(self.modules)} modules" if self.modules else "vmlinux"

    def enumerators(self, enum: str) -> Mapping[str, int] | None:
        """Names and values of an enumeration; None when there is none of that name."""
        if enum not in self._enums:
            place = self.find(enum, Kind.ENUM, Kind.ENUM64)
            found = place.btf.type(place.type_id) if place else None
            self._enums[enum] = {v.name: v.value for v in found.values} if isinstance(found, Enum) else None
        return self._enums[enum]

    def enum_value(self, enum: str, enumerator: str) -> int | None:
        """The value of one enumerator; None when there is no such enumerator, enumeration or BTF."""
        return (self.enumerators(enum) or {}).get(enumerator)

    def _known(self, enum: str, number: int, what: str) -> Answer:
        """Whether an enumeration of the UAPI has this number, limits (``__MAX_...``) left out."""
        names = self._enumerator_names.get(enum)
        if names is None:
            values = self.enumerators(enum)
            if values is None:
                return _UNKNOWN(f"enum {enum} is not in the kernel's BTF")
            # The first of several with the same number, as the kernel's header has them.
            names = {
                value: name for name, value in reversed(list(values.items())) if not name.startswith("__")
            }
            self._enumerator_names[enum] = names
        name = names.get(number)
        if name is not None:
            return _FROM_BTF(True, note=f"enum {enum} has {name}")
        return _FROM_BTF(False, note=f"enum {enum} has no {what}")

    # -- types of programs, maps, attachments, links -----------------------------------------------

    def program_type(self, program_type: ProgramType) -> Answer:
        """Whether programs of this type can be loaded: known to the kernel and compiled in."""
        probed = self.probes.program_types.get(program_type) if self.probes else None
        if probed is not None:
            return Answer(probed, Evidence.PROBE, _tried(probed, "program", program_type.name))
        known = self.program_type_known(program_type)
        if known.value is not True:
            return known
        return enabled.program_type(self, program_type)

    def program_type_known(self, program_type: ProgramType) -> Answer:
        """Whether ``enum bpf_prog_type`` has it; the kernel may still be built without it."""
        return self._known("bpf_prog_type", program_type, f"BPF_PROG_TYPE_{program_type.name}")

    def permitted(self, kind: KindUse) -> Answer:
        """Whether policy lets this process load such programs, all capabilities held; only a probe tells."""
        probed = self.probes.kinds.get(kind) if self.probes else None
        if probed is None:
            return _UNKNOWN("nobody asked whether this machine lets such programs in")
        word = "lets in" if probed else "denies (EPERM, no capability missing)"
        name = kind.program_type.name + (f"/{kind.attach_type.name}" if kind.attach_type is not None else "")
        return Answer(probed, Evidence.PROBE, f"this machine {word} programs of kind {name}")

    def map_type(self, map_type: MapType) -> Answer:
        """Whether maps of this type can be created: known to the kernel and compiled in."""
        probed = self.probes.map_types.get(map_type) if self.probes else None
        if probed is not None:
            return Answer(probed, Evidence.PROBE, _tried(probed, "map", map_type.name))
        known = self.map_type_known(map_type)
        if known.value is not True:
            return known
        return enabled.map_type(self, map_type)

    def map_type_known(self, map_type: MapType) -> Answer:
        """Whether ``enum bpf_map_type`` has it; the kernel may still be built without it."""
        return self._known("bpf_map_type", map_type, f"BPF_MAP_TYPE_{map_type.name}")

    def attach_type(self, attach_type: AttachType) -> Answer:
        """Whether programs can be attached so: by a probe, else whether ``enum bpf_attach_type`` has it."""
        probed = self.probes.attach_types.get(attach_type) if self.probes else None
        if probed is not None:
            return Answer(probed, Evidence.PROBE, _tried(probed, "program", attach_type.name))
        return self._known("bpf_attach_type", attach_type, f"BPF_{attach_type.name}")

    def link_type(self, name: str) -> Answer:
        """Whether there are such links: by a probe, else whether ``enum bpf_link_type`` has it; ``name``
        without ``BPF_LINK_TYPE_``, as in ``TCX``.
        """
        probed = self.probes.link_types.get(name) if self.probes else None
        if probed is not None:
            return Answer(probed, Evidence.PROBE, _tried(probed, "link", name))
        values = self.enumerators("bpf_link_type")
        if values is None:
            return _UNKNOWN("enum bpf_link_type is not in the kernel's BTF")
        full = f"BPF_LINK_TYPE_{name}"
        present = full in values
        return _FROM_BTF(present, note=f"enum bpf_link_type has {'' if present else 'no '}{full}")

    # -- helpers -----------------------------------------------------------------------------------

    def helper_name(self, number: int) -> str | None:
        """The helper's name in this kernel's ``enum bpf_func_id``, without ``BPF_FUNC_``."""
        for name, value in (self.enumerators("bpf_func_id") or {}).items():
            if value == number and name.startswith("BPF_FUNC_"):
                return name.removeprefix("BPF_FUNC_")
        return None

    def helper_known(self, number: int) -> Answer:
        """Whether ``enum bpf_func_id`` has this helper; who may call it is :meth:`helper`."""
        return self._known("bpf_func_id", number, f"helper {number}")

    def helper(
        self,
        number: int,
        program_type: ProgramType,
        attach_type: AttachType | None = None,
        sleepable: bool | None = None,
    ) -> Answer:
        """Whether a program of this type may call the helper.

        Without a probe only the helper's absence is certain. ``attach_type`` and ``sleepable`` None ask
        whether any program of the type may.
        """
        if self.probes is not None:
            probed = self.probes.helper(HelperUse(number, program_type, attach_type, sleepable))
            if probed is not None:
                return _call_tried(probed, program_type)
        known = self.helper_known(number)
        if known.value is not True:
            return known
        return _UNKNOWN(f"the kernel knows helper {number}; BTF does not say which program types may call it")

    # -- kfuncs ------------------------------------------------------------------------------------

    def kfunc(self, name: str) -> KfuncFacts | None:
        """The function of that name, None when no BTF has one. ``is_tagged`` tells of a kfunc."""
        place = self.function(name)
        if place is None:
            return None
        tagged = self._tagged_ids(place.where, place.btf)
        is_tagged = place.type_id in tagged if tagged else None
        registration = self._registration(name)
        evidence: tuple[Evidence, ...] = (Evidence.BTF,)
        flags = types = None
        narrowed, undecided = False, frozenset[ProgramType]()
        if registration is not None:
            flags, types, narrowed = registration.flags, registration.program_types, registration.narrowed
            evidence += registration.evidence
        asked = self._probed_kfunc(name)
        if asked:
            evidence += (Evidence.PROBE,)
            if types is None:
                types = frozenset(kind for kind, answers in asked.items() if True in answers)
                undecided = frozenset(kind for kind, answers in asked.items() if _open(answers))
                narrowed = any({True, False} <= answers for answers in asked.values())
        return KfuncFacts(
            name,
            place.module,
            place.type_id,
            place.btf,
            is_tagged,
            flags,
            types,
            undecided,
            narrowed,
            evidence,
        )

    def _registration(self, name: str) -> Registration | None:
        """The registration, unless it is that of a module which does not count as loaded."""
        found = None if self.registrations is None else self.registrations.get(name)
        if found is None or found.module is None or found.module in self.modules:
            return found
        return None

    def _tagged_ids(self, where: str, btf: Btf) -> frozenset[int]:
        if where not in self._tagged:
            self._tagged[where] = frozenset(tagged_kfuncs(btf))
        return self._tagged[where]

    def _probed_kfunc(self, name: str) -> dict[ProgramType, set[bool | None]]:
        """Answers for a kfunc by program type, over all attach types that were asked."""
        if self.probes is None:
            return {}
        if name not in self._kfunc_answers:
            self._kfunc_answers[name] = self.probes.kfunc_by_type(name)
        return self._kfunc_answers[name]

    def kfunc_names(self) -> list[str]:
        """Names of all kfuncs that are tagged or registered, sorted; targets of fmod_ret are left out.

        Empty for a kernel whose BTF has no tags when .BTF_ids was not read, though it may have kfuncs.
        """
        names = {name for name in self.registrations or () if self._registration(name) is not None}
        for module, btf in self.btfs():
            names.update(btf.name(type_id) for type_id in self._tagged_ids(module or "vmlinux", btf))
        return sorted(names - FMOD_RET_TESTS)

    def is_kfunc(self, name: str) -> Answer:
        """Whether the function of that name is registered as a kfunc, for whichever program type."""
        if self.vmlinux is None:
            return _UNKNOWN("the kernel has no BTF")
        if any(True in answers for answers in self._probed_kfunc(name).values()):
            return Answer(True, Evidence.PROBE, "this kernel admits a call")
        if self._registration(name) is not None:
            return Answer(True, Evidence.BTF_IDS, "it is in a kfunc set of .BTF_ids")
        found = self.kfunc(name)
        if found is None:
            return _FROM_BTF(False, note=f"function {name} is not in the BTF of {self._where()}")
        if found.is_tagged and name in FMOD_RET_TESTS:
            return Answer(False, Evidence.RULE, "it is tagged as a target of fmod_ret, not as a kfunc")
        if found.is_tagged:
            return _FROM_BTF(True, note="its BTF has the tag bpf_kfunc")
        if self.registrations is not None and found.module is None:
            return Answer(False, Evidence.BTF_IDS, "it is in no kfunc set of .BTF_ids")
        if found.is_tagged is None:
            return _UNKNOWN("this kernel's BTF has no kfunc tags")
        # That the tag is missing proves nothing: pahole leaves out registered kfuncs (hid_bpf_hw_request in
        # Debian's 6.18.15, most of scx_bpf_* in its 7.2.12), and resolve_btfids keeps foo_impl beside foo
        # without it (KF_IMPLICIT_ARGS, 7.0). Remove when registrations are always there.
        return _UNKNOWN("its BTF lacks the tag bpf_kfunc, which pahole also leaves out of some kfuncs")

    def kfunc_flags(self, name: str, program_type: ProgramType) -> frozenset[str] | None:
        """The flags, without ``KF_``, with which programs of this type call it; None where unknown."""
        registration = self._registration(name)
        if registration is None:
            return None
        if registration.by_type is not None and program_type in registration.by_type:
            return registration.by_type[program_type]
        return registration.flags

    def unloaded_module_with(self, name: str) -> str | None:
        """The first module at hand that has FUNC ``name`` and does not count as loaded."""
        for module in self.unloaded:
            if self.unloaded[module].find_all(name, Kind.FUNC):
                return module
        return None

    def kfunc_callable(
        self,
        name: str,
        program_type: ProgramType,
        attach_type: AttachType | None = None,
        sleepable: bool | None = None,
        member: tuple[str, str] | None = None,
        target: str | None = None,
    ) -> Answer:
        """Whether a program of this type may call the kfunc.

        Asked of a probe, then of the registration and its filters; without both only absence is certain.
        ``attach_type`` and ``sleepable`` None ask whether any program of the type may; ``member`` is the
        struct and the member that a struct_ops program fills, ``target`` the kernel function that an LSM
        program attaches to. A yes does not mean that every such program may: flags (KF_SLEEPABLE and the
        like) are not judged.
        """
        if self.probes is not None:
            probed = self.probes.kfunc(KfuncUse(name, program_type, attach_type, sleepable))
            if probed is not None:
                return _call_tried(probed, program_type)
        registration = self._registration(name)
        if registration is not None and registration.program_types is not None:
            if not registration.program_types:
                return Answer(False, Evidence.INIT_CODE, "it is registered for no program type")
            if program_type is ProgramType.EXT and program_type not in registration.program_types:
                return _UNKNOWN("an EXT program may call what the program that it replaces may")
            if program_type not in registration.program_types:
                return Answer(False, Evidence.INIT_CODE, f"it is not registered for {program_type.name}")
            return self._filtered(registration, name, program_type, attach_type, member, target)
        registered = self.is_kfunc(name)
        if registered.value is False:
            return registered
        return _UNKNOWN("BTF does not say which program types may call it")

    def _filtered(
        self,
        registration: Registration,
        name: str,
        program_type: ProgramType,
        attach_type: AttachType | None,
        member: tuple[str, str] | None,
        target: str | None,
    ) -> Answer:
        yes = Answer(True, Evidence.INIT_CODE, f"it is registered for {program_type.name}")
        if not registration.narrowed:
            return yes
        if registration.filters is None:
            return _UNKNOWN(f"it is registered for {program_type.name} with a filter that admits fewer")
        filters = registration.filters.get(program_type, ())
        if not filters:
            return yes
        struct_ops, of = member or (None, None)
        caller = kfunc_filters.Caller(program_type, attach_type, struct_ops, of, target)
        ask = BtfAsk(self.vmlinux, self.config, None, None, None, self.arch)
        ruling = kfunc_filters.admitted_by_all(filters, name, caller, ask)
        if ruling.allowed is Allowed.YES:
            return yes
        if ruling.allowed is Allowed.NO:
            return Answer(False, Evidence.INIT_CODE, f"its filter refuses it: {ruling.told}")
        return _UNKNOWN(f"it is registered for {program_type.name} with a filter: {ruling.told}")

    # -- attach targets ----------------------------------------------------------------------------

    def module_function(self, prefix: str, name: str) -> str | None:
        """The first loaded module whose name begins with ``prefix`` and whose BTF has FUNC ``name``."""
        for module in self.modules:
            if module.startswith(prefix) and self.modules[module].find_all(name, Kind.FUNC):
                return module
        return None

    def tracepoint_btf(self, name: str) -> Answer:
        """Whether tp_btf and raw_tp can attach to tracepoint ``name``: typedef ``btf_trace_<name>``."""
        return self._exists(f"btf_trace_{name}", Kind.TYPEDEF, what=f"typedef btf_trace_{name}")

    def iterator(self, name: str) -> Answer:
        """Whether there is an iterator target ``name``: struct ``bpf_iter__<name>`` is its context.

        libbpf and the kernel attach to FUNC ``bpf_iter_<name>``; DEFINE_BPF_ITER_FUNC makes it.
        """
        return self._exists(f"bpf_iter_{name}", Kind.FUNC, what=f"iterator {name}")

    def struct_ops_type(self, name: str) -> Answer:
        """Whether a struct_ops map can hold ``struct <name>``: struct ``bpf_struct_ops_<name>``."""
        full = f"bpf_struct_ops_{name}"
        return self._exists(full, Kind.STRUCT, what=f"struct {full}")

    def lsm_hook(self, name: str) -> Answer:
        """Whether LSM programs have hook ``name``: FUNC ``bpf_lsm_<name>``. That "bpf" is active is in
        ``host.lsms``.
        """
        return self._exists(f"bpf_lsm_{name}", Kind.FUNC, what=f"LSM hook {name}")

    def symbol(self, name: str) -> Answer:
        """Whether /proc/kallsyms lists a symbol; only the running kernel has one."""
        found = self.kallsyms(name) if self.kallsyms else None
        if found is None:
            return _UNKNOWN("kallsyms of this kernel cannot be read")
        note = f"{name} is {'' if found else 'not '}in /proc/kallsyms"
        return Answer(bool(found), Evidence.SYSTEM, note)

    def version_text(self) -> str:
        """What ``LINUX_KERNEL_VERSION`` of libbpf is made from: ``6.1.176`` of release ``6.1.0-50``."""
        return self.upstream or self.release

    # -- config ------------------------------------------------------------------------------------

    def config_value(self, key: str) -> str | None:
        """The value of ``CONFIG_X`` (``y``, ``m``, text without quotes); None when not set or config is
        unknown.
        """
        return None if self.config is None else self.config.get(key)

    def config_enabled(self, key: str) -> Answer:
        """Whether ``CONFIG_X`` is ``y`` or ``m``."""
        if self.config is None:
            return _UNKNOWN("the kernel's config is not known")
        value = self.config.get(key)
        return Answer(
            value in {"y", "m"}, Evidence.CONFIG, f"{key}={value}" if value else f"{key} is not set"
        )


class _Part(Mapping[str, Btf]):
    """Some entries of a mapping whose values are read when they are asked for."""

    def __init__(self, whole: Mapping[str, Btf], names: tuple[str, ...]) -> None:
        self._whole, self._names = whole, dict.fromkeys(names)

    def __getitem__(self, name: str) -> Btf:
        if name not in self._names:
            raise KeyError(name)
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _tried(value: bool, what: str, name: str) -> str:
    verb = "takes" if value else "refuses"
    return f"this kernel {verb} a {what} of type {name}"


def _call_tried(value: bool, program_type: ProgramType) -> Answer:
    verb = "admits" if value else "refuses"
    return Answer(value, Evidence.PROBE, f"this kernel {verb} a call from {program_type.name}")


def _open(answers: set[bool | None]) -> bool:
    return True not in answers and None in answers
