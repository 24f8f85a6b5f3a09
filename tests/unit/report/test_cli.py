# SPDX-License-Identifier: Apache-2.0
"""`holdfast needs` and `holdfast check`: exit statuses, widths, and one clear line for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.elfwriter import ElfWriter
from tests.unit.report.conftest import Command

WIDTH = 100


@pytest.mark.parametrize(
    ("name", "status"), [("loads", 0), ("fails", 4), ("unknown", 8), ("both", 12), ("rich", 4)]
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_exit_status_is_a_sum(
    holdfast: Command, objects: dict[str, Path], kernel_file: Path, name: str, status: int, form: str
) -> None:
    done = holdfast("check", objects[name], "--kernel", kernel_file, "--format", form)
    assert done.status & ~8 == status & ~8 and (name == "rich" or done.status == status), done.out
    assert done.err == ""


def test_several_objects_add_up(holdfast: Command, objects: dict[str, Path], kernel_file: Path) -> None:
    both = (objects["fails"], objects["unknown"])
    assert holdfast("check", *both, "--kernel", kernel_file).status == 12


def test_needs_never_fail(holdfast: Command, objects: dict[str, Path]) -> None:
    assert holdfast("needs", *objects.values()).status == 0


@pytest.mark.parametrize("options", [(), ("--verbose",)])
@pytest.mark.parametrize("verb", ["needs", "check"])
def test_text_fits_the_width(
    holdfast: Command, objects: dict[str, Path], kernel_file: Path, verb: str, options: tuple[str, ...]
) -> None:
    kernel = ("--kernel", kernel_file) if verb == "check" else ()
    done = holdfast(verb, objects["rich"], objects["both"], *kernel, *options)
    long = [
        line
        for line in done.out.splitlines()
        # a path is not broken, so that it can be copied
        if len(line) > WIDTH and str(objects["rich"].parent) not in line
    ]
    assert not long
    assert done.out.splitlines()


def test_text_says_why_and_where(holdfast: Command, objects: dict[str, Path], kernel_file: Path) -> None:
    out = holdfast("check", objects["fails"], "--kernel", kernel_file).out
    lines = [line.split() for line in out.splitlines()]
    assert ["+", "LOADS", "good"] in [line[:3] for line in lines]
    assert ["x", "FAILS", "bad"] in [line[:3] for line in lines]
    assert "HELPER_MISSING" in out and "[fails.bpf.c:3]" in out
    assert "hint: offer a variant that does without it" in out
    assert "1 LOADS, 1 FAILS" in out


def test_verbose_lists_every_reason(holdfast: Command, objects: dict[str, Path], kernel_file: Path) -> None:
    short = holdfast("check", objects["rich"], "--kernel", kernel_file).out
    long = holdfast("check", objects["rich"], "--kernel", kernel_file, "-v").out
    assert "more reason" in short and "(--verbose)" in short
    assert "CORE_MISSING" in long and "CORE_MISSING" not in short
    assert "hazard APPLICATION_MUST_SET" in long


def test_several_kernels_make_a_matrix(
    holdfast: Command, objects: dict[str, Path], kernel_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.btf"
    other.write_bytes(kernel_file.read_bytes())
    done = holdfast("check", objects["both"], "--kernel", kernel_file, "--kernel", other)
    assert "  1  file/vmlinux.btf" in done.out and "  2  file/other.btf" in done.out
    row = next(line for line in done.out.splitlines() if line.split()[:1] == ["bad"])
    assert row.split()[-2:] == ["x", "x"]
    assert all(len(line) <= WIDTH for line in done.out.splitlines())


def test_no_colour_codes(
    holdfast: Command, objects: dict[str, Path], kernel_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for arguments in (("needs", objects["rich"]), ("check", objects["rich"], "--kernel", kernel_file)):
        assert "\x1b" not in holdfast(*arguments).out


def test_needs_of_one_program(holdfast: Command, objects: dict[str, Path]) -> None:
    out = holdfast("needs", objects["rich"], "--program", "second").out
    assert "second" in out and "SEC(iter.s/task)" in out and "(not loaded unless asked: ?)" in out
    assert "prog  SEC" not in out


def test_needs_text(holdfast: Command, objects: dict[str, Path]) -> None:
    out = holdfast("needs", objects["rich"], "--program", "prog").out
    flat = " ".join(out.split())
    assert "bpf_weak (weak, guarded) void bpf_weak(void)" in flat
    assert "bpf_strong_kfunc_with_a_long_name (strong)" in flat
    assert "[rich.bpf.c:13]" in flat
    assert "ring RINGBUF 0 -> 0 bytes, 0 entries; the application sets max_entries" in flat
    assert "function vfs_read" in flat
    assert "GPL-compatible, for bpf_strong_kfunc_with_a_long_name, bpf_weak; the object's 'GPL' is" in flat
    assert "CAP_BPF CAP_PERFMON" in flat


# -- bad input --------------------------------------------------------------------------------------------


@pytest.fixture
def bad_files(tmp_path: Path, objects: dict[str, Path]) -> dict[str, Path]:
    good = objects["loads"].read_bytes()
    x86 = ElfWriter(machine=62)
    x86.program("prog", "socket")
    contents = {
        "text.o": b"int main(void) { return 0; }\n",
        "empty.o": b"",
        "x86.o": x86.bytes(),
        "short.o": good[: len(good) // 2],
        "shorter.o": good[:70],
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    return {name: tmp_path / name for name in (*contents, "nowhere.o", "folder")}


WORDS = {
    "text.o": "not an ELF file (it begins with 69 6e 74 20)",
    "empty.o": "not an ELF file (empty)",
    "x86.o": "ELF for machine 62, not for BPF",
    "short.o": "the section headers lie outside the file (cut off?)",
    "shorter.o": "the section headers lie outside the file (cut off?)",
    "nowhere.o": "cannot be read (No such file or directory)",
}


@pytest.mark.parametrize("verb", ["needs", "check"])
@pytest.mark.parametrize("name", WORDS)
def test_bad_objects(holdfast: Command, bad_files: dict[str, Path], verb: str, name: str) -> None:
    done = holdfast(verb, bad_files[name])
    assert (done.status, done.out) == (1, "")
    first, *rest = done.err.splitlines()
    assert first.startswith(f"holdfast: {bad_files[name]}: ")
    assert WORDS[name] in first
    assert len(rest) <= 1 and all(line.startswith("hint: ") for line in rest)


@pytest.mark.parametrize("verb", ["needs", "check"])
def test_an_empty_folder_is_a_mistake(holdfast: Command, tmp_path: Path, verb: str) -> None:
    done = holdfast(verb, tmp_path)
    assert (done.status, done.out) == (2, "")
    assert "has no objects in it" in done.err and "holdfast.toml" in done.err


@pytest.mark.parametrize("verb", ["needs", "check"])
def test_a_folder_stands_for_its_objects(
    holdfast: Command, objects: dict[str, Path], kernel_file: Path, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    for name, place in (("loads", "a.o"), ("fails", "deep/er/b.o")):
        (tmp_path / place).write_bytes(objects[name].read_bytes())
    more = ("--kernel", kernel_file) if verb == "check" else ()
    done = holdfast(verb, tmp_path, *more)
    assert done.status == (4 if verb == "check" else 0)
    assert "a.o" in done.out and "deep/er/b.o" in done.out


@pytest.mark.parametrize("columns", [50, 60, 80])
@pytest.mark.parametrize("verb", ["needs", "check"])
def test_text_fits_a_narrow_terminal(
    holdfast: Command,
    objects: dict[str, Path],
    kernel_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    columns: int,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setenv("COLUMNS", str(columns))
    other = kernel_file.with_name("other.btf")
    other.write_bytes(kernel_file.read_bytes())
    kernels = ("--kernel", kernel_file, "--kernel", other) if verb == "check" else ()
    for paths in ((objects["rich"],), (objects["fails"], objects["both"])):
        out = holdfast(verb, *paths, *kernels, "-v").out
        long = [line for line in out.splitlines() if len(line) > columns]
        # neither paths nor names are broken, so that they can be copied
        folder = str(objects["rich"].parent)
        assert [line for line in long if folder not in line and len(line.split()) > 3] == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--kernel", "{text}"), 1, "it is no kernel: it begins with 69 6e 74 20"),
        (("--kernel", "{x86}"), 1, "x86.o"),
        (("--kernel", "{folder}"), 1, "there is no kernel in it"),
        (("--kernel", ""), 2, "a selector of kernels is empty"),
        (("--kernel", "/nowhere"), 1, "it cannot be read: No such file or directory"),
        (("--kernel", "nowhere/6.12*"), 2, "no kernel 'nowhere/6.12*'"),
        (("--kernel", "{kernel}", "--modules", "xfs,nothing"), 2, "has no module 'nothing'"),
        (("--libbpf", "newest"), 2, "--libbpf 'newest' is no release"),
        (("--libbpf", "0.8"), 2, "is no release from 1.0 on"),
        (("--libbpf", "1"), 2, "is no release from 1.0 on"),
        (("--format", "xml"), 2, "'xml' is not one of 'text', 'json'"),
        (("--wrong",), 2, "No such option"),
    ],
)
def test_bad_options(
    holdfast: Command,
    objects: dict[str, Path],
    bad_files: dict[str, Path],
    kernel_file: Path,
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    places = {name.removesuffix(".o"): path for name, path in bad_files.items()} | {"kernel": kernel_file}
    done = holdfast("check", objects["loads"], *(word.format(**places) for word in arguments))
    assert (done.status, done.out) == (status, "")
    first, *rest = done.err.splitlines()
    assert first.startswith("holdfast: ") and words in first
    assert len(rest) <= 1 and all(line.startswith("hint: ") for line in rest)


def test_nothing_to_check(holdfast: Command) -> None:
    for verb in ("check", "needs"):
        done = holdfast(verb)
        assert done.status == 2 and "Missing argument" in done.err


def test_unknown_program(holdfast: Command, objects: dict[str, Path]) -> None:
    done = holdfast("needs", objects["loads"], "--program", "nobody")
    assert (done.status, done.out) == (2, "")
    assert "no program 'nobody'" in done.err


def test_one_bad_object_is_told_before_anything_is_printed(
    holdfast: Command, objects: dict[str, Path], bad_files: dict[str, Path], kernel_file: Path
) -> None:
    done = holdfast("check", objects["loads"], bad_files["text.o"], "--kernel", kernel_file)
    assert (done.status, done.out) == (1, "")


def test_older_libbpf(holdfast: Command, objects: dict[str, Path], kernel_file: Path) -> None:
    done = holdfast(
        "check", objects["loads"], "--kernel", kernel_file, "--libbpf", "v1.3.0", "--format", "json"
    )
    assert {row["libbpf"] for row in json.loads(done.out)["results"]} == {"1.3"}


def test_an_object_that_libbpf_refuses_fails(
    holdfast: Command, kernel_file: Path, need_tool: Callable[[str], str], tmp_path: Path
) -> None:
    elf = ElfWriter()
    elf.program("prog", "socket", bind=0)
    path = tmp_path / "refused.o"
    path.write_bytes(elf.bytes())
    done = holdfast("check", path, "--kernel", kernel_file)
    assert done.status == 4
    assert "OBJECT_REFUSED" in done.out and "is static and not supported" in " ".join(done.out.split())


def test_a_refused_object_without_programs_is_no_success(
    holdfast: Command, kernel_file: Path, tmp_path: Path
) -> None:
    """There is no program to give a verdict of, and nothing loads."""
    elf = ElfWriter()
    elf.section(".maps", bytes(32), flags=3)
    path = tmp_path / "maps.o"
    path.write_bytes(elf.bytes())
    done = holdfast("check", path, "--kernel", kernel_file)
    assert done.status == 1
    assert "the .maps section has no BTF" in done.err


def test_an_object_without_programs(holdfast: Command, kernel_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.o"
    path.write_bytes(ElfWriter().bytes())
    assert holdfast("check", path, "--kernel", kernel_file).out == f"{path}: no programs\n"
    assert holdfast("needs", path).out.splitlines() == [str(path), "  no programs"]
