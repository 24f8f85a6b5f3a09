# SPDX-License-Identifier: Apache-2.0
"""Values of kconfig externs as libbpf fills them in (``set_kcfg_value()`` and
``bpf_object__resolve_externs()``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final

from holdfast.btf.types import Array, Int
from holdfast.elf.spec import ExternKind, ExternSpec, ObjectSpec
from holdfast.insn.values import Watched, holds
from holdfast.kernels.facts import KernelFacts
from holdfast.predict.codes import ReasonCode
from holdfast.predict.model import Reason, Stage
from holdfast.predict.questions import Questions
from holdfast.rules.ask import Ask
from holdfast.terms import Evidence

__all__ = ["kconfig_reader", "kconfig_reasons"]

_TRISTATE: Final = {"n": 0, "y": 1, "m": 2}
_SIGNED, _BOOL = 1, 4  # BTF_INT_SIGNED, BTF_INT_BOOL
_VERSION: Final = "LINUX_KERNEL_VERSION"
_VIRTUAL: Final = (_VERSION, "LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER")


def kconfig_reasons(spec: ObjectSpec, facts: Questions) -> Iterator[Reason]:
    """Reasons of kconfig externs; they stop the whole object."""
    externs = [e for e in spec.externs if e.kind is ExternKind.KCONFIG]
    plain = [e for e in externs if e.name.startswith("CONFIG_")]
    for extern in externs:
        if extern in plain:
            continue
        if extern.name in _VIRTUAL:
            if problem := _virtual_problem(spec, extern, facts):
                yield _reason(ReasonCode.KCONFIG_INCOMPATIBLE, extern, problem, Evidence.OBJECT)
        elif not extern.name.startswith("LINUX_") or not extern.weak:
            message = f"libbpf knows no virtual kconfig value {extern.name}"
            yield _reason(ReasonCode.KCONFIG_MISSING, extern, message, Evidence.RULE)
    if plain and facts.config is None:
        known = facts.host is not None
        code = ReasonCode.KCONFIG_MISSING if known else ReasonCode.KCONFIG_UNKNOWN
        message = (
            "the kernel's config is not readable (/proc/config.gz or /boot/config-RELEASE), and libbpf stops"
        )
        if not known:
            message = "nothing tells the config of this kernel"
        hint = "install the kernel's config file, or give the value in the open options' kconfig"
        yield _reason(code, plain[0], message, Evidence.SYSTEM, certain=known, hint=hint)
        return
    for extern in plain:
        text = facts.config_value(extern.name)
        if text is not None:
            if problem := _problem(spec, extern, text):
                hint = "declare it with the type of its value: bool, enum libbpf_tristate, int, char, char[]"
                yield _reason(ReasonCode.KCONFIG_INCOMPATIBLE, extern, problem, Evidence.CONFIG, hint=hint)
        elif not extern.weak:
            message = f"{extern.name} is not set in the kernel's config"
            hint = "declare it __weak to get 0 where it is not set"
            yield _reason(ReasonCode.KCONFIG_MISSING, extern, message, Evidence.CONFIG, hint=hint, last=True)


class _Type(StrEnum):
    """``enum kcfg_type`` of libbpf, in the words of C."""

    BOOL = "bool"
    TRISTATE = "enum libbpf_tristate"
    CHAR = "char"
    INT = "int"
    TEXT = "char[]"


def _type(spec: ObjectSpec, extern: ExternSpec) -> tuple[_Type, bool]:
    """(``find_kcfg_type()``, whether it is signed)."""
    assert spec.btf is not None
    shape = spec.btf.type(extern.type_id)
    if isinstance(shape, Array):
        return _Type.TEXT, False
    if isinstance(shape, Int) and shape.encoding & _BOOL:
        return _Type.BOOL, False
    if isinstance(shape, Int):
        return _Type.CHAR if shape.size == 1 else _Type.INT, bool(shape.encoding & _SIGNED)
    return _Type.TRISTATE, False


def _problem(spec: ObjectSpec, extern: ExternSpec, text: str) -> str | None:
    """What keeps libbpf from storing the value of a config line (``bpf_object__process_kconfig_line()``)."""
    kind, signed = _type(spec, extern)
    what = f"{extern.name}={text} does not go into the object's {kind}"
    if text in _TRISTATE:
        fits = kind in (_Type.TRISTATE, _Type.CHAR) or (kind is _Type.BOOL and text != "m")
        # a string may be just one of these letters, and facts do not keep its quotes
        return None if fits or kind is _Type.TEXT else what
    number = _number(text)
    if number is None:
        return None if kind is _Type.TEXT else what
    if kind in (_Type.BOOL, _Type.TRISTATE):
        return what
    return None if kind is _Type.TEXT or _in_range(number, extern.size, signed) else what


def _virtual_problem(spec: ObjectSpec, extern: ExternSpec, facts: Questions) -> str | None:
    """As :func:`_problem`, for a value that libbpf makes up (``set_kcfg_value_num()``)."""
    kind, signed = _type(spec, extern)
    fits = kind not in (_Type.TRISTATE, _Type.TEXT)
    if fits and extern.name == _VERSION:
        fits = facts.work(_version_fits, kind, extern.size, signed)
    elif fits:
        fits = _fits(_value(spec, extern, facts), kind, extern.size, signed)
    return None if fits else f"the value of {extern.name} does not go into the object's {kind}"


def _fits(value: int | None, kind: _Type, size: int, signed: bool) -> bool:
    if value is None:
        return True
    return value <= 1 if kind is _Type.BOOL else _in_range(value, size, signed)


def _version_fits(facts: KernelFacts, _: Ask, kind: _Type, size: int, signed: bool) -> bool:
    return _fits(_version_code(facts.version_text()), kind, size, signed)


def _number(text: str) -> int | None:
    """As ``strtoull()`` of base 0 reads it, unsigned 64 bit."""
    try:
        return int(text, 0) & (1 << 64) - 1
    except ValueError:
        return None


def _in_range(value: int, size: int, signed: bool) -> bool:
    """``is_kcfg_value_in_range()``; ``size`` in bytes."""
    bits = 8 * size
    if size == 8:
        return True
    return (value + (1 << bits - 1)) % (1 << 64) < 1 << bits if signed else value < 1 << bits


def _reason(
    code: ReasonCode,
    extern: ExternSpec,
    message: str,
    evidence: Evidence,
    *,
    certain: bool = True,
    hint: str | None = None,
    last: bool = False,
) -> Reason:
    # libbpf makes up its own values, reads the config, resolves symbols, and finds strong externs without a
    # value last
    order = 1 << 20 if last else -1
    return Reason(
        code, f"kconfig {extern.name}", message, Stage.EXTERNS, evidence, certain, None, hint, order
    )


def kconfig_reader(spec: ObjectSpec, facts: Questions) -> Callable[[int, int], int | Watched | None]:
    """A reader of the ``.kconfig`` map as libbpf fills it: (offset, size in bytes) -> value, None if
    unknown.

    The kernel's version is watched: kernels whose versions compare alike are walked once.
    """
    there = {(one.offset, one.size): one for one in spec.externs if one.kind is ExternKind.KCONFIG}

    def read(offset: int, size: int) -> int | Watched | None:
        extern = there.get((offset, size))
        if extern is None:
            return None
        if extern.name == _VERSION and size >= 4 and facts.work(_has_version):
            return _watched_version(facts, 8 * size)
        return _value(spec, extern, facts)

    return read


def _watched_version(facts: Questions, bits: int) -> Watched:
    code = _version_code(facts.real.version_text())
    assert code is not None

    def compared(*what: Any) -> None:
        facts.work(_version_compares, *what)

    def used() -> None:
        facts.version_text()

    return Watched(code, bits, compared, used)


def _has_version(facts: KernelFacts, _: Ask) -> bool:
    return _version_code(facts.version_text()) is not None


def _version_compares(
    facts: KernelFacts, _: Ask, op: int, other: int, bits: int, swapped: bool
) -> bool | None:
    code = _version_code(facts.version_text())
    assert code is not None
    return holds(op, other, code, bits) if swapped else holds(op, code, other, bits)


def _value(spec: ObjectSpec, extern: ExternSpec, facts: KernelFacts) -> int | None:
    if extern.name == _VERSION:
        return _version_code(facts.version_text())
    if extern.name == "LINUX_HAS_BPF_COOKIE":
        # probe_kern_bpf_cookie(): the helper bpf_get_attach_cookie can be called (5.15)
        known = facts.helper_known(174).value
        return None if known is None else int(known)
    if extern.name == "LINUX_HAS_SYSCALL_WRAPPER":
        return _syscall_wrapper(facts)
    if facts.config is None:
        return None
    return _from_config(spec, extern, facts.config_value(extern.name))


def _syscall_wrapper(facts: KernelFacts) -> int | None:
    """Whether libbpf can put a kprobe on ``__<arch>_sys_bpf`` (``probe_kern_syscall_wrapper()``)."""
    prefix = {"x86_64": "__x64", "amd64": "__x64", "aarch64": "__arm64", "arm64": "__arm64"}.get(facts.arch)
    if facts.config_enabled("CONFIG_KPROBE_EVENTS").value is False:
        return 0
    if facts.host is not None and facts.host.lockdown == "confidentiality":
        return 0  # LOCKDOWN_KPROBES
    if prefix is None or facts.vmlinux is None or facts.function(f"{prefix}_sys_bpf") is None:
        return None
    return 1 if facts.config_enabled("CONFIG_KPROBE_EVENTS").value else None


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


def _from_config(spec: ObjectSpec, extern: ExternSpec, text: str | None) -> int | None:
    assert spec.btf is not None
    if text is None:
        return 0
    kind, _ = _type(spec, extern)
    if kind is _Type.TEXT or _problem(spec, extern, text):
        return None  # a string, which the analysis of live code does not follow; or libbpf stops there
    if text in _TRISTATE:
        return ord(text) if kind is _Type.CHAR else _TRISTATE[text]
    number = _number(text)
    return None if number is None else number & ((1 << 8 * extern.size) - 1)
