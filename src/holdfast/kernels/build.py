# SPDX-License-Identifier: Apache-2.0
"""From the parts of a kernel build to the record that the catalogue keeps, and from a record to facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.btf import Btf
from holdfast.btf.types import Kind
from holdfast.errors import BtfError, KernelFileError
from holdfast.kernels import kallsyms, kconfig
from holdfast.kernels.anatomy import dissect
from holdfast.kernels.facts import KernelFacts
from holdfast.kernels.kallsyms import SymbolText
from holdfast.kernels.record import KernelPieces, KernelRecord, ModulePiece
from holdfast.kernels.upstream import upstream_version

__all__ = ["add_package", "facts_of", "record_of", "record_of_btf", "record_of_path"]

Step = Callable[[str], object]
"""Called with what is being read, for those who wait."""


def record_of_path(
    path: str | Path,
    *,
    parts: Sequence[str | Path] = (),
    source: str = "",
    keep: Iterable[str] = (),
    step: Step = lambda _: None,
) -> KernelRecord:
    """What a package, image or folder tells, ready for the catalogue.

    ``parts``: see :func:`holdfast.kernels.unpack.open_kernel`; the rest: see :func:`record_of`. Raises
    :exc:`~holdfast.errors.KernelFileError`.
    """
    from holdfast.kernels.unpack import open_kernel

    step(f"unpacking {Path(path).name}")
    return record_of(open_kernel(path, parts=parts, partial=True), source=source, keep=keep, step=step)


def record_of(
    pieces: KernelPieces, *, source: str = "", keep: Iterable[str] = (), step: Step = lambda _: None
) -> KernelRecord:
    """What the parts of a build tell.

    ``source`` begins its id; by default the distribution of the package, or ``file``. Of the modules those
    are kept that register kfuncs or struct_ops, or that ``keep`` names. Raises
    :exc:`~holdfast.errors.KernelFileError` for a kernel that is damaged or has no BTF; a damaged module is an
    error too, since what it registers would be missing.
    """
    step("reading BTF and symbols")
    anatomy = dissect(pieces.vmlinux, pieces.origin)
    symbols = kallsyms.names(anatomy.rodata[:]) if anatomy.rodata else None
    config = pieces.config
    options = kconfig.parse(config) if config is not None else None
    if options is None and anatomy.rodata is not None:
        options = kconfig.embedded(anatomy.rodata)
    vmlinux = _read(anatomy.btf, None, f"{pieces.origin}: .BTF")
    release = pieces.release or anatomy.release
    step(f"looking through {len(pieces.modules)} modules")
    modules = list(_modules(pieces, vmlinux, frozenset(keep)))
    step("reading what is registered")
    from holdfast.kernels.registered import read

    result = read(
        pieces.vmlinux, vmlinux, arch=anatomy.arch, symbols=symbols, modules=modules, origin=pieces.origin
    )
    registering = {row.module for row in (result.registrations or {}).values()}
    wanted = frozenset(keep)
    kept = {
        name: bytes(btf.data)
        for name, _, btf in modules
        if name in registering or name in wanted or _has_struct_ops(btf)
    }
    if not source:
        source = pieces.package.distribution if pieces.package else ""
    return KernelRecord(
        id=f"{source or 'file'}/{release or Path(pieces.origin).name}",
        release=release,
        arch=anatomy.arch,
        source=source or "file",
        upstream=upstream_version(anatomy.uname_version, (options or {}).get("CONFIG_VERSION_SIGNATURE", "")),
        vmlinux=anatomy.btf,
        modules=kept,
        module_names=tuple(module.name for module in pieces.modules),
        builtin_modules=pieces.builtin_modules,
        config=options,
        symbols=symbols,
        registrations=result.registrations,
        package=pieces.package,
    )


def _modules(pieces: KernelPieces, vmlinux: Btf, keep: frozenset[str]) -> Iterator[tuple[str, bytes, Btf]]:
    """Name, ELF file and BTF of each module that may be worth keeping; those without BTF are not."""
    from holdfast.kernels.registered.elf64 import Elf64
    from holdfast.kernels.unpack import may_register, scan

    first = [module for module in pieces.modules if module.name in keep]
    rest = [module for module in pieces.modules if module.name not in keep]
    found: Iterable[tuple[ModulePiece, bytes]] = ((module, module.read()) for module in first)
    for module, data in (*found, *scan(rest, may_register)):
        origin = f"{pieces.origin}: {module.path}"
        elf = Elf64(data, origin)
        section = elf.find(".BTF")
        if section is not None:
            yield module.name, data, _read(bytes(elf.view(section)), vmlinux, origin)


def _read(data: bytes, base: Btf | None, origin: str) -> Btf:
    try:
        return Btf(data, base=base, origin=origin)
    except BtfError as error:
        hint = "the BTF in this file is damaged"
        raise KernelFileError(origin, error.problem, place=error.place, hint=hint) from error


def _has_struct_ops(btf: Btf) -> bool:
    """Whether the module brings a type for struct_ops maps: ``struct bpf_struct_ops_NAME`` of its own."""
    return any(btf.name(i).startswith("bpf_struct_ops_") for i in btf.own_of_kind(Kind.STRUCT))


def facts_of(record: KernelRecord, *, vmlinux: Btf | None = None) -> KernelFacts:
    """The facts of a record that is in memory; ``vmlinux`` is its BTF, read already."""
    base = vmlinux or Btf(record.vmlinux, origin=record.id)
    modules = {
        name: Btf(data, base=base, origin=f"{record.id}: {name}") for name, data in record.modules.items()
    }
    facts = KernelFacts(
        id=record.id,
        release=record.release,
        arch=record.arch,
        source=record.source,
        vmlinux=base,
        modules=modules,
        module_names=frozenset(record.module_names) if record.module_names else None,
        config=record.config,
        kallsyms=SymbolText(record.symbols) if record.symbols else None,
        registrations=record.registrations,
        upstream=record.upstream,
        build=record.package.sha256 if record.package else "",
    )
    return facts if record.probes is None else replace(facts, probes=record.probes)


def add_package(
    paths: Sequence[str | Path],
    *,
    distribution: str = "",
    suite: str = "",
    source: str = "",
    source_version: str = "",
    step: Step = lambda _: None,
) -> str:
    """Put the kernel of a package (``paths[0]``, the rest its other parts) into the user's catalogue; its id.

    The rest says where the package is from, as far as its control file does not. Raises
    :exc:`~holdfast.errors.KernelFileError`.
    """
    from holdfast.kernels.catalogue import Catalogue

    record = record_of_path(paths[0], parts=paths[1:], source=distribution, step=step)
    if record.package is not None:
        found = record.package
        origin = replace(
            found,
            distribution=found.distribution or distribution,
            suite=found.suite or suite,
            source=found.source or source,
            source_version=found.source_version or source_version,
        )
        record = replace(record, package=origin)
    step("adding it to the catalogue")
    return Catalogue.open().add(record).id


def record_of_btf(path: str | Path) -> KernelRecord:
    """A file with raw BTF: nothing but types is known, and its name is its id. Raises
    :exc:`~holdfast.errors.KernelFileError`.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise KernelFileError(str(path), f"it cannot be read: {error.strerror}") from None
    _read(data, None, str(path))
    return KernelRecord(f"file/{Path(path).name}", "", "", "file", "", data)
