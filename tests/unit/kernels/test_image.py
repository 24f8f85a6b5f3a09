# SPDX-License-Identifier: Apache-2.0
"""Kernels from files: what can be read is read, everything else is refused in one clear line."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.btfwriter import BtfWriter
from tests.unit.kernels.test_facts import kernel_writer

from holdfast.errors import HoldfastError, KernelFileError, UsageError
from holdfast.kernels import image, kconfig
from holdfast.kernels.cache import Cache
from holdfast.kernels.select import select

BANNER = b"Linux version 6.1.2-test+deb (me@x) #1\n\0"
CONFIG = 'CONFIG_BPF=y\nCONFIG_MOD=m\n# CONFIG_OFF is not set\nCONFIG_S="a \\"b\\" \\\\c"\nCONFIG_HZ=250\n'
IKCONFIG = b"IKCFG_ST" + gzip.compress(CONFIG.encode()) + b"IKCFG_ED"


def raw_btf(order: str = "little") -> bytes:
    w = BtfWriter(order)
    w.struct("task_struct", 4, ("pid", w.integer(), 0))
    return w.raw()


def elf(
    sections: dict[str, bytes], *, machine: int = 62, kind: int = 2, wide: bool = True, order: str = "<"
) -> bytes:
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    header = 64 if wide else 52
    body, rows = b"", [(0, 0, 0, 0)]
    for name, content in [*sections.items(), (".shstrtab", names)]:
        rows.append((names.find(name.encode() + b"\0"), 1, header + len(body), len(content)))
        body += content
    form = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
    table = b"".join(struct.pack(form, n, k, 0, 0, o, s, 0, 0, 0, 0) for n, k, o, s in rows)
    entry = struct.calcsize(form)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    fixed = struct.pack(
        order + "HHI" + word * 3 + "IHHHHHH",
        kind, machine, 1, 0, 0, header + len(body), 0, header, 0, 0, entry, len(rows), len(rows) - 1,
    )  # fmt: skip
    return ident + fixed + body + table


def write(tmp_path: Path, data: bytes, name: str = "vmlinux") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refusal(path: Path) -> KernelFileError:
    with pytest.raises(KernelFileError) as caught:
        image.from_path(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("machine", "wide", "order", "arch"),
    [
        (62, True, "<", "x86_64"),
        (22, True, ">", "s390x"),
        (40, False, "<", "arm"),
        (9, False, ">", "e_machine 9"),
    ],
)
def test_a_vmlinux_tells_its_release_and_config(
    tmp_path: Path, machine: int, wide: bool, order: str, arch: str
) -> None:
    btf = raw_btf("little" if order == "<" else "big")
    data = elf(
        {".rodata": b"Linux version %s\0" + BANNER + IKCONFIG, ".BTF": btf},
        machine=machine,
        wide=wide,
        order=order,
    )
    facts = image.from_path(write(tmp_path, data))
    assert (facts.id, facts.release, facts.arch, facts.source) == (
        "file/6.1.2-test+deb",
        "6.1.2-test+deb",
        arch,
        "file",
    )
    assert facts.has_type("task_struct").value is True
    assert facts.config == {"CONFIG_BPF": "y", "CONFIG_MOD": "m", "CONFIG_S": 'a "b" \\c', "CONFIG_HZ": "250"}
    assert facts.host is None
    assert facts.module_names is None


def test_a_vmlinux_without_banner_is_named_after_its_file(tmp_path: Path) -> None:
    facts = image.from_path(write(tmp_path, elf({".BTF": raw_btf()}), "my.kernel"))
    assert (facts.id, facts.release, facts.config) == ("file/my.kernel", "", None)


def test_raw_btf(tmp_path: Path) -> None:
    for order in ("little", "big"):
        facts = image.from_path(write(tmp_path, raw_btf(order), "some.btf"))
        assert (facts.id, facts.release, facts.arch) == ("file/some.btf", "", "")
        assert facts.has_type("task_struct").value is True


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"hello, world, this is no kernel", "begins with 68 65 6c 6c"),
        (elf({".BTF": b""}), ".BTF is empty"),
        (elf({".text": b"x"}), "without section .BTF"),
        (elf({".BTF": b"\0" * 64}), "no BTF: magic"),
        (elf({".BTF": raw_btf()}, machine=247, kind=1), "BPF object"),
        (elf({".BTF": raw_btf(), ".gnu.linkonce.this_module": b"x"}, kind=1), "kernel module"),
        (elf({".BTF": raw_btf()})[:-20], "section headers lie outside"),
        (elf({".BTF": raw_btf()})[:40], "cut off"),
        (raw_btf()[:-3], "lies outside the data"),
        (b"\x1f\x8b\x08" + bytes(64), "gzip data are damaged"),
        (b"\x28\xb5\x2f\xfd" + bytes(64), "zstd data are damaged"),
        (b"!<arch>\ndebian-binary   " + bytes(64), "no header of an ar archive"),
        (b'{"schema_version": 1}', "JSON without an exported kernel"),
    ],
)
def test_what_is_no_kernel_is_refused_with_the_reason(tmp_path: Path, data: bytes, problem: str) -> None:
    error = refusal(write(tmp_path, data))
    assert problem in str(error)
    assert error.hint


def test_btf_of_a_module_is_refused(tmp_path: Path) -> None:
    w = BtfWriter()
    w.integer()
    module = BtfWriter(base=w.btf())
    module.func("in_module", module.proto(1))
    assert "module" in (refusal(write(tmp_path, module.raw())).hint or "")


def test_folders_and_missing_files(tmp_path: Path) -> None:
    assert "folder" in str(refusal(tmp_path))
    assert "No such file" in str(refusal(tmp_path / "absent"))


VMLINUX = elf({".rodata": BANNER + IKCONFIG, ".BTF": raw_btf()})


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(VMLINUX) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, len(VMLINUX)),
)
def test_damage_gives_an_error_of_ours_or_facts(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(VMLINUX)
    for at, value in edits:
        data[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[:length] if length % 3 else data)
    try:
        image.from_path(path)
    except HoldfastError as error:
        assert "\n" not in str(error)


def test_configs() -> None:
    assert kconfig.parse("") == {}
    assert kconfig.parse("CONFIG_X\n") == {}
    assert kconfig.parse('CONFIG_X=""\n') == {"CONFIG_X": ""}
    assert kconfig.embedded(b"no marks") is None
    assert kconfig.embedded(b"IKCFG_ST not gzip IKCFG_ED" + IKCONFIG) == kconfig.parse(CONFIG)
    assert kconfig.embedded(IKCONFIG[:-9]) is None
    with pytest.raises(ValueError, match="longer than"):
        kconfig.gunzip(gzip.compress(bytes(9 << 20)))
    with pytest.raises(ValueError, match="cut off"):
        kconfig.gunzip(gzip.compress(CONFIG.encode())[:-12])
    reads = []

    def read() -> dict[str, str]:
        reads.append(1)
        return {"CONFIG_A": "y"}

    lazy = kconfig.LazyConfig(read)
    assert reads == []
    assert dict(lazy) == {"CONFIG_A": "y"}
    assert lazy.get("CONFIG_B") is None
    assert reads == [1]


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(KernelFileError, match="it is no regular file"):
            image.from_path(path)


def test_the_index_of_a_file_is_kept(tmp_path: Path) -> None:
    path, cache = write(tmp_path, VMLINUX), Cache(tmp_path / "cache")
    image.from_path(path, cache=cache)
    folder = tmp_path / "cache"
    assert sorted(one.suffix for one in folder.iterdir()) == [".index", ".registered"]
    facts = image.from_path(path, cache=cache)
    assert facts.vmlinux is not None
    assert isinstance(facts.vmlinux.index.offsets, memoryview)
    assert facts.has_type("task_struct").value is True
    # Another kernel under the same name has another index.
    path.write_bytes(elf({".BTF": kernel_writer().raw()}))
    assert image.from_path(path, cache=cache).has_func("bpf_good").value is True
    assert len(list(folder.iterdir())) == 4


def test_selectors_that_name_nothing_say_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UsageError) as caught:
        select(["nowhere/6.12*"])
    assert "kernels list" in (caught.value.hint or "") or "there is" in (caught.value.hint or "")
    path = str(write(tmp_path, raw_btf(), "some.btf"))
    assert [one.id for one in select([path, path])] == ["file/some.btf"]


def test_of_many_marks_of_a_config_not_all_are_looked_at() -> None:
    assert kconfig.embedded(b"IKCFG_ST" * 50 + b"IKCFG_ED" + IKCONFIG) == kconfig.parse(CONFIG)
    assert kconfig.embedded(b"IKCFG_ST" * 100 + b"IKCFG_ED" + IKCONFIG) is None
