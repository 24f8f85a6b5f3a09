# SPDX-License-Identifier: Apache-2.0
"""Program types and map types: what they ask, and how that changed."""

from __future__ import annotations

import pytest
from tests.unit.rules.era import Era

from holdfast.rules import map_fields, map_types, map_use, program_types
from holdfast.rules.ask import Allowed, Nothing, Sign
from holdfast.rules.helpers import helper_number
from holdfast.rules.map_fields import Field
from holdfast.rules.map_types import Flag
from holdfast.terms import AttachType, MapType, ProgramType

YES, NO, UNKNOWN = Allowed.YES, Allowed.NO, Allowed.UNKNOWN


def test_every_type_but_unspec_has_a_rule() -> None:
    assert {program_types.rule(kind).type for kind in ProgramType if kind} == set(ProgramType) - {
        ProgramType.UNSPEC
    }
    assert [kind.name for kind in MapType if map_types.rule(kind) is None] == ["UNSPEC"]


def test_ctx_convert_tells_what_is_compiled_in() -> None:
    convert = Sign.struct("bpf_ctx_convert")
    kernel = Era(6, 12, extra=(convert, Sign.member("bpf_ctx_convert", "BPF_PROG_TYPE_XDP_prog")))
    assert program_types.compiled_in(ProgramType.XDP, kernel).allowed is YES
    ruling = program_types.compiled_in(ProgramType.LIRC_MODE2, kernel)
    assert (ruling.allowed, ruling.why) == (
        NO,
        "the kernel is built without program type LIRC_MODE2 (CONFIG_BPF_LIRC_MODE2)",
    )
    assert program_types.compiled_in(ProgramType.XDP, Nothing()).allowed is UNKNOWN


@pytest.mark.parametrize(
    ("kind", "attach", "allowed"),
    [
        (ProgramType.CGROUP_SOCK, None, YES),
        (ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET4_BIND, NO),
        (ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS, YES),
        (ProgramType.SK_LOOKUP, None, NO),
        (ProgramType.SYSCALL, AttachType.TRACE_ITER, NO),
        (ProgramType.XDP, AttachType.XDP_DEVMAP, YES),
        (ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI, YES),
    ],
)
def test_expected_attach_types(kind: ProgramType, attach: AttachType | None, allowed: Allowed) -> None:
    assert program_types.attach_type_accepted(kind, attach, Era(6, 12)).allowed is allowed


def test_types_without_a_switch_take_attach_types_that_are_not_there_yet() -> None:
    accepted = program_types.attach_type_accepted
    assert accepted(ProgramType.SCHED_CLS, AttachType.TCX_INGRESS, Era(6, 1)).allowed is YES
    assert accepted(ProgramType.LSM, AttachType.LSM_CGROUP, Era(5, 10)).allowed is NO
    assert accepted(ProgramType.TRACING, AttachType.TRACE_FSESSION, Era(6, 1)).allowed is NO


@pytest.mark.parametrize(
    ("kind", "attach", "release", "allowed"),
    [
        (ProgramType.KPROBE, None, (5, 10), NO),
        (ProgramType.KPROBE, None, (5, 19), UNKNOWN),
        (ProgramType.KPROBE, None, (6, 1), YES),
        (ProgramType.STRUCT_OPS, None, (6, 1), NO),
        (ProgramType.STRUCT_OPS, None, (6, 12), YES),
        (ProgramType.TRACEPOINT, None, (6, 18), NO),
        (ProgramType.TRACEPOINT, None, (7, 1), YES),
        (ProgramType.XDP, None, (7, 1), NO),
        (ProgramType.TRACING, AttachType.TRACE_FENTRY, (5, 10), YES),
        (ProgramType.LSM, AttachType.LSM_CGROUP, (7, 1), NO),
    ],
)
def test_sleepable(
    kind: ProgramType, attach: AttachType | None, release: tuple[int, int], allowed: Allowed
) -> None:
    assert program_types.sleepable_accepted(kind, attach, True, Era(*release)).allowed is allowed
    assert program_types.sleepable_accepted(kind, attach, False, Era(*release)).allowed is YES


def test_syscall_programs_must_be_sleepable() -> None:
    assert program_types.sleepable_accepted(ProgramType.SYSCALL, None, False, Era(6, 12)).allowed is NO


