# SPDX-License-Identifier: Apache-2.0
"""Values of kconfig externs as libbpf fills them in (``set_kcfg_value()`` and
``bpf_object__resolve_externs()``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from holdfast.btf.types import Array, Enum, Int
from holdfast.elf.spec import ExternKind, ExternSpec, ObjectSpec
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.model import Reason, Stage
from holdfast.terms import Evidence

__all__ = ["kconfig_reader", "kconfig_reasons"]

_TRISTATE: Final = {"n": 0, "y": 1, "m": 2}
_VIRTUAL: Final = ("LINUX_KERNEL_VERSION", "LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER")


def kconfig_reasons(spec: ObjectSpec, facts: KernelFacts) -> Iterator[Reason]:
    """Reasons of kconfig externs; they stop the whole object."""
    externs = [e for e in spec.externs if e.kind is ExternKind.KCONFIG]
    plain = [e for e in externs if not e.name.startswith("LINUX_")]
    for extern in externs:
        if extern.name.startswith("LINUX_") and extern.name not in _VIRTUAL and not extern.weak:
            message = f"libbpf knows no virtual kconfig value {extern.name}"
            yield _reason(ReasonCode.KCONFIG_MISSING, extern, message, Evidence.RULE)
    if plain and facts.config is None:
        known = facts.host is not None
        code = ReasonCode.KCONFIG_MISSING if known else ReasonCode.KCONFIG_UNKNOWN
        message = (
            "the kernel's config is not readable (/proc/config.gz or /boot/config-RELEASE), and libbpf stops"
        )
        if not known:
            message = f"nothing tells the config of {facts.id}"
        hint = "install the kernel's config file, or give the value in the open options' kconfig"
        yield _reason(code, plain[0], message, Evidence.SYSTEM, certain=known, hint=hint)
        return
    for extern in plain:
        if not extern.weak and facts.config is not None and extern.name not in facts.config:
            message = f"{extern.name} is not set in the kernel's config"
            hint = "declare it __weak to get 0 where it is not set"
            yield _reason(ReasonCode.KCONFIG_MISSING, extern, message, Evidence.CONFIG, hint=hint)


def _reason(
    code: ReasonCode,
    extern: ExternSpec,
    message: str,
    evidence: Evidence,
    *,
    certain: bool = True,
    hint: str | None = None,
) -> Reason:
    # libbpf reads the config first and finds strong externs without a value last
    order = 100 if certain else 0
    return Reason(
        code, f"kconfig {extern.name}", message, Stage.EXTERNS, evidence, certain, None, hint, order
    )


def kconfig_reader(spec: ObjectSpec, facts: KernelFacts) -> Callable[[int, int], int | None]:
    """A reader of the ``.kconfig`` map as libbpf fills it: (offset, size in bytes) -> value, None if
    unknown.
    """
    values: dict[tuple[int, int], int | None] = {}
    for extern in spec.externs:
        if extern.kind is ExternKind.KCONFIG:
            values[extern.offset, extern.size] = _value(spec, extern, facts)

    def read(offset: int, size: int) -> int | None:
        return values.get((offset, size))

    return read


def _value(spec: ObjectSpec, extern: ExternSpec, facts: KernelFacts) -> int | None:
    if extern.name == "LINUX_KERNEL_VERSION":
        return _version_code(facts.upstream or facts.release)
    if extern.name == "LINUX_HAS_BPF_COOKIE":
        # probe_kern_bpf_cookie(): the helper bpf_get_attach_cookie can be called (5.15)
        known = facts.helper_known(174).value
        return None if known is None else int(known)
    if extern.name == "LINUX_HAS_SYSCALL_WRAPPER":
        return _syscall_wrapper(facts)
    if facts.config is None:
        return None
    return _from_config(spec, extern, facts.config)


def _syscall_wrapper(facts: KernelFacts) -> int | None:
    """libbpf looks for ``__<arch>_sys_bpf`` in kallsyms (``probe_kern_syscall_wrapper()``); FUNCs name it
    too.
    """
    prefix = {"x86_64": "__x64", "amd64": "__x64", "aarch64": "__arm64", "arm64": "__arm64"}.get(facts.arch)
    if prefix is None or facts.vmlinux is None:
        return None
    return int(facts.function(f"{prefix}_sys_bpf") is not None) or None


def _version_code(release: str) -> int | None:
    """``KERNEL_VERSION(a, b, c)``; the sublevel counts to 255 at most."""
    numbers = []
    for piece in release.split("-")[0].split("+")[0].split("."):
        digits = piece.partition("~")[0]
        if not digits.isdigit():
            break
        numbers.append(int(digits))
    if len(numbers) < 2:
        return None
    sublevel = min(numbers[2], 255) if len(numbers) > 2 else 0
    return (numbers[0] << 16) + (numbers[1] << 8) + sublevel


def _from_config(spec: ObjectSpec, extern: ExternSpec, config: Mapping[str, str]) -> int | None:
    assert spec.btf is not None
    text = config.get(extern.name)
    if text is None:
        return 0
    shape = spec.btf.type(extern.type_id)
    if isinstance(shape, Array):
        return None  # a string: the analysis of live code does not follow it
    if text in _TRISTATE:
        if isinstance(shape, Enum):  # enum libbpf_tristate: TRI_NO 0, TRI_YES 1, TRI_MODULE 2
            return _TRISTATE[text]
        if isinstance(shape, Int) and shape.encoding & 2:  # char: the letter itself
            return ord(text)
        return None if text == "m" else _TRISTATE[text]
    try:
        return int(text, 0) & ((1 << 8 * extern.size) - 1)
    except ValueError:
        return None
