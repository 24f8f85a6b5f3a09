# SPDX-License-Identifier: Apache-2.0
"""Opening a bundle: every object is there, is one, and agrees."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from tests.unit.bundle.manifests import MINIMAL, minimal_object, write_bundle

from holdfast.bundle import Bundle
from holdfast.errors import InterfaceMismatchError, ManifestError, ObjectFileError, UsageError


def test_variants_are_read_once(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path, MINIMAL, "first.bpf.o", "second.bpf.o"))
    assert bundle.name == "test/minimal"
    assert bundle.path == tmp_path
    assert [one.name for one in bundle.variants] == ["first", "second"]
    first = bundle.variant("first")
    assert first.programs == ("prog",)
    assert first.content == minimal_object()
    assert first.sha256 == sha256(first.content).hexdigest()
    with pytest.raises(UsageError) as caught:
        bundle.variant("third")
    assert caught.value.hint == "there are: first, second"


def test_a_missing_object_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"variant 'second' object: 'second\.bpf\.o' cannot be read"
    ) as caught:
        Bundle.open(write_bundle(tmp_path, MINIMAL, "first.bpf.o"))
    assert "clang --target=bpf -g -O2 -c second.bpf.c -o second.bpf.o" in (caught.value.hint or "")


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "bundle", tmp_path / "outside.o"
    inside.mkdir()
    outside.write_bytes(minimal_object())
    (inside / "second.bpf.o").symlink_to("../outside.o")
    with pytest.raises(ManifestError, match="is a link that leaves the bundle's folder"):
        Bundle.open(write_bundle(inside, MINIMAL, "first.bpf.o"))
    (inside / "second.bpf.o").unlink()
    (inside / "second.bpf.o").symlink_to("first.bpf.o")
    assert Bundle.open(inside).variant("second").sha256 == Bundle.open(inside).variant("first").sha256
    (inside / "second.bpf.o").unlink()
    (inside / "second.bpf.o").symlink_to("second.bpf.o")
    with pytest.raises(ManifestError, match="cannot be read"):
        Bundle.open(inside)


def test_a_damaged_object_is_told_with_its_path(tmp_path: Path) -> None:
    write_bundle(tmp_path, MINIMAL, "first.bpf.o", "second.bpf.o")
    (tmp_path / "second.bpf.o").write_bytes(b"no object")
    with pytest.raises(ObjectFileError, match=r"second\.bpf\.o: not an ELF file"):
        Bundle.open(tmp_path)


def test_a_mismatch_shows_when_it_is_opened(tmp_path: Path) -> None:
    text = MINIMAL.replace("SOCKET_FILTER", "XDP")
    with pytest.raises(
        InterfaceMismatchError, match="program 'prog' is SOCKET_FILTER, the manifest says XDP"
    ):
        Bundle.open(write_bundle(tmp_path, text, "first.bpf.o", "second.bpf.o"))
