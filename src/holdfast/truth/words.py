# SPDX-License-Identifier: Apache-2.0
"""The class of a loader's and a verifier's last words: which reason codes they stand for.

Texts change from release to release, so a class is broad: the reason codes that it may stand for. The texts
were read in the sources that each line names and in logs of booted kernels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from holdfast.predict.codes import ReasonCode

__all__ = ["WordsClass", "agrees", "classify", "telling", "was_taken"]

R = ReasonCode


class WordsClass(StrEnum):
    """What refused a program, as its last words tell."""

    LOADED = "loaded"
    CORE = "core"
    KFUNC = "kfunc"
    KSYM = "ksym"
    KCONFIG = "kconfig"
    HELPER = "helper"
    TARGET = "target"
    STRUCT_OPS = "struct_ops"
    MAP = "map"
    SECTION = "section"
    LINK = "link"
    CONTEXT = "context"
    ACCESS = "access"
    RESULT = "result"
    HELD = "held"
    SLEEPABLE = "sleepable"
    LICENSE = "license"
    PRIVILEGE = "privilege"
    INSTRUCTION = "instruction"
    GLOBAL_FUNCTION = "global_function"
    KERNEL_BTF = "kernel_btf"
    TYPE = "type"
    SIZE = "size"
    OBJECT = "object"
    VERIFIER = "verifier"
    UNKNOWN = "unknown"


_MEANS: Final[dict[WordsClass, frozenset[ReasonCode]]] = {
    WordsClass.CORE: frozenset({R.CORE_MISSING, R.CORE_INVALID}),
    WordsClass.KFUNC: frozenset({R.KFUNC_MISSING, R.KFUNC_INCOMPATIBLE, R.KFUNC_NOT_ALLOWED}),
    WordsClass.KSYM: frozenset({R.KSYM_MISSING, R.KSYM_INCOMPATIBLE}),
    WordsClass.KCONFIG: frozenset({R.KCONFIG_MISSING, R.KCONFIG_INCOMPATIBLE}),
    WordsClass.HELPER: frozenset({R.HELPER_MISSING, R.HELPER_NOT_ALLOWED}),
    WordsClass.TARGET: frozenset({R.TARGET_MISSING, R.TARGET_UNSET, R.TARGET_REFUSED}),
    WordsClass.STRUCT_OPS: frozenset({R.STRUCT_OPS_MISSING, R.STRUCT_OPS_MISMATCH, R.STRUCT_OPS_UNUSED}),
    WordsClass.MAP: frozenset({R.MAP_TYPE_MISSING, R.MAP_INVALID}),
    WordsClass.SECTION: frozenset({R.SECTION_MISSING}),
    WordsClass.LINK: frozenset({R.LINK_FAILED}),
    WordsClass.CONTEXT: frozenset({R.CONTEXT_REFUSED}),
    WordsClass.ACCESS: frozenset({R.ACCESS_REFUSED}),
    WordsClass.RESULT: frozenset({R.RESULT_REFUSED}),
    # under a lock the call of a kfunc that is not there is refused as a call
    WordsClass.HELD: frozenset({R.HELD_REFUSED, R.KFUNC_MISSING}),
    # "x is not sleepable" is said of a target
    WordsClass.SLEEPABLE: frozenset({R.SLEEPABLE_REFUSED, R.TARGET_REFUSED}),
    WordsClass.LICENSE: frozenset({R.LICENSE_REFUSED}),
    WordsClass.PRIVILEGE: frozenset({R.CAPABILITY_MISSING, R.POLICY_DENIED}),
    WordsClass.INSTRUCTION: frozenset({R.INSTRUCTION_MISSING}),
    WordsClass.GLOBAL_FUNCTION: frozenset({R.INSTRUCTION_MISSING}),
    WordsClass.KERNEL_BTF: frozenset({R.KERNEL_BTF_MISSING}),
    # BPF_PROG_LOAD says EINVAL and nothing else to what it does not know.
    WordsClass.TYPE: frozenset({R.PROGRAM_TYPE_MISSING, R.ATTACH_TYPE_MISSING, R.SLEEPABLE_REFUSED}),
    WordsClass.SIZE: frozenset({R.TOO_LARGE}),
    WordsClass.OBJECT: frozenset({R.OBJECT_REFUSED, R.FOREIGN_ENDIAN, R.LINK_FAILED, R.SECTION_MISSING}),
}

# In this order: the first pattern that is found says the class. Verifier texts: kernel/bpf/verifier.c, btf.c
# of the trees 5.10 to 7.1, and what libbpf 1.7 puts in their place (fixup_log_*()); libbpf's: libbpf.c,
# relo_core.c of 1.7.
_VERIFIER: Final = (
    (
        WordsClass.CORE,
        r"unknown func.*#195896080|func unknown#195896080|invalid CO-RE relocation|call unknown#",
    ),
    (WordsClass.CORE, r"failed to resolve CO-RE relocation"),
    (
        WordsClass.KFUNC,
        r"calling kernel function|invalid kfunc call|kernel function .* is not allowed|#2002\d{6}",
    ),
    (WordsClass.KFUNC, r"metadata kfuncs require|requires RCU critical section"),
    (
        WordsClass.KFUNC,
        r"kfunc '.*' is referenced but wasn't resolved|does not support calling kernel function",
    ),
    (
        WordsClass.KSYM,
        r"invalid.*ldimm64.*(ksym|btf_id)|in ldimm64 isn't|unresolved ksym|address for kernel symbol|"
        r"#2001\d{6}",
    ),
    (WordsClass.SLEEPABLE, r"must be sleepable|is not sleepable|can(?:not)? be sleepable|sleepable kfunc"),
    (
        WordsClass.STRUCT_OPS,
        r"attach to (?:invalid|unsupported) member|is not a supported struct|struct_ops ",
    ),
    (WordsClass.LICENSE, r"non-GPL compatible|from non-GPL|GPL.compatible|must have a GPL"),
    (WordsClass.HELPER, r"unknown func|invalid func|cannot use helper|program of this type cannot use"),
    (WordsClass.HELPER, r"helper call is not allowed|function not allowed"),
    (WordsClass.PRIVILEGE, r"requires CAP_|CAP_SYS_ADMIN|pointer comparison prohibited"),
    (WordsClass.TARGET, r"attach to unsupported|is not a (?:function|typedef)|FENTRY|address of function"),
    (WordsClass.TARGET, r"could not be found|Attaching|attach_btf|can attach|modify return codes"),
    (WordsClass.TARGET, r"is not modifiable|attach program|attach_prog|points to disabled hook"),
    (WordsClass.TARGET, r"btf_id \d+ (?:is not|points)"),
    (WordsClass.GLOBAL_FUNCTION, r"Global function|[Aa]rg#\d+ .*(?:not supported|global)"),
    (WordsClass.GLOBAL_FUNCTION, r"Caller passes invalid args|functions? with|function .* with .* args"),
    (WordsClass.MAP, r"map '.*' wasn't created|invalid BPF map reference"),
    (WordsClass.MAP, r"cannot be used by|is not compatible with|maps? .*not.*(?:allowed|supported)"),
    (WordsClass.MAP, r"doesn't support|[Ss]leepable programs can only use|only (?:hash|array).*maps"),
    (WordsClass.MAP, r"kptr isn't referenced|has no valid kptr"),
    (WordsClass.MAP, r"cannot use bpf_(?:timer|spin_lock|list_head|rb_root)"),
    (WordsClass.ACCESS, r"access beyond (?:struct|the end of member)|doesn't have field at offset"),
    (WordsClass.ACCESS, r"cannot access ptr member|only read is supported|invalid negative access"),
    (WordsClass.ACCESS, r"invalid mem access '\w*or_null|no write support to|write access at off"),
    (WordsClass.RESULT, r"At (?:program exit|async callback|callback).*R\d"),
    (
        WordsClass.HELD,
        r"Unreleased reference|still needs release|would lead to reference leak|while holding a lock",
    ),
    (WordsClass.HELD, r"(?:spin_unlock|rcu_read_unlock|enable(?:\(s\))?) (?:is|are) missing"),
    (
        WordsClass.HELD,
        r"within (?:non-preemptible|rcu_read_lock|IRQ-disabled)|in (?:non-preemptible|rcu_read_lock)",
    ),
    (WordsClass.HELD, r"cannot be used inside|inside bpf_\w+-ed region"),
    (WordsClass.CONTEXT, r"invalid bpf_context access|invalid ctx access|dereference of modified ctx"),
    (WordsClass.CONTEXT, r"func '.*' (?:doesn't have|arg\d|size)|invalid access to context"),
    # until 6.12 convert_ctx_accesses() met members that is_valid_access() had let through so
    (WordsClass.CONTEXT, r"bpf verifier is misconfigured"),
    (WordsClass.INSTRUCTION, r"unknown opcode|uses reserved fields|unknown insn|invalid BPF_|unknown class"),
    (WordsClass.INSTRUCTION, r"back-edge|loop detected|tail_calls? (?:in|are|is) .*(?:not allowed|mixed)"),
    (
        WordsClass.INSTRUCTION,
        r"only (?:allowed|supported).*jit|JIT does not support|does not support.*atomic",
    ),
    (WordsClass.INSTRUCTION, r"BPF_(?:JMP|ALU) uses"),
    # a kernel that takes no function as a callback counts one that nothing else calls as too many
    (WordsClass.INSTRUCTION, r"number of funcs in func_info doesn't match"),
    (WordsClass.SIZE, r"too many|too large|program is too|combined stack|call stack of|jumps is too complex"),
)
_LIBBPF: Final = (
    (WordsClass.CORE, r"relo #\d+.*(?:failed|fatal)|failed to relocate CO-RE|CO-RE reloc"),
    (WordsClass.KFUNC, r"extern \(func ksym\)|kfunc '"),
    (WordsClass.KSYM, r"extern \((?:var )?ksym\)|extern '.*' \(strong\): not resolved|var ksym"),
    (WordsClass.KSYM, r"unresolved.*extern"),
    (WordsClass.KCONFIG, r"extern \(kcfg\)|kconfig|CONFIG_\w+"),
    (WordsClass.STRUCT_OPS, r"struct_ops"),
    (WordsClass.KERNEL_BTF, r"kernel BTF is missing|Error loading vmlinux BTF|valid kernel BTF"),
    (WordsClass.TARGET, r"failed to find kernel BTF type ID|BTF type ID of|no BTF attach|attach_prog_fd"),
    (WordsClass.TARGET, r"not found in kernel BTF|failed to find.*attach|BTF is not found"),
    (WordsClass.SECTION, r"missing BPF prog type|unrecognized|unexpected program type"),
    (WordsClass.SECTION, r"check ELF section name"),
    (WordsClass.MAP, r"map '.*': failed to (?:create|auto)|failed to create map|map .*:.*can't|inner map"),
    (WordsClass.PRIVILEGE, r"permission error|-EPERM|Operation not permitted"),
    (WordsClass.LINK, r"failed to relocate|sub-?program|bad (?:call|map) relo|no .*relocation"),
)
_NOISE: Final = re.compile(
    r"^(?:processed \d+|verification time|stack depth|max_states|insns_|\d+: |from \d+|;|R\d+(?:_[rw]+)?=|"
    r"func#|mark_precise|-- (?:BEGIN|END)|reg type unsupported for arg)|failed to load(?: object)?[: ]|"
    r"BPF program load failed|failed to prepare load attributes|elf: skipping|BEGIN PROG LOAD LOG"
)
_PROCESSED: Final = re.compile(r"processed [1-9]")
_LEAKS: Final = re.compile(r"reference leak|inside bpf_")  # a remark in 6.14, the words themselves later
_REMARK: Final = re.compile(r"^(?:Note, |BPF_EXIT instruction in )")  # follows the words that tell


def classify(loaded: bool, errno: int | None, libbpf: Sequence[str], verifier: Sequence[str]) -> WordsClass:
    """The class of what was said: ``libbpf`` and ``verifier`` are last lines, oldest first; ``errno``
    positive.

    VERIFIER is a refusal that comes from following values, UNKNOWN one of which nothing is known.
    """
    if loaded:
        return WordsClass.LOADED
    said = [line for line in _plain(verifier) if line.strip() and not _NOISE.search(line.strip())]
    while len(said) > 1 and _REMARK.search(said[-1]) and not _LEAKS.search(said[-1]):
        said.pop()
    for kind, pattern in _VERIFIER:
        if said and re.search(pattern, said[-1]):
            return kind
    # a verifier that looked at nothing and says nothing is BPF_PROG_LOAD refusing what the program is
    if said or any(_PROCESSED.match(line) for line in verifier):
        return WordsClass.VERIFIER
    for line in libbpf:
        if _NOISE.search(line):
            continue
        for kind, pattern in _LIBBPF:
            if re.search(pattern, line):
                return kind
    # libbpf_prepare_prog_load() says no more of an attach target that nobody named
    if any("failed to prepare load attributes" in line for line in libbpf):
        return WordsClass.TARGET
    if errno is None:
        return WordsClass.OBJECT
    return {
        1: WordsClass.PRIVILEGE,
        7: WordsClass.SIZE,
        22: WordsClass.TYPE,
        524: WordsClass.INSTRUCTION,
    }.get(errno, WordsClass.UNKNOWN)


_DIAGNOSIS: Final = re.compile(r"^Verification failed: ")
_MARKED: Final = re.compile(r"\^-- error: (.*)")
_PARTS: Final = re.compile(r"^(?:Reason|At|Causal path|Suggestion|Source context|Instruction context):$")


def _plain(verifier: Sequence[str]) -> Sequence[str]:
    """Without the diagnosis that 7.3 adds to some refusals (kernel/bpf/verifier.c, tree of 7.3): sections
    with the source, after the words that all kernels say. Where the log kept its end alone, what the
    diagnosis marks as the error.
    """
    for number, line in enumerate(verifier):
        if _DIAGNOSIS.search(line.strip()):
            return verifier[:number]
    if any(_PARTS.search(line.strip()) for line in verifier):
        marked = [found[1] for line in verifier if (found := _MARKED.search(line))]
        return marked[:1]
    return verifier


_SLOT: Final = re.compile(r"failed to initialize slot \[\d+\] to prog")


def was_taken(loaded: bool | None, libbpf: Sequence[str]) -> bool | None:
    """Whether the kernel took the program (BPF_PROG_LOAD), though libbpf may then have given up.

    libbpf fills PROG_ARRAY maps after it has loaded all programs (bpf_object_init_prog_arrays(), 1.7), and
    fails when another one, which is left out here, is to go into one. What the kernel said is what counts.
    """
    return True if loaded is False and any(_SLOT.search(line) for line in libbpf) else loaded


def telling(libbpf: Sequence[str], verifier: Sequence[str]) -> str:
    """The line of what was said that tells most; "" where none does."""
    said = list(reversed(_plain(verifier)))
    telling = [text for line in (*said, *libbpf) if (text := line.strip()) and not _NOISE.search(text)]
    return next((text for text in telling if not _REMARK.search(text)), next(iter(telling), ""))


def agrees(words: WordsClass, first: ReasonCode) -> bool | None:
    """Whether a first reason of that code is what these words say; None where they say too little."""
    means = _MEANS.get(words)
    return None if means is None else first in means
