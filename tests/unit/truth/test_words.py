# SPDX-License-Identifier: Apache-2.0
"""Last words as kernels 5.10 to 7.2 and libbpf 1.7 said them, and what they stand for."""

from __future__ import annotations

import pytest

from holdfast.predict.codes import ReasonCode
from holdfast.truth.words import WordsClass, agrees, classify, telling, was_taken

PROCESSED = "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0"
NOTHING = "processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0"

VERIFIER = [
    (22, "failed to resolve CO-RE relocation <byte_off> [349] struct rq.nr (0:1 @ offset 16)", "core"),
    (22, "kfunc 'hid_bpf_allocate_context' is referenced but wasn't resolved", "kfunc"),
    (13, "calling kernel function bpf_task_from_pid is not allowed", "kfunc"),
    (22, "unknown func bpf_get_socket_cookie#46", "helper"),
    (22, "program of this type cannot use helper bpf_get_socket_cookie#46", "helper"),
    (22, "invalid func unknown#177", "helper"),
    (13, "invalid bpf_context access off=80 size=8", "context"),
    (13, "dereference of modified ctx ptr R1 off=8 disallowed", "context"),
    (22, "bpf verifier is misconfigured", "context"),
    (22, "bpf_lsm_socket_connect is not sleepable", "sleepable"),
    (524, "attach to unsupported member get_info of struct tcp_congestion_ops", "struct_ops"),
    (22, "struct ops programs must have a GPL compatible license", "license"),
    (22, "unknown opcode d3", "instruction"),
    (22, "BPF_STX uses reserved fields", "instruction"),
    (22, "number of funcs in func_info doesn't match number of subprogs", "instruction"),
    (13, "combined stack size of 3 calls is 608. Too large", "size"),
    (22, "Arg#0 type PTR in foo() is not supported yet.", "global_function"),
    (22, "Caller passes invalid args into func#1 ('foo')", "global_function"),
    (22, "Sleepable programs can only use array and hash maps", "map"),
    (13, "R2 invalid mem access 'trusted_ptr_or_null_'", "access"),
    (22, "At program exit the register R0 has value (0x3; 0x0) should have been in (0x0; 0x1)", "result"),
    (22, "function calls are not allowed while holding a lock", "held"),
    (22, "At async callback return the register R0 has smin=1 smax=1 should have been in [0, 0]", "result"),
    (22, "Unreleased reference id=2 alloc_insn=18", "held"),
    (22, "bpf_spin_unlock is missing", "held"),
    (22, "2 bpf_preempt_enable(s) are missing", "held"),
    (22, "BPF_EXIT instruction in main prog would lead to reference leak", "held"),
    (22, "sleepable helper bpf_copy_from_user#148 in non-preemptible region", "held"),
    (13, "no write support to tcp_sock at off 464", "access"),
    (13, "invalid access to map value, value_size=16 off=16000 size=4", "verifier"),
]  # fmt: skip
LIBBPF = [
    (3, "prog 'p': failed to find kernel BTF type ID of 'hid_bpf_device_event': -ESRCH", "target"),
    (22, "extern (func ksym) 'bpf_xdp_flow_lookup': not found in kernel or module BTFs", "kfunc"),
    (22, "extern (var ksym) 'bpf_prog_active': not found in kernel BTF", "ksym"),
    (3, "extern 'bpf_testmod_fentry_test1' (strong): not resolved", "ksym"),
    (3, "struct_ops init_kern: struct bpf_struct_ops_hid_bpf_ops is not found in kernel BTF", "struct_ops"),
    (22, "map 'stackmap': failed to create: -EINVAL", "map"),
    (22, "prog 'bpf_prog1': missing BPF prog type, check ELF section name 'sk_msg1'", "section"),
    (22, "prog 'pfentry': failed to prepare load attributes: -EINVAL", "target"),
    (22, "prog 'p': BPF program load failed: -EINVAL", "type"),
    (9, "map 'jmp_table0': failed to initialize slot [0] to prog 'a' fd=-2: -EBADF", "unknown"),
]


@pytest.mark.parametrize(("errno", "line", "kind"), VERIFIER)
def test_the_verifiers_last_line_says_the_class(errno: int, line: str, kind: str) -> None:
    log = ["0: R1=ctx() R10=fp0", "; return 0;", "3: (85) call bpf_x#1", line, PROCESSED]
    said = ["prog 'p': BPF program load failed: -EINVAL", "failed to load object 'o'"]
    assert classify(False, errno, said, log) == kind
    assert telling(said, log) == line


@pytest.mark.parametrize(("errno", "line", "kind"), LIBBPF)
def test_without_a_log_libbpfs_lines_say_it(errno: int, line: str, kind: str) -> None:
    said = ["elf: skipping unrecognized data section(9) .x", line, "failed to load object 'o'"]
    assert classify(False, errno, said, []) == kind


def test_remarks_before_and_after_do_not_count() -> None:
    before = ["func 'x' doesn't have 4-th argument", "R1 type=ptr_ expected=fp, pkt, map_value", PROCESSED]
    assert classify(False, 13, [], before) is WordsClass.VERIFIER
    after = [
        "At program exit the register R0 has smin=0 smax=0 should have been in [1, 1]",
        "Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
        PROCESSED,
    ]
    assert classify(False, 22, [], after) is WordsClass.RESULT


def test_a_verifier_that_looked_at_nothing_leaves_it_to_the_errno() -> None:
    assert classify(False, 22, [], [NOTHING]) is WordsClass.TYPE
    assert classify(False, 1, [], []) is WordsClass.PRIVILEGE
    assert classify(False, None, [], []) is WordsClass.OBJECT
    assert classify(True, None, ["whatever"], []) is WordsClass.LOADED


def test_what_words_stand_for() -> None:
    assert agrees(WordsClass.KFUNC, ReasonCode.KFUNC_MISSING) is True
    assert agrees(WordsClass.KFUNC, ReasonCode.MAP_INVALID) is False
    assert agrees(WordsClass.SLEEPABLE, ReasonCode.TARGET_REFUSED) is True
    assert agrees(WordsClass.VERIFIER, ReasonCode.KFUNC_MISSING) is None
    assert agrees(WordsClass.UNKNOWN, ReasonCode.KFUNC_MISSING) is None


def test_a_program_counts_as_taken_when_libbpf_gives_up_after_it() -> None:
    slot = "map 'm': failed to initialize slot [0] to prog 'other' fd=-2: -EBADF"
    assert was_taken(False, [slot]) is True
    assert was_taken(False, ["map 'm': failed to create"]) is False
    assert was_taken(None, [slot]) is None


DIAGNOSIS = [
    "Verification failed: Register Type Safety: Invalid dereference",
    "Reason:",
    "  R0 may be NULL here (a nullable memory pointer).",
    "At:",
    "      | ^-- error: owned resource (id=2) still needs release",
    "Suggestion:",
    "  Add a NULL check before the access.",
]


def test_the_diagnosis_of_7_3_is_not_taken_for_the_words() -> None:
    said = ["R0 invalid mem access 'ringbuf_mem_or_null'", *DIAGNOSIS]
    assert classify(False, 13, [], said) is WordsClass.ACCESS
    assert telling([], said) == said[0]


def test_of_a_diagnosis_whose_beginning_is_lost_the_marked_error_tells() -> None:
    assert classify(False, 22, [], DIAGNOSIS[3:]) is WordsClass.HELD
    assert classify(False, 22, [], [*DIAGNOSIS[5:], PROCESSED]) is WordsClass.VERIFIER
