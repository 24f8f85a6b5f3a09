# SPDX-License-Identifier: Apache-2.0
"""Carrying out plans on the running kernel: what runs, why nothing better does, and that nothing is left."""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.live.bundle.bundles import SOURCES, allow_all
from tests.live.bundle.conftest import Build
from tests.live.load.objects import STRUCT_OPS, compile_object, gone

from holdfast import load
from holdfast import sys as kernel
from holdfast.bundle import Bundle
from holdfast.errors import (
    InterfaceMismatchError,
    LibbpfError,
    ManifestError,
    PrivilegeError,
    UsageError,
)
from holdfast.kernels import KernelFacts, live
from holdfast.libbpf import library
from holdfast.load import runner
from holdfast.load.outcome import NoVariantError, StepResult
from holdfast.load.runner import run
from holdfast.terms import Verdict

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

RUNS, SKIPPED, REFUSED, NOT_TRIED = StepResult


@pytest.fixture(scope="module")
def here() -> KernelFacts:
    return live.facts()


def results(outcome: runner.Outcome) -> list[tuple[str, StepResult]]:
    return [(one.variant, one.result) for one in outcome.steps]


def test_the_best_variant_runs(build: Build, here: KernelFacts) -> None:
    with run(build("good", "refused"), facts=here, check=allow_all) as outcome:
        assert outcome.variant == "good"
        assert not outcome.is_fallback
        assert outcome.fallback is None
        assert results(outcome) == [("good", RUNS), ("refused", NOT_TRIED)]
        outcome.map("config").update(0, struct.pack("=II", 42, 0))
        program = outcome.program("steer")
        assert program.test_run(bytes(64)).return_value == 42
        number = program.id
        assert "variant 'good' runs" in outcome.explain()
        told = outcome.to_dict()
        assert told["programs"] == {"steer": {"id": number, "fd": program.fd}}
    assert outcome.closed
    assert gone("prog", number)
    with pytest.raises(UsageError, match="the outcome is closed"):
        outcome.program("steer")


def test_a_refused_variant_keeps_the_verifiers_words(build: Build, here: KernelFacts) -> None:
    with run(build("refused", "good"), facts=here, check=allow_all) as outcome:
        assert results(outcome) == [("refused", REFUSED), ("good", RUNS)]
        refused = outcome.steps[0]
        assert refused.error == "VerifierError"
        assert "invalid mem access 'scalar'" in (refused.words or "")
        assert "invalid mem access" in refused.log
        assert "1. refused  refused: " in outcome.explain()
        # Only what runs is in the kernel: no second map of that name in this process.
        held = [one for one in _held() if one[0] in ("prog_id", "map_id")]
        assert len({number for kind, number in held if kind == "prog_id"}) == 1
        assert len({number for kind, number in held if kind == "map_id"}) == 1


