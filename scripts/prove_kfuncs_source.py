# SPDX-License-Identifier: Apache-2.0
"""Every kfunc of one kernel build as its source says it: flags, program types, filters, module, prototype.

A second opinion on holdfast.kernels.registered, which reads binaries: nothing here looks at a binary, and
nothing here is shared with it. Sets (BTF_SET8_START, BTF_KFUNCS_START), the structs that name them, the
calls that register them and the hooks of program types are read from the tree; what the build's
configuration leaves out is left out. Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prove_kfuncs_cpp import Config, Preprocessor, ReadError, Unit, strip_comments
from prove_kfuncs_kbuild import VMLINUX, Kbuild
from prove_kfuncs_prototypes import Prototype, definition
from prove_kfuncs_reach import never_runs

__all__ = ["Kfunc", "Source", "read"]

WORDS = frozenset(
    {
        "BTF_ID_FLAGS",
        "BTF_SET8_START",
        "BTF_SET8_END",
        "BTF_KFUNCS_START",
        "BTF_KFUNCS_END",
        "btf_kfunc_id_set",
        "register_btf_kfunc_id_set",
        "register_btf_fmodret_id_set",
    }
)
OPENS = frozenset({"BTF_SET8_START", "BTF_KFUNCS_START"})
CLOSES = frozenset({"BTF_SET8_END", "BTF_KFUNCS_END"})
SET = re.compile(r"\bBTF_(SET8|KFUNCS)_START \( (\w+) \)(.*?)\bBTF_\1_END \( \2 \)", re.S)
ENTRY = re.compile(r"\bBTF_ID(?:_FLAGS)? \( func , (\w+) (?:, ((?:[^();]|\([^();]*\))*?) )?\)")
STRUCT = re.compile(r"\bstruct btf_kfunc_id_set (\w+) = \{(.*?)\}", re.S)
REGISTER = re.compile(r"\bregister_btf_(kfunc|fmodret)_id_set \( (.*?) ?& (\w+) \)", re.S)
HOOK = re.compile(r"\bbpf_prog_type_to_kfunc_hook \( enum bpf_prog_type \w+ \)\s*\{(.*?)\n\s*\}\s*\n", re.S)
TYPE = "BPF_PROG_TYPE_"
# Selftests' modules are in no distribution's package, and scripts and tools are no part of the kernel.
SKIPPED = ("tools", "samples", "scripts", "Documentation", "arch", "sound", "crypto", "certs", "usr")


@dataclass(slots=True)
class Kfunc:
    """One kfunc. ``flags`` maps each program type that may call it, by the kernel's aliases, to what it has
    there (without ``KF_``); ``filters`` are the functions that may refuse a call all the same. ``prototype``
    is the one in C, ``called`` the one that programs see, without implicit arguments.
    """

    name: str
    module: str | None
    path: str
    flags: dict[str, frozenset[str]] = field(default_factory=dict)
    filters: dict[str, frozenset[str]] = field(default_factory=dict)
    prototype: Prototype | None = None

    @property
    def called(self) -> Prototype | None:
        implicit = self.prototype is not None and any("IMPLICIT_ARGS" in each for each in self.flags.values())
        return self.prototype.without_implicit() if self.prototype and implicit else self.prototype

    @property
    def common_flags(self) -> frozenset[str]:
        return frozenset.intersection(*self.flags.values()) if self.flags else frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """What one tree and one configuration say; ``unregistered`` are set members nobody registers."""

    kfuncs: Mapping[str, Kfunc]
    fmod_ret: frozenset[str]
    unregistered: frozenset[str]
    known_flags: frozenset[str]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Set:
    path: Path
    entries: dict[str, frozenset[str]]


@dataclass(slots=True)
class _Registration:
    prog_type: str
    members: _Set
    filter: str | None
    module: str | None
    unit: Unit


def read(tree: Path, config: Config, arch: str = "x86") -> Source:
    """Every kfunc of the build. Raises ReadError where the source is not understood."""
    return _Reader(tree, config, arch).read()


class _Reader:
    def __init__(self, tree: Path, config: Config, arch: str) -> None:
        self.tree, self.config = tree, config
        self.kbuild = Kbuild(tree, config, arch)
        self.known_flags = frozenset(
            re.findall(r"^#define\s+KF_(\w+)\s+\(1 << \d+\)", self._text("include/linux/btf.h"), re.M)
        )
        self.cpp = Preprocessor(
            tree,
            config,
            arch=arch,
            words=WORDS,
            opens=OPENS,
            closes=CLOSES,
            keep=lambda name: name.removeprefix("KF_") in self.known_flags,
        )
        self.notes: list[str] = []
        self.fmod_ret: set[str] = set()
        self.units: dict[Path, Unit] = {}
        self.raw: dict[Path, bytes] = {}

    def read(self) -> Source:
        registrations: list[_Registration] = []
        members: set[str] = set()
        for path in dict.fromkeys(self._roots()):
            home = self.kbuild.home(path.relative_to(self.tree))
            if home is None:
                continue
            unit = self._unit(path)
            sets = dict(self._sets(unit))
            for found in sets.values():
                members |= set(found.entries)
            registrations += self._registrations(unit, sets, None if home == VMLINUX else home)
        kfuncs = self._kfuncs(registrations) if registrations else {}
        return Source(
            kfuncs,
            frozenset(self.fmod_ret),
            frozenset(members - set(kfuncs) - self.fmod_ret),
            self.known_flags,
            tuple(self.notes),
        )

    # Which files.

    def _roots(self) -> Iterator[Path]:
        """The files that are compiled: those with a word of interest, or what includes them."""
        for top in sorted(self.tree.iterdir()):
            for path in sorted(top.rglob("*.c")) if top.is_dir() and top.name not in SKIPPED else ():
                if b"btf_kfunc_id_set" not in path.read_bytes() or path == self.tree / "kernel/bpf/btf.c":
                    continue
                yield from self._included_by(path) or [path]

    def _included_by(self, path: Path) -> list[Path]:
        include = re.compile(rb'^\s*#\s*include\s+"([\w./-]*' + re.escape(path.name.encode()) + rb')"', re.M)
        found: list[Path] = []
        for folder in (path.parent, path.parent.parent):
            for other in sorted(folder.glob("*.c")):
                if any(
                    (folder / m.decode()).resolve() == path.resolve()
                    for m in include.findall(other.read_bytes())
                ):
                    found.append(other)
        return found

    def _text(self, name: str) -> str:
        path = self.tree / name
        if not path.is_file():
            raise ReadError(f"{name} is not in the tree; is it a whole kernel source?")
        return strip_comments(path.read_text(errors="replace"))

    def _unit(self, path: Path) -> Unit:
        if path not in self.units:
            self.units[path] = self.cpp.read(path)
        return self.units[path]

    # What is in them.

    def _sets(self, unit: Unit) -> Iterator[tuple[str, _Set]]:
        for _, name, body in SET.findall(unit.text):
            entries: dict[str, frozenset[str]] = {}
            for entry in ENTRY.finditer(body):
                entries[entry[1]] = self._flags(unit, entry[1], entry[2])
            left = ENTRY.sub("", body).replace(";", "").split()
            if left:
                raise ReadError(f"{unit.path}: {' '.join(left)!r} in the set {name}")
            yield name, _Set(unit.path, entries)
        started = len(re.findall(r"\bBTF_(?:SET8|KFUNCS)_START\b", unit.text))
        if started != len(SET.findall(unit.text)):
            raise ReadError(f"{unit.path}: a set without an end")

    def _flags(self, unit: Unit, name: str, text: str | None) -> frozenset[str]:
        words = [word for word in re.split(r"[\s|()]+", text or "") if word]
        flags = [word.removeprefix("KF_") for word in words if word != "0"]
        unknown = [flag for flag in flags if flag not in self.known_flags]
        if unknown:
            raise ReadError(f"{unit.path}: {name} has flags that include/linux/btf.h has not: {unknown}")
        return frozenset(flags)

    def _registrations(
        self, unit: Unit, sets: dict[str, _Set], module: str | None
    ) -> Iterator[_Registration]:
        structs: dict[str, tuple[_Set, str | None]] = {}
        for name, body in STRUCT.findall(unit.text):
            members = re.search(r"\. set = & (\w+)", body)
            if members is None or members[1] not in sets:
                raise ReadError(f"{unit.path}: the set of {name} is not in this file")
            screen = re.search(r"\. filter = & ?(\w+)|\. filter = (\w+)", body)
            structs[name] = (sets[members[1]], (screen[1] or screen[2]) if screen else None)
        calls = list(REGISTER.finditer(unit.text))
        if len(calls) != len(re.findall(r"\bregister_btf_(?:kfunc|fmodret)_id_set\b", unit.text)):
            raise ReadError(f"{unit.path}: a registration of a form that is not known here")
        for call in calls:
            kind, argument, name = call[1], call[2].strip().rstrip(",").strip(), call[3]
            if name not in structs:
                raise ReadError(f"{unit.path}: {name} is registered and not defined here")
            if not self._is_reached(unit, call.start()):
                continue
            members_set, screen_name = structs[name]
            if kind == "fmodret":
                self.fmod_ret |= set(members_set.entries)
                continue
            for prog_type in self._types(unit, argument):
                yield _Registration(prog_type, members_set, screen_name, module, unit)

    def _types(self, unit: Unit, argument: str) -> list[str]:
        if argument.startswith(TYPE):
            return [argument.removeprefix(TYPE)]
        table = re.match(r"(\w+) \[ \w+ \]$", argument)
        rows = table and re.search(rf"\b{table[1]} \[ \w* ?\] = \{{([^}}]*)\}}", unit.text)
        types = re.findall(rf"\b{TYPE}(\w+)", rows[1]) if rows else []
        if not types:
            raise ReadError(f"{unit.path}: registered for {argument!r}, which is no program type")
        return types

    def _is_reached(self, unit: Unit, position: int) -> bool:
        """Whether anything mentions the function around ``position``: an initcall, a caller, a table."""
        around = unit.around(position)
        if around is None:
            raise ReadError(f"{unit.path}: a registration outside of a function")
        name = around.name
        if never_runs(unit.text, around.body, position, self.config):
            return False
        used = re.compile(rf"\b{name}\b")
        if len(used.findall(unit.text)) > 1:
            return True
        top = self.tree / unit.path.relative_to(self.tree).parts[0]
        for path in self._containing(name, (unit.path.parent, top)):
            if path != unit.path and used.search(self._unit(path).text):
                return True
        self.notes.append(f"{unit.path.relative_to(self.tree)}: nothing mentions {name}()")
        return False

    # Put together.

    def _kfuncs(self, registrations: list[_Registration]) -> dict[str, Kfunc]:
        hooks = self._hooks()
        all_types = self._all_types()
        by_hook: dict[str, dict[str, set[str]]] = defaultdict(dict)
        screens: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        kfuncs: dict[str, Kfunc] = {}
        units: dict[str, Unit] = {}
        for row in registrations:
            hook = hooks.get(row.prog_type)
            if hook is None:
                raise ReadError(f"registered for {row.prog_type}, which has no hook")
            where = row.members.path.relative_to(self.tree).as_posix()
            for name, flags in row.members.entries.items():
                kfunc = kfuncs.setdefault(name, Kfunc(name, row.module, where))
                units.setdefault(name, row.unit)
                if kfunc.module != row.module:
                    raise ReadError(f"{name} is registered by {kfunc.module} and by {row.module}")
                by_hook[name].setdefault(hook, set()).update(flags)
                if row.filter:
                    screens[name][hook].add(row.filter)
        for name, kfunc in kfuncs.items():
            for prog_type in all_types:
                # btf_kfunc_flags() and its predecessors ask the hook of all types first, then its own.
                asked = [hook for hook in ("COMMON", hooks.get(prog_type, "")) if hook in by_hook[name]]
                if asked:
                    kfunc.flags[prog_type] = frozenset(by_hook[name][asked[0]])
                    if all(screens[name][hook] for hook in asked):
                        kfunc.filters[prog_type] = frozenset().union(*(screens[name][hook] for hook in asked))
            kfunc.prototype = self._prototype(units[name], kfunc)
        return kfuncs

    def _hooks(self) -> dict[str, str]:
        unit = self._unit(self.tree / "kernel/bpf/btf.c")
        body = re.search(r"\bbpf_prog_type_to_kfunc_hook \( .*?\{(.*?)\bdefault :", unit.text, re.S)
        if body is None:
            raise ReadError("kernel/bpf/btf.c: there is no bpf_prog_type_to_kfunc_hook()")
        hooks: dict[str, str] = {}
        waiting: list[str] = []
        for prog_type, hook in re.findall(rf"case {TYPE}(\w+) :|return BTF_KFUNC_HOOK_(\w+) ;", body[1]):
            if prog_type:
                waiting.append(prog_type)
            else:
                hooks.update(dict.fromkeys(waiting, hook))
                waiting = []
        return hooks

    def _all_types(self) -> list[str]:
        text = self._text("include/uapi/linux/bpf.h")
        body = re.search(r"\benum bpf_prog_type \{(.*?)\}", text, re.S)
        if body is None:
            raise ReadError("include/uapi/linux/bpf.h: there is no enum bpf_prog_type")
        return [name for name in re.findall(rf"\b{TYPE}(\w+)", body[1]) if name != "UNSPEC"]

    def _prototype(self, unit: Unit, kfunc: Kfunc) -> Prototype | None:
        found = definition(unit, kfunc.name)
        if found is None:
            found = self._elsewhere(unit.path, kfunc.name)
        if found is None:
            self.notes.append(f"{kfunc.name}: its definition was not found")
        return found

    def _elsewhere(self, origin: Path, name: str) -> Prototype | None:
        near = [
            origin.parent,
            origin.parent.parent,
            *(self.tree / top for top in ("kernel", "net", "lib", "mm", "fs")),
        ]
        for path in self._containing(name, near):
            found = definition(self._unit(path), name)
            if found is not None:
                return found
        return None

    def _containing(self, name: str, folders: Iterable[Path]) -> Iterator[Path]:
        """The compiled files below the folders that mention a name, each once, in the folders' order."""
        seen: set[Path] = set()
        for folder in folders:
            for path in sorted(folder.rglob("*.c")):
                if path in seen:
                    continue
                seen.add(path)
                if name.encode() in self._bytes(path) and self.kbuild.home(path.relative_to(self.tree)):
                    yield path

    def _bytes(self, path: Path) -> bytes:
        if path not in self.raw:
            self.raw[path] = path.read_bytes()
        return self.raw[path]
