# SPDX-License-Identifier: Apache-2.0
"""Open, adjust, load, close."""

from __future__ import annotations

import gc
import os
import shutil
import struct
from pathlib import Path

import pytest
from tests.live.load.objects import COMMON, compile_object, gone

from holdfast import load
from holdfast import sys as kernel
from holdfast.errors import LoadError, ObjectFileError, PrivilegeError, UsageError, VerifierError
from holdfast.libbpf import library
from holdfast.terms import MapType, ProgramType

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live", "leaves_nothing")]

Compiled = dict[str, Path]


def test_loads_what_the_sections_say(compiled: Compiled) -> None:
    with load.open_object(compiled["good"], size_zero_maps=True) as obj:
        assert set(obj.programs) == {"steer", "watch"}
        assert set(obj.maps) == {"config", "counts", "unsized", ".rodata", ".bss"}
        assert obj.programs["steer"].type is ProgramType.SOCKET_FILTER
        assert obj.maps["counts"].type is MapType.PERCPU_ARRAY
        assert obj.maps["unsized"].max_entries == 1
        numbers = [program.id for program in obj.programs.values()]
        assert set(numbers) <= set(kernel.ids("prog"))
    assert obj.closed
    assert all(gone("prog", number) for number in numbers)


def test_loads_exactly_the_chosen_programs(compiled: Compiled) -> None:
    with load.open_object(compiled["good"], programs=["asleep"], map_sizes={"unsized": 9}) as obj:
        assert set(obj.programs) == {"asleep"}
        assert obj.maps["unsized"].max_entries == 9
        assert obj.program("asleep").test_run(bytes(64)).return_value == 1
        with pytest.raises(UsageError, match="no loaded program 'steer'") as caught:
            obj.program("steer")
        assert caught.value.hint == "there are: asleep"


def test_a_map_left_at_zero_is_refused_unless_sized(compiled: Compiled) -> None:
    with pytest.raises(LoadError, match="map 'unsized': failed to create") as caught:
        load.Session(compiled["good"]).load()
    assert caught.value.errno == 22


def test_members_of_struct_ops_that_are_other_programs_can_be_left_out(compiled: Compiled) -> None:
    if library().version < (1, 4):
        pytest.skip("members can be written from libbpf 1.4 on")
    with load.Session(compiled["struct_ops"], programs=["ssthresh"]) as session:
        before = session.initial_value("holdfast_cc")
        session.keep_members(["ssthresh"])
        after = session.initial_value("holdfast_cc")
        # ssthresh, cong_avoid and undo_cwnd are the first members
        assert [any(after[at : at + 8]) for at in (0, 8, 16)] == [True, False, False]
        assert before[:8] == after[:8] and before[24:] == after[24:]
        assert list(session.load().programs) == ["ssthresh"]
    absent = pytest.raises(UsageError, match="no program 'absent'")
    with load.Session(compiled["struct_ops"]) as session, absent:
        session.keep_members(["absent"])


def test_skipped_maps_are_not_created(compiled: Compiled) -> None:
    with load.open_object(compiled["good"], programs=["asleep"], skip_maps=["unsized", "counts"]) as obj:
        assert set(obj.maps) == {"config", ".rodata", ".bss"}


def test_bytes_load_like_the_file(compiled: Compiled) -> None:
    content = compiled["mixed"].read_bytes()
    with load.open_object(content, name="net/rss: helpers", programs=["good"]) as obj:
        assert obj.name == "net/rss: helpers"
        assert set(obj.programs) == {"good"}


def test_global_variables_can_be_set_before_loading(compiled: Compiled) -> None:
    with load.Session(compiled["good"]) as session:
        assert session.initial_value(".rodata") == struct.pack("=I", 7)
        with pytest.raises(UsageError, match="has 4 bytes, not 1"):
            session.set_initial_value(".rodata", b"x")
        session.set_initial_value(".rodata", struct.pack("=I", 40))
        session.size_zero_maps()
        obj = session.load()
        assert obj.program("steer").test_run(bytes(64)).return_value == 40
        with pytest.raises(UsageError, match="loaded already"):
            session.load()


def test_a_map_of_the_callers_can_be_used(compiled: Compiled) -> None:
    with kernel.map_create(MapType.ARRAY, key_size=4, value_size=8, max_entries=1) as own:
        kernel.map_update(own.fileno(), bytes(4), struct.pack("=Q", 5))
        with load.open_object(
            compiled["mixed"], programs=["good"], reuse_maps={"config": own.fileno()}
        ) as obj:
            assert obj.map("config").id == kernel.map_info(own.fileno()).id
        assert kernel.map_lookup(own.fileno(), bytes(4), 8) == struct.pack("=Q", 5)


