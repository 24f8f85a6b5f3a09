# SPDX-License-Identifier: Apache-2.0
"""Read a kernel build: vmlinux, then its modules, then rows out of all sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.btf import Btf
from holdfast.btf.types import Kind, Struct
from holdfast.errors import FileError
from holdfast.kernels.registered import hooks as hook_table
from holdfast.kernels.registered.calls import REGISTERERS, Door
from holdfast.kernels.registered.disasm import X86Reader
from holdfast.kernels.registered.elf64 import Elf64
from holdfast.kernels.registered.image import Layout, layout, registered_sets, unregistered_sets
from holdfast.kernels.registered.load_flat import flat
from holdfast.kernels.registered.load_module import module as load_module
from holdfast.kernels.registered.load_vmlinux import exports
from holdfast.kernels.registered.load_vmlinux import vmlinux as load_vmlinux
from holdfast.kernels.registered.result import KfuncSet, Result
from holdfast.kernels.registered.rows import HookTypes, rows
from holdfast.kernels.registered.sets import BtfNames, RawSet, named, shaped
from holdfast.kernels.registered.space import Space
from holdfast.kernels.registered.walk import Walker
from holdfast.terms import Evidence

__all__ = ["read"]

_EM_X86_64: Final = 62
_BTF_IDS: Final = ".BTF_ids"


def read(
    vmlinux: bytes,
    btf: Btf,
    *,
    arch: str,
    symbols: str | None,
    modules: Iterable[tuple[str, bytes, Btf]] = (),
    origin: str = "vmlinux",
) -> Result:
    """All kfuncs that a kernel and its modules register.

    ``vmlinux`` is the uncompressed kernel, an ELF file or the flat ``Image`` of arm64; ``btf`` its BTF,
    ``symbols`` what :func:`holdfast.kernels.kallsyms.names` gives for it. Each module comes with its name,
    its ELF file, uncompressed, and its BTF on top of ``btf``; those without ``.BTF_ids`` cost nothing.
    ``origin`` names the kernel in messages. Raises :exc:`~holdfast.errors.KernelFileError` for a vmlinux that
    is damaged; a damaged module is a note.
    """
    where = layout(btf)
    if where is None:
        return _before_sets(btf)
    if not vmlinux.startswith(b"\x7fELF"):
        space = flat(vmlinux, symbols)
        raw = _raw_sets(space, BtfNames(btf), [(0, vmlinux)])
        return _result(unregistered_sets(raw, None), frozenset(), None, modules, where, ["code is not read"])
    elf = Elf64(vmlinux, origin)
    space = load_vmlinux(elf, symbols)
    section = elf.find(_BTF_IDS)
    ids = BtfNames(btf)
    parts = [(section.address, bytes(elf.view(section)))] if section else []
    raw = _raw_sets(space, ids, parts)
    if elf.machine != _EM_X86_64:
        note = f"code of {arch} is not read, so program types are not known"
        return _result(unregistered_sets(raw, None), frozenset(), None, modules, where, [note])
    places = exports(elf, REGISTERERS)
    doors = {door: places[door] for door in REGISTERERS if door in places}
    if Door.KFUNC not in doors or not space.names.addresses:
        note = "the kernel exports no register_btf_kfunc_id_set, or has no symbols"
        return _result(unregistered_sets(raw, None), frozenset(), None, modules, where, [note])
    types = _hook_types(space, doors[Door.KFUNC], btf)
    sets, doubtful, notes = registered_sets(space, raw, ids, doors, where, types.by_type, None)
    return _result(sets, frozenset((None, at) for at in doubtful), types, modules, where, notes)


def _before_sets(btf: Btf) -> Result:
    """A kernel without ``struct btf_kfunc_id_set`` as it is since 6.0."""
    if btf.find("btf_kfunc_id_set", Kind.STRUCT) is not None:
        return Result(None, notes=("sets of kfuncs had no flags before 6.0; these are not read",))
    operations = btf.find("bpf_verifier_ops", Kind.STRUCT)
    decoded = btf.type(operations) if operations else None
    if not isinstance(decoded, Struct):
        return Result(None, notes=("BTF tells nothing of kfunc calls",))
    if any(member.name == "check_kfunc_call" for member in decoded.members):
        # 5.13, e6ac2450d6de, to 5.17: one function of each subsystem decided.
        return Result(None, notes=("kfuncs were not in sets before 5.18; these are not read",))
    return Result({}, notes=("no kfuncs: this kernel has no kfunc calls (5.13 brought them)",))


def _raw_sets(space: Space, ids: BtfNames, parts: list[tuple[int, bytes]]) -> list[RawSet]:
    return named(space, ids) or shaped(space, parts, ids)


def _hook_types(space: Space, register: int, btf: Btf) -> HookTypes:
    every = hook_table.known_types(btf)
    read_off = hook_table.from_code(space, Walker(space, X86Reader(space), None), register, btf)
    if read_off is not None:
        return HookTypes(read_off, every, None, Evidence.INIT_CODE)
    by_rule, settled = hook_table.from_enum(btf)
    return HookTypes(by_rule, every, settled, Evidence.RULE)


def _result(
    sets: list[KfuncSet],
    doubtful: frozenset[tuple[str | None, int]],
    types: HookTypes | None,
    modules: Iterable[tuple[str, bytes, Btf]],
    where: Layout,
    notes: list[str],
) -> Result:
    for name, data, btf in modules:
        try:
            more, unsure, said = _module(name, data, btf, where, types)
        except FileError as error:
            notes.append(f"module {name}: {error.problem}")
            continue
        sets += more
        doubtful |= {(name, at) for at in unsure}
        notes += [f"module {name}: {text}" for text in said]
    registrations, filters, more_notes = rows(sets, doubtful, types)
    return Result(
        registrations,
        tuple(sets),
        types.by_type if types else None,
        types.evidence if types else Evidence.NONE,
        filters,
        tuple(notes + more_notes),
    )


def _module(
    name: str, data: bytes, btf: Btf, where: Layout, types: HookTypes | None
) -> tuple[list[KfuncSet], frozenset[int], list[str]]:
    """The sets of a module, which of them are doubtful, and notes."""
    if _BTF_IDS.encode() not in data:  # before anything is taken apart: most modules have none
        return [], frozenset(), []
    elf = Elf64(data, name)
    section = elf.find(_BTF_IDS)
    if section is None:
        return [], frozenset(), []
    base, own = elf.find(".BTF.base"), elf.find(".BTF")
    if base and own:
        # Its ids count from the small base that came with it (btf_relocate_id(), 6.11).
        distilled = Btf.from_bytes(elf.view(base), origin=f"{name}: .BTF.base")
        btf = Btf.from_bytes(elf.view(own), base=distilled, origin=f"{name}: .BTF")
    space = load_module(elf)
    ids = BtfNames(btf)
    start = next((s.address for s in space.segments if s.name == _BTF_IDS), 0)
    raw = _raw_sets(space, ids, [(start, bytes(elf.view(section)))])
    doors = {door: at for door in REGISTERERS for at in space.names.find(door)[:1]}
    if elf.machine != _EM_X86_64 or types is None:
        return unregistered_sets(raw, name), frozenset(), []
    return registered_sets(space, raw, ids, doors, where, types.by_type, name)