def test_return_ranges() -> None:
    kernel = Era(6, 12)
    ranges = program_types.return_range
    assert ranges(ProgramType.TRACING, AttachType.TRACE_FENTRY, kernel) == (0, 0)
    assert ranges(ProgramType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS, kernel) == (0, 3)
    assert ranges(ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP4_RECVMSG, kernel) == (1, 1)
    assert ranges(ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_BIND, kernel) == (0, 3)
    assert ranges(ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_BIND, Era(5, 10)) == (0, 1)
    assert ranges(ProgramType.XDP, None, kernel) is None
    assert ranges(ProgramType.KPROBE, None, kernel) is None


def test_licences() -> None:
    assert program_types.licence_accepted(ProgramType.LSM, False).allowed is NO
    assert program_types.licence_accepted(ProgramType.XDP, False).allowed is YES


def test_kfunc_hooks() -> None:
    assert program_types.kfunc_hook(ProgramType.LSM, Era(6, 1))[0] == "TRACING"
    hook, ruling = program_types.kfunc_hook(ProgramType.TRACEPOINT, Era(6, 1))
    assert (hook, ruling.allowed) == (None, NO)
    hook, ruling = program_types.kfunc_hook(ProgramType.TRACEPOINT, Era(6, 8))
    assert (hook, ruling.allowed) == ("TRACING", UNKNOWN)
    assert program_types.kfunc_hook(ProgramType.RAW_TRACEPOINT, Era(7, 1))[0] == "TRACING"
    own = Sign.value("btf_kfunc_hook", "BTF_KFUNC_HOOK_NETFILTER")
    assert program_types.kfunc_hook(ProgramType.NETFILTER, Era(6, 6, extra=(own,)))[1].allowed is YES


def test_lirc_lost_a_capability() -> None:
    assert "CAP_NET_ADMIN" in program_types.capabilities(ProgramType.LIRC_MODE2, Era(6, 1))
    assert "CAP_NET_ADMIN" not in program_types.capabilities(ProgramType.LIRC_MODE2, Era(6, 12))


def test_map_shapes() -> None:
    kernel = Era(6, 12)
    assert map_types.problems(MapType.HASH, 4, 8, 10, 0, kernel) == ()
    (only,) = map_types.problems(MapType.RINGBUF, 0, 0, 5000, 0, kernel)
    assert only.why.startswith("RINGBUF needs max_entries (bytes) to be a power of 2")
    assert (
        map_types.problems(MapType.LPM_TRIE, 8, 8, 10, 0, kernel)[0].why
        == "LPM_TRIE needs flag BPF_F_NO_PREALLOC"
    )
    assert (
        map_types.problems(MapType.TASK_STORAGE, 4, 8, 0, Flag.NO_PREALLOC, kernel, has_btf=False)[0].allowed
        is NO
    )
    assert map_types.problems(MapType.RHASH, 4, 8, 1, 0, kernel)[0].allowed is NO


def test_map_shapes_that_changed() -> None:
    long_key = (MapType.HASH, 600, 8, 10, 0)
    assert map_types.problems(*long_key, Era(5, 10))[0].allowed is NO
    assert map_types.problems(*long_key, Era(5, 15))[0].allowed is UNKNOWN
    assert map_types.problems(*long_key, Era(6, 1)) == ()
    overwrite = (MapType.RINGBUF, 0, 0, 4096, int(Flag.RB_OVERWRITE))
    assert map_types.problems(*overwrite, Era(6, 18))[0].allowed is NO
    assert map_types.problems(*overwrite, Era(7, 1)) == ()


def test_sizes_of_values() -> None:
    def allowed(kind: MapType, key: int, value: int, kernel: Era, flags: int = 0) -> list[Allowed]:
        entries = 0 if kind is MapType.CGROUP_STORAGE else 1
        return [one.allowed for one in map_types.problems(kind, key, value, entries, flags, kernel)]

    assert allowed(MapType.ARRAY, 4, 16 << 20, Era(5, 10)) == [NO]
    assert allowed(MapType.ARRAY, 4, 16 << 20, Era(5, 15)) == [UNKNOWN]
    assert allowed(MapType.ARRAY, 4, 16 << 20, Era(6, 1)) == []
    assert allowed(MapType.ARRAY, 4, 4 << 20, Era(5, 10)) == []
    assert allowed(MapType.CGROUP_STORAGE, 8, 8192, Era(5, 10)) == [NO]
    assert allowed(MapType.CGROUP_STORAGE, 8, 8192, Era(6, 1)) == []
    assert allowed(MapType.HASH, 4, 4 << 20, Era(7, 1)) == [NO]
    assert allowed(MapType.RHASH, 4, 4, Era(7, 2), Flag.NO_PREALLOC) == []
    assert allowed(MapType.RHASH, 4, 4, Era(7, 2)) == [NO]
    assert allowed(MapType.RHASH, 1 << 16, 4, Era(7, 2), Flag.NO_PREALLOC) == [NO]
    assert map_fields.map_takes(Field.KPTR, MapType.RHASH, Era(7, 2)).allowed is YES


