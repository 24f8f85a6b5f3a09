# SPDX-License-Identifier: Apache-2.0
"""The wrappers against the running kernel, and against bpftool where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from holdfast import sys as kernel
from holdfast.terms import AttachType, MapType, ProgramType

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

RETURN_3 = struct.pack("=BBhi", 0xB7, 0, 0, 3) + struct.pack("=BBhi", 0x95, 0, 0, 0)
NO_EXIT = struct.pack("=BBhi", 0xB7, 0, 0, 3)


def load_program() -> kernel.OwnedFd:
    result = kernel.prog_load(ProgramType.SOCKET_FILTER, RETURN_3, name="holdfast_test")
    assert result.fd is not None, result
    return result.fd


def test_a_refusal_is_an_answer_with_a_log() -> None:
    result = kernel.prog_load(ProgramType.SOCKET_FILTER, NO_EXIT, log_level=1)
    assert result.fd is None
    assert result.errno == 22
    assert "last insn is not an exit" in result.log


def test_what_the_kernel_holds_is_what_was_loaded() -> None:
    with load_program() as fd:
        info = kernel.prog_info(fd.fileno())
        assert (info.type, info.name, info.gpl_compatible) == (
            ProgramType.SOCKET_FILTER,
            "holdfast_test",
            True,
        )
        assert info.xlated_size == len(RETURN_3)
        assert kernel.prog_xlated_insns(fd.fileno()) == RETURN_3
        assert kernel.prog_map_ids(fd.fileno()) == ()
        assert info.id in set(kernel.ids("prog"))
        with kernel.fd_by_id("prog", info.id) as again:
            assert kernel.prog_info(again.fileno()).tag == info.tag
    assert info.id not in set(kernel.ids("prog"))


def test_a_test_run_returns_value_frame_and_context() -> None:
    frame = bytes(range(64))
    with load_program() as fd:
        run = kernel.prog_test_run(fd.fileno(), frame, repeat=3, context=kernel.pack_skb(mark=6))
        assert (run.return_value, run.context[8:12]) == (3, struct.pack("=I", 6))
        # For types that see a packet from layer 3 on, the Ethernet header comes back as zeros.
        assert run.data == bytes(14) + frame[14:]
        with pytest.raises(OSError, match="PROG_TEST_RUN"):
            kernel.prog_test_run(fd.fileno(), b"short")


def test_maps_are_created_written_and_frozen() -> None:
    with kernel.map_create(MapType.HASH, key_size=2, value_size=3, max_entries=4, name="holdfast.t-1") as fd:
        number = fd.fileno()
        info = kernel.map_info(number)
        assert (info.type, info.key_size, info.value_size, info.max_entries) == (MapType.HASH, 2, 3, 4)
        assert info.name == "holdfast.t_1"
        kernel.map_update(number, b"ab", b"xyz")
        assert kernel.map_lookup(number, b"ab", 3) == b"xyz"
        assert kernel.map_next_key(number, None, 2) == b"ab"
        assert kernel.map_next_key(number, b"ab", 2) is None
        assert kernel.map_delete(number, b"ab")
        assert kernel.map_lookup(number, b"ab", 3) is None
        kernel.map_freeze(number)
        with pytest.raises(PermissionError):
            kernel.map_update(number, b"ab", b"xyz")


def test_pins_and_their_place() -> None:
    path = Path(f"/sys/fs/bpf/holdfast_sys_{os.getpid()}")
    with load_program() as fd:
        kernel.obj_pin(fd.fileno(), path)
        try:
            with kernel.obj_get(path) as again:
                assert kernel.prog_info(again.fileno()).id == kernel.prog_info(fd.fileno()).id
            with pytest.raises(FileExistsError):
                kernel.obj_pin(fd.fileno(), path)
        finally:
            path.unlink()
    assert kernel.is_bpffs("/sys/fs/bpf")
    assert not kernel.is_bpffs("/sys")


def test_a_link_holds_a_program_in_a_network_namespace() -> None:
    # SK_LOOKUP returns 1 for pass; a link to a network namespace goes with its descriptor.
    insns = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    result = kernel.prog_load(ProgramType.SK_LOOKUP, insns, expected_attach_type=AttachType.SK_LOOKUP)
    assert result.fd is not None, result
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with result.fd as program:
            with kernel.link_create(program.fileno(), namespace, AttachType.SK_LOOKUP) as link:
                info = kernel.link_info(link.fileno())
                assert info.type == kernel.LinkType.NETNS
                assert info.prog_id == kernel.prog_info(program.fileno()).id
                assert info.id in set(kernel.ids("link"))
            assert info.id not in set(kernel.ids("link"))
    finally:
        os.close(namespace)


def test_btf_of_the_kernel_and_of_nobody() -> None:
    with kernel.fd_by_id("btf", next(kernel.ids("btf"))) as fd:
        info = kernel.btf_info(fd.fileno())
    assert (info.name, info.kernel) == ("vmlinux", True)
    assert info.size == Path("/sys/kernel/btf/vmlinux").stat().st_size
    with pytest.raises(OSError, match="BTF_LOAD") as caught:
        kernel.btf_load(b"no btf at all" * 9, log_size=4096)
    assert caught.value.__notes__


@pytest.mark.oracle
def test_bpftool_reads_the_same() -> None:
    tool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("bpftool is not installed")
        pytest.skip("bpftool is not installed")
    with load_program() as fd:
        info = kernel.prog_info(fd.fileno())
        command = [tool, "-j", "prog", "show", "id", str(info.id)]
        told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told["tag"] == info.tag
    assert (told["bytes_xlated"], told["bytes_jited"]) == (info.xlated_size, info.jited_size)
    assert (told["name"], told["gpl_compatible"]) == (info.name, info.gpl_compatible)
