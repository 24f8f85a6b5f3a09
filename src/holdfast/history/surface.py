# SPDX-License-Identifier: Apache-2.0
"""What a kernel offers to BPF, but for kfuncs: names with a text that changes when they do.

Every table is a mapping from a name to what is said of it, or None for a name of which nothing can be told;
a table is None where the kernel's files do not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Final, TypeAlias

from holdfast.btf import Btf
from holdfast.btf.cformat import declaration, type_name
from holdfast.btf.skip import skip_mods_and_typedefs
from holdfast.btf.types import Composite, FuncProto, Kind, Ptr, Struct, Union
from holdfast.kernels.answer import Answer
from holdfast.kernels.facts import KernelFacts
from holdfast.rules.btf_ask import BtfAsk
from holdfast.rules.program_types import capabilities
from holdfast.terms import MapType, ProgramType

__all__ = ["OPTIONS", "RESTRICTING", "Section", "Table", "functions", "options", "table"]

Table: TypeAlias = Mapping[str, str | None]
_MOST_MEMBERS: Final = 1000  # of a context, which has five; nameless structs may hold each the next twice


class Section(StrEnum):
    """Parts of the surface, in the order of reports."""

    KFUNC = "kfuncs"
    HELPER = "helpers"
    PROGRAM_TYPE = "program types"
    CAPABILITY = "capabilities"
    MAP_TYPE = "map types"
    ATTACH_TYPE = "attach types"
    LINK_TYPE = "link types"
    STRUCT_OPS = "struct_ops"
    LSM_HOOK = "LSM hooks"
    TRACEPOINT = "tracepoints"
    ITERATOR = "iterators"
    FUNCTION = "functions"
    CONFIG = "config"


OPTIONS: Final = (
    "ARCH_HAS_BPF_JIT", "BPF", "BPF_EVENTS", "BPF_JIT", "BPF_JIT_ALWAYS_ON", "BPF_JIT_DEFAULT_ON",
    "BPF_KPROBE_OVERRIDE", "BPF_LIRC_MODE2", "BPF_LSM", "BPF_PRELOAD", "BPF_STREAM_PARSER", "BPF_SYSCALL",
    "BPF_UNPRIV_DEFAULT_OFF", "CGROUPS", "CGROUP_BPF", "CGROUP_NET_CLASSID", "CRASH_DUMP", "CRYPTO",
    "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES", "DMA_SHARED_BUFFER", "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
    "DYNAMIC_FTRACE_WITH_REGS", "FPROBE", "FS_VERITY", "FTRACE_SYSCALLS", "FUNCTION_ERROR_INJECTION",
    "FUNCTION_TRACER", "HAVE_EBPF_JIT", "HID_BPF", "INET", "IPV6_SEG6_BPF", "KALLSYMS", "KALLSYMS_ALL",
    "KEYS", "KPROBES", "KPROBE_EVENTS", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
    "LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LSM", "LWTUNNEL_BPF", "MODULES", "MODULE_ALLOW_BTF_MISMATCH",
    "NET", "NETFILTER_BPF_LINK", "NETFILTER_XT_MATCH_BPF", "NETKIT", "NET_ACT_BPF", "NET_CLS_ACT",
    "NET_CLS_BPF", "NET_FOU", "NET_SCH_BPF", "NET_SCH_INGRESS", "NET_XGRESS", "NF_CONNTRACK",
    "NF_FLOW_TABLE", "NF_NAT", "PERF_EVENTS", "SCHED_CLASS_EXT", "SECURITY_LOCKDOWN_LSM",
    "SYSTEM_DATA_VERIFICATION", "TCP_CONG_ADVANCED", "TEST_BPF", "UPROBES", "UPROBE_EVENTS", "XDP_SOCKETS",
    "XDP_SOCKETS_DIAG", "XFRM", "XFRM_INTERFACE",
)  # fmt: skip
"""Options (without ``CONFIG_``) that decide what BPF programs can do. Sources: kernel/bpf/Kconfig,
kernel/trace/Kconfig, the options of :mod:`holdfast.history.options` and of the rules."""

RESTRICTING: Final = frozenset(
    {
        "CONFIG_BPF_UNPRIV_DEFAULT_OFF",
        "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
        "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
    }
)
"""Options that take something away when they are set."""


def table(facts: KernelFacts, section: Section) -> Table | None:
    """One part of the surface. KFUNC and FUNCTION are not among them: see :mod:`holdfast.history.diff` and
    :func:`functions`.
    """
    return _READERS[section](facts)


def options(facts: KernelFacts, names: Iterable[str]) -> Table | None:
    """Values of these options (``CONFIG_X``); ``not set`` for those that are not."""
    config = facts.config
    if config is None:
        return None
    return {name: config.get(name, "not set") for name in names}


def functions(facts: KernelFacts, names: Iterable[str]) -> Table | None:
    """Declarations of these functions, those without a FUNC in BTF left out."""
    if facts.vmlinux is None:
        return None
    found: dict[str, str | None] = {}
    for name in names:
        place = facts.function(name)
        if place is not None:
            found[name] = declaration(place.btf, place.type_id)
    return found


def _enumerators(enum: str, prefix: str) -> Callable[[KernelFacts], Table | None]:
    def read(facts: KernelFacts) -> Table | None:
        values = facts.enumerators(enum)
        if values is None:
            return None
        # numbers are UAPI and do not move; a name that was given to another number would be a change
        return {
            name.removeprefix(prefix): str(value)
            for name, value in values.items()
            if name.startswith(prefix)
            and not name.startswith("__")
            and not name.endswith(("_UNSPEC", "_unspec"))
        }

    return read


def _available(answers: Mapping[str, Answer]) -> Table:
    """Those that are there, with None for those that may be."""
    words = {True: "there", None: None}
    return {name: words[one.value] for name, one in answers.items() if one.value is not False}


def _program_types(facts: KernelFacts) -> Table | None:
    if facts.enumerators("bpf_prog_type") is None:
        return None
    return _available({kind.name: facts.program_type(kind) for kind in ProgramType if kind})


def _map_types(facts: KernelFacts) -> Table | None:
    if facts.enumerators("bpf_map_type") is None:
        return None
    return _available({kind.name: facts.map_type(kind) for kind in MapType if kind})


def _capabilities(facts: KernelFacts) -> Table | None:
    if facts.vmlinux is None:
        return None
    ask = BtfAsk(facts.vmlinux, facts.config, arch=facts.arch)
    there = [kind for kind in ProgramType if kind and facts.program_type(kind).value is not False]
    return {kind.name: " ".join(capabilities(kind, ask)) or "none" for kind in there}


def _named(btf: Btf, kind: Kind, prefix: str) -> Iterator[tuple[str, int]]:
    """Types of this data whose name begins so, by the rest of it. Looks through the strings: a kernel has
    more than 100,000 types and a few hundred such names.
    """
    pattern = re.compile(rb"\0(" + prefix.encode() + rb"[^\0]*)")
    names = set(pattern.findall(btf.strings))
    if btf.base is not None:
        names.update(pattern.findall(btf.base.strings))  # split BTF repeats no string of its base
    for raw in sorted(names):
        name = raw.decode("utf-8", "backslashreplace")
        for type_id in btf.find_all(name, kind):
            yield name.removeprefix(prefix), type_id


def _struct_ops(facts: KernelFacts) -> Table | None:
    """Types that REGISTER_STRUCT_OPS made a ``struct bpf_struct_ops_<type>`` with a member ``data`` for, and
    their members.
    """
    if facts.vmlinux is None:
        return None
    found: dict[str, str | None] = {}
    for _, btf in facts.btfs():
        for name, type_id in _named(btf, Kind.STRUCT, "bpf_struct_ops_"):
            wrapper = btf.type(type_id)
            assert isinstance(wrapper, Struct)
            data = next((one for one in wrapper.members if one.name == "data"), None)
            ops = skip_mods_and_typedefs(btf, data.type_id)[1] if data else None
            if not isinstance(ops, Struct) or ops.name != name or name in found:
                continue
            found[name] = "there"
            for member in ops.members:
                found[f"{name}.{member.name}"] = type_name(btf, member.type_id)
    return found


def _lsm_hooks(facts: KernelFacts) -> Table | None:
    """FUNC ``bpf_lsm_<hook>``; the union of all hooks tells them from the other functions of bpf_lsm.c."""
    btf = facts.vmlinux
    if btf is None:
        return None
    hooks = btf.find("security_list_options", Kind.UNION)
    union = btf.type(hooks) if hooks else None
    known = {one.name for one in union.members} if isinstance(union, Union) else None
    return {
        name: declaration(btf, type_id)
        for name, type_id in _named(btf, Kind.FUNC, "bpf_lsm_")
        if known is None or name in known
    }


def _tracepoints(facts: KernelFacts) -> Table | None:
    """Typedef ``btf_trace_<name>``, with the types of the arguments that a tp_btf program gets."""
    if facts.vmlinux is None:
        return None
    found: dict[str, str | None] = {}
    for _, btf in facts.btfs():
        texts: dict[int, str] = {}
        for name, type_id in _named(btf, Kind.TYPEDEF, "btf_trace_"):
            pointer = skip_mods_and_typedefs(btf, type_id)[1]
            proto = btf.type(pointer.type_id) if isinstance(pointer, Ptr) else None
            params = proto.params[1:] if isinstance(proto, FuncProto) else ()
            for param in params:
                if param.type_id not in texts:
                    texts[param.type_id] = type_name(btf, param.type_id)
            found.setdefault(name, ", ".join(texts[param.type_id] for param in params) or "no arguments")
    return found


def _iterators(facts: KernelFacts) -> Table | None:
    """Targets with FUNC ``bpf_iter_<name>`` and the context ``struct bpf_iter__<name>``: its members."""
    if facts.vmlinux is None:
        return None
    found: dict[str, str | None] = {}
    for _, btf in facts.btfs():
        for name, type_id in _named(btf, Kind.STRUCT, "bpf_iter__"):
            context = btf.type(type_id)
            if name not in found and isinstance(context, Composite) and facts.function(f"bpf_iter_{name}"):
                found[name] = ", ".join(islice(_member_names(btf, context), _MOST_MEMBERS)) or "empty"
    return found


def _member_names(btf: Btf, found: Composite, depth: int = 0) -> Iterator[str]:
    for member in found.members:
        inner = skip_mods_and_typedefs(btf, member.type_id)[1]
        if not member.name and isinstance(inner, Composite) and depth < 8:
            yield from _member_names(btf, inner, depth + 1)
        else:
            yield member.name


def _config(facts: KernelFacts) -> Table | None:
    return options(facts, (f"CONFIG_{name}" for name in OPTIONS))


_READERS: Final[Mapping[Section, Callable[[KernelFacts], Table | None]]] = {
    Section.HELPER: _enumerators("bpf_func_id", "BPF_FUNC_"),
    Section.PROGRAM_TYPE: _program_types,
    Section.CAPABILITY: _capabilities,
    Section.MAP_TYPE: _map_types,
    Section.ATTACH_TYPE: _enumerators("bpf_attach_type", "BPF_"),
    Section.LINK_TYPE: _enumerators("bpf_link_type", "BPF_LINK_TYPE_"),
    Section.STRUCT_OPS: _struct_ops,
    Section.LSM_HOOK: _lsm_hooks,
    Section.TRACEPOINT: _tracepoints,
    Section.ITERATOR: _iterators,
    Section.CONFIG: _config,
}
