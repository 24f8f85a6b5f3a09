# SPDX-License-Identifier: Apache-2.0
"""From an errno and libbpf's words to an error that says what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable

from holdfast import sys as kernel
from holdfast.errors import HoldfastError, LibbpfError, LoadError, PrivilegeError, VerifierError
from holdfast.libbpf import Messages, errno_text
from holdfast.load.verifier_log import VerifierLog
from holdfast.terms import ProgramType

__all__ = ["capabilities_to_load", "failed_call", "load_failure", "not_permitted", "program_logs"]

_LOG = re.compile(r"prog '([^']*)': -- BEGIN PROG LOAD LOG --\n(.*?)-- END PROG LOAD LOG --", re.S)
_FAILED_PROGRAM = re.compile(r"prog '([^']*)': BPF program load failed")
# Words that follow a cause and repeat it.
_ECHO = re.compile(
    r"failed to load object|failed to load: |BPF program load failed|permission error while|"
    r"failed to prepare load attributes|failed to perform CO-RE relocations|BEGIN PROG LOAD LOG"
)
# Of BTF that the kernel refuses. Where nothing needs it libbpf goes on without
# (bpf_object__sanitize_and_load_btf()).
_BTF_LOG = re.compile(r"-- BEGIN BTF LOAD LOG ---\n(.*?)-- END BTF LOAD LOG --", re.S)
_BTF_OPTIONAL = "BTF is optional, ignoring"
_BTF_REFUSED = "Error loading .BTF into kernel"
_BTF_WORDS = re.compile(rf"BTF loading error|BEGIN BTF LOAD LOG|{_BTF_OPTIONAL}")
_HINTS = {
    errno.ENOMEM: "the memory limit of the cgroup, or on kernels before 5.11 of RLIMIT_MEMLOCK, is too low",
    errno.E2BIG: "the program is too large or too complex for this kernel, or an option is too new for it",
    errno.EBUSY: "another program holds that place exclusively",
    errno.ENOSPC: "the map is full",
}


def capabilities_to_load(program_type: int) -> frozenset[str]:
    """Returns the capabilities that BPF_PROG_LOAD of that type asks for since 5.8 (CAP_SYS_ADMIN replaces
    them all).
    """
    from holdfast.rules.program_types import rule  # not for those whose loads are not refused

    if program_type not in ProgramType.__members__.values() or program_type == ProgramType.UNSPEC:
        return frozenset({"CAP_BPF"})
    return frozenset(rule(ProgramType(program_type)).capabilities)


def program_logs(messages: Messages) -> dict[str, str]:
    """Returns the verifier logs among libbpf's messages, by program (the last one of each)."""
    return {found[1]: found[2] for message in messages.kept for found in _LOG.finditer(message.text)}


def load_failure(
    name: str,
    number: int,
    messages: Messages,
    types: dict[str, int],
    *,
    kernel_log: str = "",
) -> HoldfastError:
    """Returns the error for a refused load.

    ``types`` are the programs that were to be loaded; ``kernel_log`` replaces the log that libbpf could not
    print.
    """
    warnings = messages.warnings()
    program = next((found[1] for text in reversed(warnings) if (found := _FAILED_PROGRAM.search(text))), None)
    log = program_logs(messages).get(program or "", kernel_log)
    parsed = VerifierLog.parse(log)
    # A silent libbpf names no program, and the log may be that of BTF, which counts no instructions.
    if (program is not None and log.strip()) or parsed.processed_insns is not None:
        who = f"program {program!r}" if program is not None else " or ".join(map(repr, types))
        words = parsed.error or "it gave no reason"
        where = f" (at {parsed.source})" if parsed.source else ""
        lacking = kernel.missing(frozenset({"CAP_BPF", "CAP_PERFMON"}))
        return VerifierError(
            f"{name}: {who}: the verifier rejected it: {words}{where} [{errno_text(number)}]",
            errno=number,
            log=log,
            hint=f"it judges programs more strictly without {_listed(lacking)}" if lacking else None,
        )
    if number == errno.EPERM:
        chosen = {program: types[program]} if program in types and program is not None else types
        wanted = frozenset[str]().union(
            *(capabilities_to_load(kind) for kind in chosen.values()), {"CAP_BPF"}
        )
        what = f"{name}: loading program {program!r}" if program else f"{name}: loading"
        return not_permitted(what, wanted)
    words = _one_line(_cause(warnings))
    if not words.endswith(code := errno_text(number)):
        words = f"{words} [{code}]"
    return LoadError(f"{name}: {words}", errno=number, log=messages.text, hint=_HINTS.get(number))


def _cause(warnings: list[str]) -> str:
    """What libbpf says of a refusal that no verifier gave reasons for."""
    told = [text for text in warnings if not _BTF_WORDS.search(text)]
    if not any(_BTF_OPTIONAL in text for text in warnings):
        # BTF is what was refused: libbpf says so, and the kernel's log ends with the type and its fault.
        log = next((found[1] for text in warnings if (found := _BTF_LOG.search(text))), "")
        fault = next((line for line in reversed(log.splitlines()) if line.strip()), "")
        told = [f"{text} {fault}" if _BTF_REFUSED in text and fault else text for text in told]
    causes = [text for text in told if not _ECHO.search(text)]
    failed = [text for text in warnings if _FAILED_PROGRAM.search(text)]
    return (causes or failed or warnings or ["libbpf gave no reason"])[-1]


def not_permitted(what: str, wanted: Iterable[str]) -> PrivilegeError:
    """Returns the error for an EPERM: what is missing here, or the next suspect when nothing is."""
    lacking = kernel.missing(frozenset(wanted))
    if lacking:
        names = _listed(lacking)
        how = ",".join(sorted(name.lower() for name in lacking))
        hint = f"run as root, give the program file {how}+ep with setcap, or let a privileged process load it"
        return PrivilegeError(f"{what} is not permitted: this process lacks {names}", hint=hint)
    if not kernel.in_initial_user_namespace():
        return PrivilegeError(
            f"{what} is not permitted: in a user namespace capabilities do not count for bpf(2)",
            hint="use a BPF token (kernel 6.9, libbpf 1.4), or let a process outside the container load it",
        )
    level = kernel.lockdown()
    if level is not None and level != "none":
        return PrivilegeError(
            f"{what} is not permitted: the kernel is locked down ({level})",
            hint="lockdown comes with Secure Boot or lockdown= on the kernel's command line",
        )
    return PrivilegeError(
        f"{what} is not permitted, although no capability is missing",
        hint="look for a security module, a seccomp filter (containers have one) or lockdown; dmesg may say",
    )


def failed_call(what: str, error: OSError, wanted: Iterable[str] = ("CAP_BPF",)) -> HoldfastError:
    """Returns the error for a failed call that is no load (attach, pin, a map operation)."""
    number = error.errno or 0
    if number == errno.EPERM:
        return not_permitted(what, wanted)
    return LibbpfError(f"{what} failed: {errno_text(number)} ({_words(error)})", hint=_HINTS.get(number))


def _words(error: OSError) -> str:
    return str(error.strerror or error).rsplit(": ", 1)[-1]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _one_line(text: str) -> str:
    return " ".join(text.split())