def test_helpers_take_some_maps() -> None:
    def takes(
        helper: str, kind: MapType, program: ProgramType = ProgramType.XDP, release: int = 12
    ) -> Allowed:
        number = helper_number(helper)
        assert number is not None
        return map_use.helper_takes(number, kind, program, None, Era(6, release)).allowed

    assert takes("map_lookup_elem", MapType.HASH) is YES
    assert takes("map_lookup_elem", MapType.PROG_ARRAY) is NO
    assert takes("redirect_map", MapType.HASH) is NO
    assert takes("redirect_map", MapType.DEVMAP) is YES
    assert takes("map_update_elem", MapType.SOCKMAP, ProgramType.SK_LOOKUP) is YES
    assert takes("map_update_elem", MapType.SOCKMAP, ProgramType.SOCK_OPS) is NO
    assert takes("map_delete_elem", MapType.SOCKMAP, ProgramType.SOCK_OPS) is YES
    assert takes("kptr_xchg", MapType.SK_STORAGE, release=1) is NO
    assert takes("kptr_xchg", MapType.SK_STORAGE) is YES


def test_programs_take_some_maps() -> None:
    def objections(
        kind: MapType, program: ProgramType, sleepable: bool, kernel: Era, flags: int = 0
    ) -> list[Allowed]:
        return [ruling.allowed for ruling in map_use.program_takes(kind, flags, program, sleepable, kernel)]

    kprobe = ProgramType.KPROBE
    assert objections(MapType.PERCPU_ARRAY, kprobe, True, Era(5, 10)) == [NO]
    assert objections(MapType.PERCPU_ARRAY, kprobe, True, Era(6, 1)) == []
    assert objections(MapType.PROG_ARRAY, kprobe, True, Era(6, 18)) == [NO]
    assert objections(MapType.PROG_ARRAY, kprobe, True, Era(7, 1)) == []
    no_prealloc = int(Flag.NO_PREALLOC)
    assert objections(MapType.HASH, ProgramType.PERF_EVENT, False, Era(5, 10), no_prealloc) == [NO]
    assert objections(MapType.HASH, ProgramType.PERF_EVENT, False, Era(6, 1), no_prealloc) == []
    assert objections(MapType.STRUCT_OPS, kprobe, False, Era(6, 1)) == [NO]


def test_fields_of_values() -> None:
    lock = Era(6, 12, extra=(Sign.struct("bpf_spin_lock"),))
    assert map_fields.map_takes(Field.SPIN_LOCK, MapType.HASH, lock).allowed is YES
    assert map_fields.map_takes(Field.SPIN_LOCK, MapType.LRU_HASH, lock).allowed is NO
    timer = Era(5, 15, extra=(Sign.struct("bpf_timer"),))
    assert map_fields.map_takes(Field.TIMER, MapType.ARRAY, timer).allowed is YES
    assert map_fields.map_takes(Field.TIMER, MapType.ARRAY, Era(5, 10)).allowed is YES  # plain bytes there
    extra = (Sign.struct("bpf_spin_lock"), Sign.struct("bpf_timer"))
    kprobe, takes = ProgramType.KPROBE, map_fields.program_takes
    assert takes(Field.SPIN_LOCK, kprobe, False, Era(6, 12, extra=extra)).allowed is NO
    assert takes(Field.TIMER, kprobe, False, Era(6, 18, extra=extra)).allowed is NO
    assert takes(Field.TIMER, kprobe, False, Era(7, 1, extra=extra)).allowed is YES
    assert takes(Field.TIMER, kprobe, False, Era(5, 10)).allowed is YES  # plain bytes there
    assert takes(Field.SPIN_LOCK, ProgramType.XDP, True, Era(6, 1, extra=extra)).allowed is NO


def test_frames_in_several_buffers() -> None:
    new = Era(5, 18, extra=(Sign.member("bpf_prog_aux", "xdp_has_frags"),))
    assert program_types.frags_accepted(Era(5, 10)).allowed is NO
    assert program_types.frags_accepted(new).allowed is YES
    assert program_types.frags_accepted(Nothing()).allowed is YES
