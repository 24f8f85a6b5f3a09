# SPDX-License-Identifier: Apache-2.0
"""Facts of the running kernel, cold and from the cache."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from holdfast import sys as kernel
from holdfast.errors import KernelAccessError
from holdfast.kernels import HelperUse, KernelFacts, KfuncUse, Wanted, live
from holdfast.kernels import probe as probing
from holdfast.kernels.cache import Cache
from holdfast.kernels.select import select
from holdfast.terms import AttachType, Evidence, ProgramType

pytestmark = pytest.mark.live

WANTED = Wanted(
    program_types=frozenset({ProgramType.XDP}),
    helpers=frozenset({HelperUse(1, ProgramType.XDP), HelperUse(26, ProgramType.XDP)}),
    kfuncs=frozenset({KfuncUse("vfs_read", ProgramType.XDP)}),
)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "holdfast")


@functools.cache
def running_kernel() -> KernelFacts:
    return live.facts(cache=Cache(None))


def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Program types of all loads from here on."""
    seen: list[int] = []
    real = kernel.prog_load

    def prog_load(prog_type: int, *args: object, **more: object) -> kernel.RawLoad:
        seen.append(prog_type)
        return real(prog_type, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(kernel, "prog_load", prog_load)
    return seen


def test_the_running_kernel(cache: Cache) -> None:
    facts = live.facts(cache=cache)
    assert facts.id == f"live/{os.uname().release}"
    assert facts.arch == os.uname().machine
    assert facts.vmlinux is not None
    assert facts.vmlinux.data == Path("/sys/kernel/btf/vmlinux").read_bytes()
    assert facts.has_type("task_struct").value is True
    assert facts.host is not None
    assert "CAP_BPF" in facts.host.capabilities
    assert facts.host.capable("CAP_BPF")
    assert facts.symbol("vfs_read").value is True
    assert facts.symbol("holdfast_no_such_symbol").value is False
    if facts.config is not None:
        assert facts.config_enabled("CONFIG_BPF_SYSCALL").value is True
    loaded = Path("/proc/modules")
    lines = loaded.read_text().splitlines() if loaded.exists() else []
    assert facts.module_names == {line.split()[0] for line in lines}
    assert set(facts.modules) == {one.name for one in Path("/sys/kernel/btf").iterdir()} - {"vmlinux"}


def test_without_a_request_nothing_is_loaded(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = loads(monkeypatch)
    facts = live.facts(cache=cache)
    assert facts.probes is None
    assert facts.helper(1, ProgramType.XDP).value is None
    assert seen == []


def test_answers_are_kept_and_only_what_lacks_is_asked(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = live.facts(WANTED, cache=cache)
    assert first.helper(1, ProgramType.XDP).value is True
    assert first.helper(26, ProgramType.XDP).value is False
    assert first.kfunc_callable("vfs_read", ProgramType.XDP).value is False
    seen = loads(monkeypatch)
    again = live.facts(WANTED, cache=cache)
    assert seen == []
    assert again.probes == first.probes
    assert again.helper(1, ProgramType.XDP).evidence is Evidence.PROBE
    # What is kept does not change what somebody is told who did not ask.
    assert live.facts(cache=cache).probes is None
    live.facts(WANTED | Wanted(program_types=frozenset({ProgramType.SCHED_CLS})), cache=cache)
    assert ProgramType.SCHED_CLS in seen
    assert ProgramType.XDP not in seen


def test_answers_of_other_surroundings_are_not_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    live.facts(WANTED, cache=cache)
    monkeypatch.setattr(kernel, "capabilities", lambda: frozenset({"CAP_BPF", "CAP_NET_ADMIN"}))
    seen = loads(monkeypatch)
    live.facts(WANTED, cache=cache)
    assert ProgramType.XDP in seen


def test_the_index_from_the_cache_is_the_same(cache: Cache) -> None:
    cold = live.facts(cache=cache).vmlinux
    warm = live.facts(cache=cache).vmlinux
    assert cold is not None
    assert warm is not None
    assert isinstance(warm.index.by_name, memoryview)
    assert list(warm.index.offsets) == list(cold.index.offsets)
    assert list(warm.index.name_offs) == list(cold.index.name_offs)
    assert list(warm.index.by_name) == list(cold.index.by_name)


def test_a_damaged_cache_is_made_anew(cache: Cache) -> None:
    live.facts(WANTED, cache=cache)
    assert cache.path is not None
    files = list(cache.path.iterdir())
    assert {file.suffix for file in files} == {".index", ".probes"}
    sound = {file: file.read_bytes() for file in files}
    for file in files:
        data = bytearray(sound[file])
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    facts = live.facts(WANTED, cache=cache)
    assert facts.has_type("task_struct").value is True
    assert facts.helper(26, ProgramType.XDP).value is False
    assert {file: file.read_bytes() for file in files} == sound


def test_without_btf_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(live, "_BTF", tmp_path)
    with pytest.raises(KernelAccessError) as caught:
        live.facts(cache=Cache(None))
    assert "CONFIG_DEBUG_INFO_BTF" in (caught.value.hint or "")


def test_without_cap_bpf_nothing_is_asked_and_that_is_said(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "missing", lambda wanted: wanted)
    seen = loads(monkeypatch)
    facts = live.facts(WANTED, cache=cache)
    assert facts.probes is not None
    assert "CAP_BPF" in facts.probes.obstacle
    assert facts.helper(26, ProgramType.XDP).value is None
    assert seen == []
    assert cache.path is not None
    assert not list(cache.path.glob("*.probes"))


def test_selecting_the_running_kernel_twice_reads_it_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    release = os.uname().release
    assert [one.id for one in select(["live", f"live/{release}"])] == [f"live/{release}"]
    first, *others = select(["live", "all"])
    assert first.id == f"live/{release}"
    assert others and not any(one.source == "live" for one in others)


@pytest.mark.parametrize(
    ("name", "use", "answer"),
    [
        ("a kfunc of every type", KfuncUse("bpf_dynptr_slice", ProgramType.SOCKET_FILTER), True),
        ("no kfunc", KfuncUse("kfree", ProgramType.SOCKET_FILTER), False),
        ("absent", KfuncUse("holdfast_no_such_kfunc", ProgramType.XDP), False),
        # Stops before the call with "metadata kfuncs require device-bound program".
        ("device-bound", KfuncUse("bpf_xdp_metadata_rx_hash", ProgramType.XDP), None),
        # A target of fmod_ret with the tag of a kfunc.
        ("tagged", KfuncUse("bpf_modify_return_test", ProgramType.SYSCALL), False),
        # Registered for TRACING with tracing_iter_filter.
        ("iter", KfuncUse("bpf_sock_destroy", ProgramType.TRACING, AttachType.TRACE_ITER), True),
        ("raw_tp", KfuncUse("bpf_sock_destroy", ProgramType.TRACING, AttachType.TRACE_RAW_TP), False),
        # KF_SLEEPABLE: the hook admits it, a program that may not sleep does not get it.
        ("sleeps", KfuncUse("bpf_lookup_user_key", ProgramType.TRACING), True),
        ("sleeps", KfuncUse("bpf_lookup_user_key", ProgramType.TRACING, AttachType.TRACE_ITER, True), True),
        ("awake", KfuncUse("bpf_lookup_user_key", ProgramType.TRACING, AttachType.TRACE_ITER, False), False),
        ("awake", KfuncUse("bpf_dynptr_slice", ProgramType.TRACING, AttachType.TRACE_ITER, False), True),
        ("no target program", KfuncUse("bpf_dynptr_slice", ProgramType.EXT), None),
    ],
)
def test_traps_of_kfunc_probes(name: str, use: KfuncUse, answer: bool | None) -> None:
    facts = running_kernel()
    if use.name.startswith("bpf_") and facts.has_func(use.name).value is False:
        pytest.skip(f"this kernel has no {use.name}")
    asked = probing.probe(Wanted(kfuncs=frozenset({use})), facts.vmlinux)
    assert asked.kfuncs[use] is answer
