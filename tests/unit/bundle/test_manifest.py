# SPDX-License-Identifier: Apache-2.0
"""What a manifest says, and every mistake told with its place and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.bundle.manifests import MINIMAL

from holdfast.bundle import Attach, BundleManifest, read_manifest
from holdfast.errors import ManifestError
from holdfast.terms import MapType, ProgramType

MAPS = """\
[interface.maps.counts]
type = "HASH"
key_size = 4
value_size = 8
max_entries = 16
flags = ["NO_PREALLOC", "RDONLY"]
key = "__u32"
value = "struct   count"

[interface.maps.events]
type = "RINGBUF"

[interface.maps.ops]
type = "STRUCT_OPS"
value = "struct hid_bpf_ops"
attach = "auto"

[interface.maps.".rodata"]
type = "ARRAY"
key_size = 4
value_size = 12
"""
ROOT = Path(__file__).resolve().parents[3]


def read(folder: Path, text: str) -> BundleManifest:
    (folder / "holdfast.toml").write_text(text)
    return read_manifest(folder)


def refused(folder: Path, text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    assert str(folder / "holdfast.toml") in str(caught.value)
    return caught.value


def test_everything_that_a_manifest_may_say(tmp_path: Path) -> None:
    manifest = read(tmp_path, MINIMAL + MAPS)
    assert (manifest.name, manifest.version, manifest.description) == ("test/minimal", "1", "")
    assert manifest.folder == tmp_path
    (program,) = manifest.programs
    assert (program.name, program.type, program.attach) == ("prog", ProgramType.SOCKET_FILTER, Attach.NONE)
    counts, events, ops, rodata = manifest.maps
    assert (counts.type, counts.key_size, counts.value_size) == (MapType.HASH, 4, 8)
    assert (counts.max_entries, counts.flags) == (16, 1 | 8)
    assert (counts.key, counts.value) == ("__u32", "struct count")
    assert (events.key_size, events.value_size, events.max_entries) == (None, None, None)
    assert ops.attach is Attach.AUTO
    assert (rodata.name, rodata.max_entries) == (".rodata", None)
    assert [one.name for one in manifest.variants] == ["first", "second"]
    assert manifest.variants[1].source == "second.bpf.c"
    assert manifest.variants[0].programs is None
    assert manifest.fallback is not None
    assert manifest.fallback.python == "json:dumps"


def test_a_proof_brings_its_package_along(tmp_path: Path) -> None:
    proof = (
        'python = "prover.tap:prove"\nprepare = "prover:ready"\nmodules = ["tun"]\n'
        'packages = ["numpy", "prover"]\n'
    )
    found = read(tmp_path, f"{MINIMAL}\n[proof]\n{proof}").proof
    assert found is not None
    assert (found.python, found.prepare, found.modules) == ("prover.tap:prove", "prover:ready", ("tun",))
    assert found.packages == ("prover", "numpy")
    own = read(tmp_path, MINIMAL + '\n[proof]\npython = "holdfast.rss.prove:prove"\n').proof
    assert own is not None and own.packages == () and own.prepare is None and own.ground is None
    assert read(tmp_path, MINIMAL).proof is None


@pytest.mark.parametrize(
    ("proof", "problem"),
    [
        ("", "'python' is missing"),
        ('python = "json"', "[proof] python: 'json' is no entry point"),
        ('python = "json:dumps"\nprepare = "dumps"', "[proof] prepare: 'dumps' is no entry point"),
        ('python = "json:dumps"\nmodules = ["../tun"]', "[proof] modules: '../tun' is no name"),
        ('python = "json:dumps"\nmodule = ["tun"]', "unknown key 'module'"),
    ],
)
def test_a_proof_that_makes_no_sense(tmp_path: Path, proof: str, problem: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(problem)):
        read(tmp_path, f"{MINIMAL}\n[proof]\n{proof}\n")


def test_the_file_itself_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(MINIMAL)
    assert read_manifest(tmp_path / "other.toml").name == "test/minimal"


@pytest.mark.parametrize("manifest", sorted((ROOT / "bundles").rglob("holdfast.toml")), ids=str)
def test_bundles_of_this_repository(manifest: Path) -> None:
    assert read_manifest(manifest).name == str(manifest.parent.relative_to(ROOT / "bundles"))


MISTAKES = {
    # name: (replace, by, place, part of the problem, part of the hint)
    "unknown key": (
        'object = "first',
        'objekt = "first',
        "[[variant]] 1 ('first')",
        "'object' is missing",
        "",
    ),
    "misspelled table": (
        "[fallback]",
        "[fallbak]",
        "line 17, top level",
        "unknown key 'fallbak'",
        "'fallback'?",
    ),
    "misspelled key": (
        'version = "1"',
        'version = "1"\nlicence = "GPL"',
        "[bundle]",
        "unknown key 'licence'",
        "'license'?",
    ),
    "no version": ('version = "1"', "", "[bundle]", "'version' is missing", "a string"),
    "wrong kind": (
        'version = "1"',
        "version = 1",
        "line 3, [bundle] version",
        "a string is wanted, not a number",
        "",
    ),
    "truth is no number": (
        "key_size = 4",
        "key_size = true",
        "[interface.maps.counts] key_size",
        "a number is wanted, not a truth value",
        "",
    ),
    "negative": (
        "key_size = 4",
        "key_size = -4",
        "[interface.maps.counts] key_size",
        "does not fit 32 bits",
        "",
    ),
    "bundle name": ("test/minimal", "Test Minimal", "[bundle] name", "'Test Minimal' is no name", "net/rss"),
    "program type": (
        "SOCKET_FILTER",
        "SOCKET_FILTRE",
        "[interface.programs.prog] type",
        "",
        "'SOCKET_FILTER'?",
    ),
    "UAPI prefix": (
        '"SOCKET_FILTER"',
        '"BPF_PROG_TYPE_SOCKET_FILTER"',
        "[interface.programs.prog] type",
        "is not known",
        "'SOCKET_FILTER', without",
    ),
    "map type": ('"RINGBUF"', '"ringbuffer"', "[interface.maps.events] type", "is not known", "'RINGBUF'?"),
    "no size": ("value_size = 8", "", "[interface.maps.counts]", "'value_size' is missing", "a number"),
    "flag": ('"RDONLY"', '"RDONLI"', "[interface.maps.counts] flags", "'RDONLI' is not known", "'RDONLY'?"),
    "flag prefix": ('"RDONLY"', '"BPF_F_RDONLY"', "[interface.maps.counts] flags", "", "'RDONLY', without"),
    "flag twice": ('"RDONLY"', '"NO_PREALLOC"', "[interface.maps.counts] flags", "stands there twice", ""),
    "attach a plain map": (
        "max_entries = 16",
        'attach = "auto"',
        "[interface.maps.counts] attach",
        "only a STRUCT_OPS map",
        "leave it out",
    ),
    "attach word": (
        '"auto"',
        '"automatic"',
        "[interface.maps.ops] attach",
        "'automatic' is not known",
        "'auto'?",
    ),
    "variants of one name": (
        '"second"',
        '"first"',
        "[[variant]] 2",
        "'first' stands there again",
        "[[variant]] 1 has that name",
    ),
    "fallback of a variant's name": (
        '"user-space"',
        '"first"',
        "[fallback]",
        "'first' stands there again",
        "",
    ),
    "outside": ("first.bpf.o", "../first.bpf.o", "object", "leaves the bundle's folder", "without '..'"),
    "absolute": ("first.bpf.o", "/first.bpf.o", "object", "leaves the bundle's folder", "relative"),
    "source outside": ("second.bpf.c", "a/../../b.c", "source", "leaves the bundle's folder", ""),
    "entry point": ("json:dumps", "json.dumps", "[fallback] python", "is no entry point", "module:attribute"),
    "map and program": (
        "interface.maps.counts",
        "interface.maps.PROG",
        "[interface.maps]",
        "'PROG' cannot be told from 'prog'",
        "rename",
    ),
    "programs without the interface's": (
        'object = "first.bpf.o"',
        'object = "first.bpf.o"\nprograms = ["other"]',
        "[[variant]] 1 ('first') programs",
        "'prog' is not among them",
        "add it",
    ),
    "not a table": (
        "[interface.programs.prog]",
        "[interface.programs]\nprog = 1\n[x]",
        "[interface.programs] prog",
        "a table is wanted, not a number",
        "",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, mistake: str) -> None:
    old, new, place, problem, hint = MISTAKES[mistake]
    text = MINIMAL + MAPS
    assert old in text
    error = refused(tmp_path, text.replace(old, new, 1))
    assert place in (error.place or "")
    assert problem in error.problem
    assert hint in (error.hint or "")


def test_toml_errors_name_the_line(tmp_path: Path) -> None:
    error = refused(tmp_path, '[bundle]\nname = "a"\nversion = \n')
    assert error.place == "line 3"
    assert refused(tmp_path, '[bundle]\nname = "a').place in ("line 2", "end of the file")
    assert refused(tmp_path, "[bundle]\n[bundle]\n").place == "line 2"


def test_files_that_are_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file") as caught:
        read_manifest(tmp_path)
    assert caught.value.hint == "a bundle is a folder with a holdfast.toml"
    file = tmp_path / "holdfast.toml"
    file.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ManifestError, match="line 2: not UTF-8"):
        read_manifest(tmp_path)
    file.write_bytes(b"\x7fELF")
    with pytest.raises(ManifestError, match="an ELF file"):
        read_manifest(file)
    file.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ManifestError, match="larger than"):
        read_manifest(file)


def test_an_empty_bundle_is_refused(tmp_path: Path) -> None:
    head = '[bundle]\nname = "a"\nversion = "1"\n[interface]\n'
    assert refused(tmp_path, head).problem == "no variant"
    assert (
        refused(tmp_path, head + '[[variant]]\nname = "x"\nobject = "x"\n').problem
        == "the interface is empty"
    )


def test_a_struct_ops_program_is_attached_by_its_map(tmp_path: Path) -> None:
    text = MINIMAL.replace('"SOCKET_FILTER"', '"STRUCT_OPS"\nattach = "auto"')
    error = refused(tmp_path, text)
    assert error.problem == "a struct_ops program is attached by its map"


WORDS = st.sampled_from(
    [
        "[bundle]",
        "[interface.programs.a]",
        "[[variant]]",
        "[fallback]",
        "name",
        "=",
        '"a"',
        "1",
        "[",
        "]",
        "\n",
        ".",
    ]
)


@given(st.lists(WORDS | st.text(max_size=3), max_size=40).map(" ".join))
def test_any_text_gives_a_manifest_or_its_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        read_manifest(file)
    except ManifestError as error:
        assert "\n" not in str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["bundle", "interface", "maps", "programs", "variant", "fallback", "name", "type"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_value_in_any_place_is_told(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    file = tmp_path_factory.getbasetemp() / "value.toml"
    text = _toml(value) if isinstance(value, dict) else _toml({"bundle": value})
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ManifestError):
        read_manifest(file)


def _toml(value: object) -> str:
    """A TOML document for nested plain values; None is left out."""
    import json

    def inline(one: object) -> str:
        if isinstance(one, dict):
            parts = [f"{json.dumps(key)} = {inline(item)}" for key, item in one.items() if item is not None]
            return "{" + ", ".join(parts) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(inline(item) for item in one if item is not None) + "]"
        return json.dumps(one)

    assert isinstance(value, dict)
    return "\n".join(f"{key} = {inline(item)}" for key, item in value.items() if item is not None)
