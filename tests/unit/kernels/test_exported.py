# SPDX-License-Identifier: Apache-2.0
"""A machine's kernel goes out and comes in whole; whatever is wrong with a document is one clear error."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.btfwriter import BtfWriter
from tests.unit.kernels.test_answer_table import PROBES
from tests.unit.kernels.test_facts import kernel, kernel_writer

from holdfast.errors import KernelFileError
from holdfast.kernels import KernelFacts, Registration
from holdfast.kernels.exported import export, from_path, is_export, read
from holdfast.terms import Evidence, ProgramType

SYMBOLS = "\nTvfs_read\nTkfree\nttwice\nttwice\n"
REGISTERED = {
    "bpf_good": Registration(
        frozenset({"ACQUIRE"}),
        frozenset({ProgramType.XDP, ProgramType.SYSCALL}),
        True,
        (Evidence.BTF_IDS, Evidence.INIT_CODE),
        "far",
        {ProgramType.SYSCALL: frozenset({"ACQUIRE", "SLEEPABLE"})},
    ),
    "plain": Registration(None, None, False, (Evidence.BTF_IDS,)),
}


def machine() -> KernelFacts:
    base = kernel_writer().btf()
    module = BtfWriter(base=base)
    module.struct("of_the_module", 4)
    return KernelFacts(
        "live/6.1",
        "6.1",
        "x86_64",
        "live",
        base,
        modules={"far": module.btf()},
        module_names=frozenset({"far", "without_btf"}),
        config={"CONFIG_BPF": "y", "CONFIG_DEFAULT_HOSTNAME": 'a "b" \\'},
        probes=PROBES,
        registrations=REGISTERED,
    )


def document() -> Any:
    exported = export(
        machine(),
        symbols=SYMBOLS,
        uname_version="#1 SMP Debian 6.1.176-1 (2026-01-01)",
        module_names=("on_disk",),
        builtin_modules=("ext4",),
    )
    return json.loads(json.dumps({"schema_version": 1, "id": "live/6.1", "export": exported}))


def taken(raw: object) -> Any:
    return read(json.dumps(raw).encode(), "machine.json")


def packed(data: bytes, **more: object) -> dict[str, object]:
    text = base64.b64encode(zlib.compress(data)).decode()
    return {"size": len(data), "sha256": sha256(data).hexdigest(), "zlib": text, **more}


def test_everything_comes_back() -> None:
    facts = machine()
    record = taken(document())
    assert record.id == "machine/6.1"
    assert (record.release, record.arch, record.source) == ("6.1", "x86_64", "machine")
    assert record.upstream == "6.1.176"
    assert facts.vmlinux is not None
    assert record.vmlinux == bytes(facts.vmlinux.data)
    assert record.modules == {"far": bytes(facts.modules["far"].data)}
    assert record.module_names == ("far", "on_disk", "without_btf")
    assert record.builtin_modules == ("ext4",)
    assert record.config == facts.config
    assert record.symbols == SYMBOLS
    assert record.registrations == REGISTERED
    # What this machine's policy denies is not the kernel's.
    assert record.probes == replace(PROBES, kinds={})


def test_the_export_alone_and_a_bare_kernel_will_do() -> None:
    assert taken(document()["export"]) == taken(document())
    bare = taken(json.loads(json.dumps(export(kernel()))))
    assert bare.config is None
    assert bare.symbols is None
    assert bare.registrations is None
    assert bare.probes is None


def test_a_kernel_without_btf_is_not_exported() -> None:
    with pytest.raises(KernelFileError, match="without BTF"):
        export(KernelFacts("live/1", "1", "", "live", None))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(document(), indent=2))
    assert is_export(path.read_bytes())
    assert not is_export(b"\x7fELF")
    assert from_path(path).id == "machine/6.1"
    with pytest.raises(KernelFileError, match="No such file"):
        from_path(tmp_path / "absent.json")
    with pytest.raises(KernelFileError, match="cannot be read"):
        from_path(tmp_path)


def other(value: object, *path: str) -> Any:
    raw = document()
    at = raw["export"]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return raw


BOMB = packed(b"\0" * (65 << 20))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "without an exported kernel"),
        ({"export": None}, "without an exported kernel"),
        ({"vmlinux": {}}, "schema_version"),
        (other(2, "schema_version"), "schema_version"),
        (other(True, "schema_version"), "schema_version"),
        (other("../../etc", "release"), "release"),
        (other("..", "release"), "release"),
        (other("", "release"), "release"),
        (other("6.1\n", "release"), "release"),
        (other(6, "release"), "release"),
        (other(["x"], "arch"), "arch"),
        (other(None, "vmlinux"), "vmlinux is no packed data"),
        (other(packed(b"no BTF at all"), "vmlinux"), "magic|BTF|short"),
        (other("!", "vmlinux", "zlib"), "damaged"),
        (other("AAAA", "vmlinux", "zlib"), "damaged"),
        (other(-1, "vmlinux", "size"), "size"),
        (other(1.0, "vmlinux", "size"), "size"),
        (other(10**4000, "vmlinux", "size"), "size"),
        (other(3, "vmlinux", "size"), "does not unpack to 3"),
        (other("0" * 64, "vmlinux", "sha256"), "sha256"),
        (other(BOMB, "vmlinux"), "size"),
        (other({**BOMB, "size": 1 << 20}, "vmlinux"), "does not unpack"),
        (other({**BOMB, "size": 60}, "modules", "far"), "does not unpack"),
        (other(packed(b"\x9f\xeb\x01\0"), "modules", "far"), r"\w"),
        (other(packed(b""), "modules", "../far"), "no name"),
        (other([], "modules"), "modules"),
        (other(["a/b"], "module_names"), "no name"),
        (other(["x"] * 20_001, "module_names"), "at most"),
        (other([5], "builtin_modules"), "no name"),
        (other(packed(b"[]"), "config"), "config"),
        (other(packed(b"{"), "config"), r"\w"),
        (other(packed(b"[" * 100_000), "config"), "nested|recursion"),
        (other(packed(b'{"CONFIG_X": 1}'), "config"), "CONFIG_X"),
        (other(packed(b'{"CONFIG_X": "\\ud800"}'), "config"), "surrogates"),
        (other(packed(b"Tvfs_read"), "symbols"), "lines"),
        (other(packed(b"\n\xff\n"), "symbols"), "utf-8"),
        (other({"bpf_x": []}, "registrations"), "bpf_x"),
        (other({"bpf_x": {"narrowed": False, "evidence": ["rumour"]}}, "registrations"), "rumour"),
        (other(["XDQ"], "registrations", "bpf_good", "program_types"), "XDQ"),
        (other("yes", "probes", "program_types", "XDP"), "XDP"),
        (other([], "probes"), "probes"),
    ],
)
def test_hostile_documents(raw: object, says: str) -> None:
    with pytest.raises(KernelFileError, match=says) as caught:
        taken(raw)
    assert caught.value.message.startswith("machine.json: ")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert "kernels show live" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 200_000, b'{"export": {"vmlinux": 1e400', b"nul"]
)
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(KernelFileError, match="no JSON"):
        read(data, "machine.json")


SOUND = json.dumps(document()).encode()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_anywhere_is_an_error_or_harmless(data: st.DataObject) -> None:
    spoilt = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(spoilt), data.draw(st.integers(0, len(spoilt)))]))
    try:
        record = read(bytes(spoilt[:cut]), "machine.json")
    except KernelFileError:
        return
    # The blobs have digests, so at most a name or an answer is another.
    assert record.vmlinux == taken(document()).vmlinux
