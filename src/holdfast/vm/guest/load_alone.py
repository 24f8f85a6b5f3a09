# SPDX-License-Identifier: Apache-2.0
"""One program of an object into the kernel, as veristat does it: nothing else of the object is loaded."""

from __future__ import annotations

import errno
import time
from typing import Any

from holdfast import sys as kernel
from holdfast.errors import HoldfastError, LoadError, ObjectFileError, PrivilegeError, UsageError
from holdfast.libbpf import Messages
from holdfast.load.failure import program_logs
from holdfast.load.session import Session
from holdfast.load.verifier_log import VerifierLog

__all__ = ["load_alone"]

_LINES = 40  # kept of libbpf's words and of the verifier's
_WIDTH = 1000  # characters of a line
_PAUSES = (0.2, 0.5, 1.0, 3.0)  # seconds
_BPF_LOG_STATS = 4


def load_alone(name: str, content: bytes, program: str) -> dict[str, Any]:
    """Return how loading this program alone ended; nothing stays in the kernel.

    Maps left at 0 entries get one, declared pins are not made, members of struct_ops maps that are other
    programs are NULL. The result has ``program``; ``loaded``; ``stage``: "loaded", "load" where the load was
    refused, "open" where libbpf did not take the object, "choose" where it has no such program (then
    ``loaded`` is None); ``errno``: positive, libbpf's own from 4000 on, None where libbpf kept it to itself;
    ``error``: the one line that users see; ``libbpf`` and ``verifier``: last lines of each;
    ``processed_insns``; ``verifier_insn`` and ``source``: where the verifier stopped; ``seconds`` and
    ``retries``.
    """
    start = time.monotonic()
    row = _try(name, content, program)
    retries = 0
    # The kernel frees the maps of programs before this one later, in a worker (bpf_map_free_deferred()).
    while row["errno"] == errno.ENOMEM and retries < len(_PAUSES):
        time.sleep(_PAUSES[retries])
        retries += 1
        row = _try(name, content, program)
    if row["loaded"] and not row["processed_insns"]:
        row["processed_insns"] = _counted(name, content, program)
    return row | {"seconds": round(time.monotonic() - start, 3), "retries": retries}


def _try(name: str, content: bytes, program: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "program": program, "loaded": False, "stage": "open", "errno": None, "error": "", "libbpf": [],
        "verifier": [], "processed_insns": None, "verifier_insn": None, "source": None,
    }  # fmt: skip
    try:
        with Session(content, name=name, programs=[program]) as session:
            row["stage"] = "load"
            try:
                _alone(session, program)
                found = session.load().programs.get(program)
                row["loaded"] = found is not None
                row["stage"] = "loaded" if found else "load"
                insns = kernel.prog_info(found.fd).verified_insns if found else None
            finally:
                row |= _words(session.messages, program)
            row["processed_insns"] = insns
    except UsageError as error:
        row |= {"loaded": None, "stage": "choose", "error": error.message}
    except ObjectFileError as error:
        row["error"] = error.message
    except (LoadError, PrivilegeError) as error:
        row["error"] = error.message
        row["errno"] = error.errno if isinstance(error, LoadError) else errno.EPERM
    return row


def _alone(session: Session, program: str) -> None:
    session.size_zero_maps()
    session.keep_members([program])


def _words(messages: Messages, program: str) -> dict[str, Any]:
    log = VerifierLog.parse(program_logs(messages).get(program, ""))
    said = [text for text in messages.warnings() if "-- BEGIN PROG LOAD LOG --" not in text]
    return {
        "libbpf": _last("\n".join(said)),
        "verifier": _last(log.tail(_LINES)),
        "processed_insns": log.processed_insns,
        "verifier_insn": log.insn,
        "source": log.source,
    }


def _last(text: str) -> list[str]:
    return [line[:_WIDTH] for line in text.splitlines() if line.strip()][-_LINES:]


def _counted(name: str, content: bytes, program: str) -> int | None:
    """Return how many instructions the verifier looked at, for kernels before 5.16, which do not keep it."""
    try:
        with Session(content, name=name, programs=[program], kernel_log_level=_BPF_LOG_STATS) as session:
            _alone(session, program)
            return VerifierLog.parse(session.load().program(program).verifier_log).processed_insns
    except HoldfastError:
        return None