def test_what_cannot_load_is_not_tried(
    build: Build, here: KernelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    class Watched(load.Session):
        def __init__(self, source: bytes, *, name: str, programs: tuple[str, ...]) -> None:
            opened.append(Path(name).name)
            super().__init__(source, name=name, programs=programs)

    monkeypatch.setattr(runner, "Session", Watched)
    with run(build("newer", "good"), facts=here) as outcome:
        assert results(outcome) == [("newer", SKIPPED), ("good", RUNS)]
        assert outcome.steps[0].verdict is Verdict.FAILS
        assert "holdfast_no_such_kfunc" in outcome.explain()
    assert opened == ["good.bpf.o"]


def test_the_kernel_says_the_same_of_what_was_skipped(build: Build, here: KernelFacts) -> None:
    with run(build("newer"), facts=here, check=allow_all) as outcome:
        assert results(outcome) == [("newer", REFUSED)]
        assert "holdfast_no_such_kfunc" in outcome.explain()


def test_the_fallback_is_resolved_when_it_is_wanted(build: Build, here: KernelFacts) -> None:
    with run(build("refused"), facts=here, check=allow_all) as outcome:
        assert outcome.is_fallback
        assert outcome.variant is None
        assert outcome.fallback is SOURCES
        assert "the fallback 'user-space' does the job: the application does it" in outcome.explain()
        assert outcome.to_dict()["fallback"] is True
        assert outcome.programs == {} and outcome.maps == {}
        for use in (lambda: outcome.program("steer"), lambda: outcome.map("config"), outcome.disown):
            with pytest.raises(UsageError, match="no variant runs here"):
                use()


@pytest.mark.parametrize("entry", ["holdfast_no_such_module:x", "tests.live.bundle.bundles:nothing"])
def test_a_fallback_that_is_not_there(build: Build, here: KernelFacts, entry: str) -> None:
    folder = build("refused")
    file = folder / "holdfast.toml"
    file.write_text(file.read_text().replace("tests.live.bundle.bundles:SOURCES", entry))
    with run(folder, facts=here, check=allow_all) as outcome:
        with pytest.raises(ManifestError, match=r"\[fallback\] python") as caught:
            _ = outcome.fallback
        assert caught.value.hint


def test_no_variant_and_no_fallback_is_an_error(build: Build, here: KernelFacts) -> None:
    with pytest.raises(NoVariantError) as caught:
        run(build("newer", "refused", fallback=False), facts=here, check=allow_all)
    error = caught.value
    assert "no variant runs here, and there is no fallback; 'refused': " in str(error)
    assert [one.result for one in error.steps] == [REFUSED, REFUSED]
    assert "holdfast_no_such_kfunc" in error.log
    assert not _held()


def test_links_are_made_where_the_manifest_says(build: Build, here: KernelFacts) -> None:
    folder = build("watching", kind="RAW_TRACEPOINT", attach="auto")
    with run(folder, facts=here, check=allow_all) as outcome:
        link = outcome.link("steer")
        assert kernel.link_info(link.fd).prog_id == outcome.program("steer").id
        number = link.id
        with pytest.raises(UsageError, match="no link 'other'"):
            outcome.link("other")
    assert gone("link", number)


def test_what_cannot_attach_is_unloaded_and_the_next_runs(build: Build, here: KernelFacts) -> None:
    folder = build("nowhere", "watching", kind="RAW_TRACEPOINT", attach="auto")
    with run(folder, facts=here, check=allow_all) as outcome:
        assert results(outcome) == [("nowhere", REFUSED), ("watching", RUNS)]
        assert "attaching program 'steer'" in (outcome.steps[0].words or "")
        assert (
            len([one for one in _held() if one[0] == "prog_id"]) <= 3
        )  # program, link, and libbpf's own copy
        numbers = {number for kind, number in _held() if kind == "prog_id"}
        assert numbers == {outcome.program("steer").id}
    assert not _held()


def test_a_struct_ops_map_brings_its_programs(
    need_tool: Callable[[str], str], tmp_path: Path, here: KernelFacts
) -> None:
    if library().version < (1, 2):
        pytest.skip(f"{library()} does not know .struct_ops.link")
    compile_object(need_tool("clang"), STRUCT_OPS, tmp_path, "cc")
    (tmp_path / "holdfast.toml").write_text(
        '[bundle]\nname = "test/ops"\nversion = "1"\n[interface.maps.holdfast_cc]\n'
        'type = "STRUCT_OPS"\n'
        'attach = "auto"\nvalue = "struct tcp_congestion_ops"\n'
        '[[variant]]\nname = "cc"\nobject = "cc.bpf.o"\n'
    )
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    with run(tmp_path, facts=here, check=allow_all) as outcome:
        assert set(outcome.links) == {"holdfast_cc"}
        assert set(outcome.loaded.programs) == {"ssthresh", "cong_avoid", "undo_cwnd"}
        assert "holdfast_cc" in available.read_text().split()
    assert "holdfast_cc" not in available.read_text().split()


def test_an_interrupt_leaves_nothing(
    build: Build, here: KernelFacts, monkeypatch: pytest.MonkeyPatch, pin_folder: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    folder = build("watching", kind="RAW_TRACEPOINT", attach="auto")
    for name in ("_attach", "_pin", "Outcome"):
        with monkeypatch.context() as patch:
            patch.setattr(runner, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(folder, facts=here, check=allow_all, pin=pin_folder)
            assert not pin_folder.exists()
        assert not _held()


def test_the_application_can_prepare_each_variant(build: Build, here: KernelFacts) -> None:
    seen: list[str] = []

    def prepare(session: load.Session) -> None:
        seen.append(Path(session.name).name)
        session.set_max_entries("config", 7)

    with run(build("refused", "good"), facts=here, check=allow_all, prepare=prepare) as outcome:
        assert outcome.map("config").max_entries == 7
    assert seen == ["refused.bpf.o", "good.bpf.o"]

    def broken(session: load.Session) -> None:
        session.set_max_entries("nothing", 7)

    with pytest.raises(UsageError, match="no map 'nothing'"):
        run(Bundle.open(outcome.bundle_path), facts=here, check=allow_all, prepare=broken)
    assert not _held()


def test_pins_are_all_or_none(build: Build, here: KernelFacts, pin_folder: Path) -> None:
    folder = build("watching", kind="RAW_TRACEPOINT", attach="auto")
    with run(folder, facts=here, check=allow_all, pin=pin_folder) as outcome:
        assert [str(path.relative_to(pin_folder)) for path in outcome.pins] == [
            "steer",
            "config",
            "links/steer",
        ]
        assert all(path.exists() for path in outcome.pins)
        number = outcome.link("steer").id
    # Pinned things outlive the outcome, and a second one finds the place taken.
    assert number in set(kernel.ids("link"))
    with pytest.raises(LibbpfError, match="exists already"):
        run(folder, facts=here, check=allow_all, pin=pin_folder)
    assert number in set(kernel.ids("link"))
    outcome.unpin()
    assert gone("link", number)
    assert not pin_folder.exists()
    # Something in the way of the links takes back what was pinned before them.
    (pin_folder / "links").mkdir(parents=True)
    with kernel.map_create(2, key_size=4, value_size=4, max_entries=1) as own:
        kernel.obj_pin(own.fileno(), pin_folder / "links" / "steer")
    with pytest.raises(LibbpfError, match="exists already"):
        run(folder, facts=here, check=allow_all, pin=pin_folder)
    assert sorted(path.name for path in pin_folder.rglob("*")) == ["links", "steer"]
    assert not _held()


def test_a_place_that_is_no_bpf_file_system(build: Build, here: KernelFacts, tmp_path: Path) -> None:
    with pytest.raises(LibbpfError, match="not on a bpf file system"):
        run(build("good"), facts=here, check=allow_all, pin=tmp_path / "pins")
    assert not _held()


def test_disowned_descriptors_keep_everything(build: Build, here: KernelFacts) -> None:
    folder = build("watching", kind="RAW_TRACEPOINT", attach="auto")
    outcome = run(folder, facts=here, check=allow_all)
    number = outcome.link("steer").id
    taken = outcome.disown()
    assert outcome.closed
    assert kernel.link_info(taken.links["steer"].fileno()).id == number
    assert set(taken.programs) == {"steer"} and set(taken.maps) == {"config"}
    taken.close()
    assert gone("link", number)
    assert not _held()


def test_variants_that_differ_do_not_open(build: Build, here: KernelFacts) -> None:
    with pytest.raises(InterfaceMismatchError) as caught:
        run(build("good", "moved"), facts=here, check=allow_all)
    assert str(caught.value).endswith(
        "variant 'moved': map 'config': member 'rest' at bit 0, in variant 'good' at bit 32"
    )


def test_a_kernel_without_btf_is_tried(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.errors import KernelAccessError

    def nothing(*_: object, **__: object) -> KernelFacts:
        raise KernelAccessError("no BTF")

    monkeypatch.setattr(live, "facts", nothing)
    with run(build("refused", "good")) as outcome:
        assert outcome.kernel == "unknown"
        assert results(outcome) == [("refused", REFUSED), ("good", RUNS)]


def test_without_libbpf_the_fallback_runs(
    build: Build, here: KernelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> load.Session:
        raise LibbpfError("libbpf was not found", hint="install it")

    monkeypatch.setattr(runner, "Session", missing)
    with run(build("good"), facts=here, check=allow_all) as outcome:
        assert outcome.is_fallback
        assert outcome.steps[0].words == "libbpf was not found"


@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("predicted", [True, False])
def test_without_privilege(build: Build, fallback: bool, predicted: bool) -> None:
    if (kernel.unprivileged_bpf_disabled() or 0) == 0:
        pytest.skip("this kernel lets anybody load a socket filter")
    bundle = Bundle.open(build("good", fallback=fallback))

    def attempt() -> str:
        try:
            with run(bundle, check=None if predicted else allow_all) as outcome:
                return f"{outcome.is_fallback} {outcome.steps[0].result} {outcome.explain()}"
        except PrivilegeError as error:
            return f"PrivilegeError {error.message}"

    said = _as_nobody(attempt)
    assert "CAP_BPF" in said
    if fallback:
        assert said.startswith(f"True {SKIPPED if predicted else REFUSED} ")
    else:
        assert said.startswith("PrivilegeError test/small: ")


def _as_nobody(attempt: Callable[[], str]) -> str:
    """What ``attempt`` returns in a child without privilege."""
    # Where Python itself lies in root's home, nobody can import what is imported when it is first used.
    importlib.import_module("holdfast.kernels.probe.door")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # it must leave through _exit, whatever happens
        said = ""
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.environ["XDG_CACHE_HOME"] = "/nonexistent"
            said = attempt()
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def _held() -> list[tuple[str, int]]:
    """Programs, maps and links that descriptors of this process hold, as (kind of id, id)."""
    found = []
    for path in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            continue
        rows = dict(line.split(":", 1) for line in lines if ":" in line)
        found += [(kind, int(rows[kind])) for kind in ("prog_id", "map_id", "link_id") if kind in rows]
    return found