def test_the_verifiers_words_arrive(compiled: Compiled) -> None:
    with pytest.raises(VerifierError) as caught, load.open_object(compiled["mixed"]):
        pass
    error = caught.value
    assert error.errno == 13
    assert str(compiled["mixed"]) in str(error)
    assert "'broken'" in str(error)
    assert "invalid bpf_context access off=4000" in str(error)
    parsed = load.VerifierLog.parse(error.log)
    assert parsed.error == "invalid bpf_context access off=4000 size=4"
    assert "\n" not in str(error)


def test_the_log_of_what_loads_is_kept_when_asked_for(compiled: Compiled) -> None:
    with load.open_object(compiled["mixed"], programs=["good"], kernel_log_level=1) as obj:
        assert "processed" in obj.program("good").verifier_log
    with load.open_object(compiled["mixed"], programs=["good"]) as obj:
        assert obj.program("good").verifier_log == ""


def test_debug_words_tell_of_relocations(compiled: Compiled) -> None:
    with load.open_object(compiled["mixed"], programs=["good"], debug=True) as obj:
        assert "loading object from" in obj.log


def test_unknown_names_are_named(compiled: Compiled) -> None:
    with pytest.raises(UsageError, match="no program 'nobody'"):
        load.Session(compiled["good"], programs=["nobody"])
    with load.Session(compiled["good"]) as session, pytest.raises(UsageError, match="no map 'nothing'"):
        session.set_max_entries("nothing", 1)


@pytest.mark.parametrize("damage", ["empty", "text", "header", "cut", "sections"])
def test_broken_bytes_give_one_clear_error(compiled: Compiled, damage: str) -> None:
    content = compiled["mixed"].read_bytes()
    broken = {
        "empty": b"",
        "text": b"#!/bin/sh\nexit 0\n" * 20,
        "header": content[:64],
        "cut": content[: len(content) // 2],
        "sections": content[:40] + struct.pack("=Q", 1 << 40) + content[48:],
    }[damage]
    with pytest.raises(ObjectFileError, match=r"^upload\.o: libbpf cannot open it: ") as caught:
        load.Session(broken, name="upload.o")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ObjectFileError, match=r"none\.o"):
        load.Session(tmp_path / "none.o")


def test_closed_objects_say_so(compiled: Compiled) -> None:
    with load.open_object(compiled["mixed"], programs=["good"]) as obj:
        program, one_map = obj.program("good"), obj.map("config")
        kept = program.duplicate_fd()
    for use in (lambda: program.fd, lambda: one_map.lookup(0), program.attach):
        with pytest.raises(UsageError, match="closed"):
            use()
    with kept:
        assert kernel.prog_info(kept.fileno()).name == "good"
    obj.close()


def test_a_forgotten_object_is_closed(compiled: Compiled) -> None:
    obj = load.Session(compiled["mixed"], programs=["good"]).load()
    number = obj.program("good").id
    del obj
    gc.collect()
    assert gone("prog", number)


def test_an_exception_inside_closes_too(compiled: Compiled) -> None:
    with (
        pytest.raises(RuntimeError, match="mine"),
        load.open_object(compiled["mixed"], programs=["good"]) as obj,
    ):
        number = obj.program("good").id
        raise RuntimeError("mine")
    assert gone("prog", number)


def test_without_capabilities_the_error_names_them(compiled: Compiled) -> None:
    content = compiled["mixed"].read_bytes()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # as nobody; it must leave through _exit, whatever happens
        said = "loaded"
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            load.Session(content, name="mixed.o", programs=["good"]).load()
        except PrivilegeError as error:
            said = f"{error}|{error.hint}"
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    if (kernel.unprivileged_bpf_disabled() or 0) == 0:
        pytest.skip("this kernel lets anybody load a socket filter")
    message, hint = said.split("|")
    assert message == "mixed.o: loading is not permitted: this process lacks CAP_BPF"
    assert "cap_bpf+ep" in hint


def test_a_target_that_the_section_leaves_open(tmp_path: Path) -> None:
    clang = shutil.which("clang")
    assert clang is not None
    source = (
        COMMON + 'SEC("iter") int look(void *ctx) { return 0; } SEC("?iter") int idle(void *c) { return 0; }'
    )
    path = compile_object(clang, source, tmp_path, "open")
    with load.Session(path) as session:
        assert session.program_names == ("look", "idle")
        with pytest.raises(UsageError, match="cannot be for 'nothing': BTF has no such target"):
            session.set_attach_target("look", "nothing")
        session.set_attach_target("look", "task")
        program = session.load().program("look")
        assert program.info.attach_btf_id
        assert len(program.xlated_insns()) % 8 == 0


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    clang = shutil.which("clang")
    assert clang is not None
    source = COMMON + 'SEC("socket") int qzqz(void *ctx) { return 0; }'
    content = compile_object(clang, source, tmp_path, "bytes").read_bytes()
    with load.Session(content.replace(b"qzqz", b"\xff\xfe\xfd\xfc"), name="x.o") as session:
        assert session.program_names == (r"\xff\xfe\xfd\xfc",)
