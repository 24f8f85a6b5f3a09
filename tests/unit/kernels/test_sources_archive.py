# SPDX-License-Identifier: Apache-2.0
"""From an archive's signature down to a package: what holds, and everything that must not."""

from __future__ import annotations

import dataclasses
import email.utils
import hashlib
import lzma
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.debarchive import HOUR, DebArchive, Key, Server, serve

from holdfast.kernels import sources
from holdfast.kernels.sources.apt import AptConfig, Entry

NAME = "linux-image-6.12.1-amd64"


@pytest.fixture(scope="module")
def keys(need_tool: Callable[[str], str]) -> Iterator[tuple[Key, Key]]:
    """A key that is trusted, and another."""
    need_tool("gpg")
    need_tool("gpgv")
    # not in tmp_path: a socket's path has 108 bytes at most
    with tempfile.TemporaryDirectory(prefix="hf") as room:
        pair = Key(Path(room) / "a", "archive"), Key(Path(room) / "b", "stranger")
        try:
            yield pair
        finally:
            for one in pair:
                one.end()


@pytest.fixture
def served(keys: tuple[Key, Key]) -> Iterator[Server]:
    """An archive with one kernel in the suite trixie."""
    archive = DebArchive()
    archive.package(NAME, "6.12.1-1", Source="linux-signed-amd64 (6.12.1+1)")
    archive.source("linux", "6.12.1-1", {"linux_6.12.1.orig.tar.xz": b"tar", "linux_6.12.1-1.dsc": b"dsc"})
    archive.publish("trixie", keys[0])
    with serve(archive) as server:
        yield server


Open = Callable[..., sources.Archive]


@pytest.fixture
def machine(served: Server, keys: tuple[Key, Key], tmp_path: Path) -> Open:
    """Make an Archive as a machine with one entry in apt's configuration has it."""

    def make(signed_by: str | None = None, **changes: object) -> sources.Archive:
        options = changes.pop("options", {})
        assert isinstance(options, dict)
        entry = Entry(served.address, ("trixie",), ("main",), signed_by or str(keys[0].binary))
        config = AptConfig((dataclasses.replace(entry, **changes),), options, tmp_path / "apt")  # type: ignore[arg-type]
        return sources.Archive("debian", cache=tmp_path / "cache", config=config)

    return make


def build(archive: sources.Archive, pattern: str = "*") -> sources.KernelBuild:
    (found,) = sources.kernel_builds(archive.suite("trixie"), "amd64", pattern)
    return found


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


# -- what holds ---------------------------------------------------------------------------------------------


def test_a_package_comes_down_whole(machine: Open, served: Server, tmp_path: Path) -> None:
    archive = machine()
    found = build(archive, "linux-image-6.12*")
    assert (found.release, found.version, found.name) == ("6.12.1-amd64", "6.12.1-1", NAME)
    assert (found.source, found.source_version) == ("linux", "6.12.1-1")
    (path,) = sources.download(found, tmp_path / "out", archive=archive)
    assert path.read_bytes() == next(data for name, data in served.archive.files.items() if NAME in name)
    assert left(tmp_path / "out") == [path.name]


def test_nothing_is_fetched_twice(machine: Open, served: Server, tmp_path: Path) -> None:
    for _ in range(2):
        archive = machine()
        sources.download(build(archive), tmp_path, archive=archive)
    assert len(served.asked(".deb")) == 1
    assert len(served.asked("Packages.xz")) == 1
    assert len(served.asked("InRelease")) == 2  # what is newest is asked each time


@pytest.mark.parametrize("packing", [".xz", ".gz", ""])
def test_indexes_come_in_three_packings(
    machine: Open, served: Server, keys: tuple[Key, Key], packing: str
) -> None:
    for name in list(served.archive.files):
        if "Packages" in name:
            del served.archive.files[name]
    served.archive.publish("trixie", keys[0], packing=packing)
    assert build(machine()).release == "6.12.1-amd64"


def test_an_index_is_asked_by_its_hash_first(machine: Open, served: Server, keys: tuple[Key, Key]) -> None:
    served.archive.publish("trixie", keys[0], Acquire_By_Hash="yes")
    assert build(machine()).release == "6.12.1-amd64"
    asked = [path for path, _ in served.requests if "binary-amd64" in path]
    assert "/by-hash/SHA256/" in asked[0]
    assert asked[1].endswith("/Packages.xz")  # this archive does not have what it promised


def test_a_source_package_has_its_description_first(machine: Open, tmp_path: Path) -> None:
    archive = machine()
    found = sources.source_package(archive.suite("trixie"), "linux", "6.12.1-1")
    assert [one.name for one in found.files] == ["linux_6.12.1-1.dsc", "linux_6.12.1.orig.tar.xz"]
    assert archive.download(found.files[1], tmp_path).read_bytes() == b"tar"
    with pytest.raises(sources.MissingError, match=r"no source package linux 9"):
        sources.source_package(archive.suite("trixie"), "linux", "9")


@pytest.mark.parametrize("form", ["ascii", "inline", "fingerprint", "release.gpg"])
def test_keys_come_in_many_forms(machine: Open, served: Server, keys: tuple[Key, Key], form: str) -> None:
    key = keys[0]
    inline = "\n" + "\n".join(line or "." for line in key.ascii.read_text().splitlines())
    if form == "release.gpg":
        del served.archive.files["dists/trixie/InRelease"]
    signed_by = {
        "ascii": str(key.ascii),
        "inline": inline,
        "fingerprint": f"{key.binary}, {key.fingerprint}",
        "release.gpg": str(key.binary),
    }[form]
    assert build(machine(signed_by)).release == "6.12.1-amd64"


def test_one_known_key_of_several_is_enough(machine: Open, served: Server, keys: tuple[Key, Key]) -> None:
    text = served.archive.files["dists/trixie/Release"]
    del served.archive.files["dists/trixie/InRelease"]
    both = [one._gpg("--detach-sign", text=text) for one in keys]
    served.archive.files["dists/trixie/Release.gpg"] = b"".join(both)
    assert build(machine()).release == "6.12.1-amd64"


# -- who signs ----------------------------------------------------------------------------------------------


def test_a_strangers_signature_is_named_and_refused(machine: Open, keys: tuple[Key, Key]) -> None:
    with pytest.raises(sources.UntrustedError) as caught:
        build(machine(str(keys[1].binary)))
    assert keys[0].fingerprint[-16:] in str(caught.value)
    assert "public.gpg has no such key" in str(caught.value)
    assert "debian-archive-keyring" in (caught.value.hint or "")


def test_another_key_of_the_keyring_does_not_count(machine: Open, keys: tuple[Key, Key]) -> None:
    with pytest.raises(sources.UntrustedError, match="no key of"):
        build(machine(f"{keys[0].binary} {keys[1].fingerprint}"))


@pytest.mark.parametrize("detached", [False, True])
def test_a_change_after_signing_is_refused(machine: Open, served: Server, detached: bool) -> None:
    files = served.archive.files
    if detached:
        del files["dists/trixie/InRelease"]
    name = "dists/trixie/Release" if detached else "dists/trixie/InRelease"
    files[name] = files[name].replace(b"Origin: Debian", b"Origin: Debiaf")
    with pytest.raises(sources.UntrustedError, match="changed after it was signed"):
        build(machine())


@pytest.mark.parametrize("where", ["before", "after", "none"])
def test_text_beside_the_signed_message_is_refused(machine: Open, served: Server, where: str) -> None:
    files, stray = served.archive.files, b"SHA256:\n"
    signed = files["dists/trixie/InRelease"]
    files["dists/trixie/InRelease"] = {"before": stray + signed, "after": signed + stray, "none": stray}[
        where
    ]
    with pytest.raises(sources.UntrustedError, match="not one signed message"):
        build(machine())


def test_a_suite_without_a_signature_is_refused(machine: Open, served: Server, keys: tuple[Key, Key]) -> None:
    for name in ("InRelease", "Release.gpg"):
        del served.archive.files[f"dists/trixie/{name}"]
    with pytest.raises(sources.UntrustedError, match="not signed"):
        build(machine())


def test_a_keyring_that_is_not_there_is_said(machine: Open, tmp_path: Path) -> None:
    with pytest.raises(sources.UntrustedError, match=r"lost\.gpg .* is not there") as caught:
        build(machine(str(tmp_path / "lost.gpg")))
    assert caught.value.hint == "apt-get install debian-archive-keyring"


def test_without_gpgv_the_tool_is_named(machine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(sources.UntrustedError, match="neither gpgv nor sqv") as caught:
        build(machine())
    assert caught.value.hint == "apt-get install gpgv"


# -- what is signed -----------------------------------------------------------------------------------------


def test_a_release_whose_time_is_over_is_refused_unless_apt_does_not_mind(
    machine: Open, served: Server, keys: tuple[Key, Key]
) -> None:
    served.archive.publish("trixie", keys[0], Valid_Until=email.utils.formatdate(time.time() - HOUR))
    with pytest.raises(sources.UntrustedError, match="was valid until"):
        machine().suite("trixie")
    lax = {"acquire::check-valid-until": "false"}
    (note,) = machine(options=lax).suite("trixie").notes
    assert "says not to check" in note
    with pytest.raises(sources.UntrustedError, match="was valid until"):
        machine(options=lax, check_date=True).suite("trixie")


def test_a_release_that_still_holds_has_no_note(machine: Open, served: Server, keys: tuple[Key, Key]) -> None:
    served.archive.publish("trixie", keys[0], Valid_Until=email.utils.formatdate(time.time() + HOUR))
    assert machine().suite("trixie").notes == ()


def test_another_suite_under_this_name_is_refused(
    machine: Open, served: Server, keys: tuple[Key, Key]
) -> None:
    served.archive.publish("trixie", keys[0], Suite="oldstable", Codename="bookworm")
    with pytest.raises(sources.UntrustedError, match=r"asked for trixie, the archive gave oldstable"):
        machine().suite("trixie")


def test_anothers_archive_has_no_suite_of_ours(machine: Open, served: Server, keys: tuple[Key, Key]) -> None:
    served.archive.publish("trixie", keys[0], Origin="Somebody")
    with pytest.raises(sources.MissingError) as caught:
        machine().suite("trixie")
    assert "Somebody's, not debian's" in (caught.value.hint or "")


def test_a_suite_that_is_nowhere_is_missing(machine: Open) -> None:
    with pytest.raises(sources.MissingError, match="has the suite sid of debian"):
        machine().suite("sid")


def test_an_architecture_that_is_nowhere_is_missing(machine: Open) -> None:
    for arch in ("mips", "../amd64"):
        with pytest.raises(sources.MissingError, match="has no architecture"):
            sources.packages(machine().suite("trixie"), arch, ["*"])


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a b", "trixie/../sid"])
def test_a_suites_name_stays_inside_the_archive(machine: Open, served: Server, name: str) -> None:
    with pytest.raises(sources.MissingError, match="no name of a suite"):
        machine().suite(name)
    assert served.requests == []


# -- what the hashes say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["Packages.xz", ".deb"])
def test_a_file_with_another_hash_is_refused_and_not_kept(
    machine: Open, served: Server, tmp_path: Path, ending: str
) -> None:
    for name, data in served.archive.files.items():
        if name.endswith(ending):
            served.archive.files[name] = data[:-1] + bytes([data[-1] ^ 1])
    archive = machine()
    with pytest.raises(sources.UntrustedError, match="does not match the checksum"):
        sources.download(build(archive), tmp_path / "out", archive=archive)
    assert left(tmp_path / "out") == []
    assert not any(ending in name for name in left(tmp_path / "cache"))


def test_an_index_that_unpacks_to_more_than_it_says_is_refused(
    machine: Open, served: Server, keys: tuple[Key, Key]
) -> None:
    files, name = served.archive.files, "dists/trixie/main/binary-amd64/Packages.xz"
    old, bomb = files[name], lzma.compress(bytes(8 << 20))
    files[name] = bomb
    release = files["dists/trixie/Release"].decode()
    digest = hashlib.sha256(old).hexdigest()
    assert digest in release
    release = release.replace(f"{digest} {len(old)}", f"{hashlib.sha256(bomb).hexdigest()} {len(bomb)}")
    files["dists/trixie/InRelease"] = keys[0].clear(release.encode())
    with pytest.raises(sources.UntrustedError, match="unpacks to more than"):
        build(machine())


@pytest.mark.parametrize(
    "filename", ["../../x.deb", "/etc/x.deb", "pool/../../x.deb", "pool/x\\y.deb", "pool/.hidden", ""]
)
def test_a_hostile_file_name_is_refused(
    machine: Open, served: Server, keys: tuple[Key, Key], tmp_path: Path, filename: str
) -> None:
    served.archive.package("linux-image-6.13.1-amd64", "6.13.1-1", Filename=filename)
    served.archive.publish("trixie", keys[0])
    with pytest.raises(sources.UntrustedError, match="no archive has"):
        build(machine(), "*6.13*")
    assert not any("x.deb" in name for name in left(tmp_path))


@pytest.mark.parametrize("fields", [{"SHA256": None}, {"SHA256": "00"}, {"Size": "many"}, {"Size": None}])
def test_a_package_that_nothing_vouches_for_is_refused(
    machine: Open, served: Server, keys: tuple[Key, Key], fields: dict[str, str | None]
) -> None:
    served.archive.package("linux-image-6.13.1-amd64", "6.13.1-1", **fields)
    served.archive.publish("trixie", keys[0])
    with pytest.raises(sources.UntrustedError, match="no SHA256 and size"):
        build(machine(), "*6.13*")


# -- parts that are gone from the index ---------------------------------------------------------------------


def test_unlisted_parts_are_taken_only_when_asked_for(
    machine: Open, served: Server, keys: tuple[Key, Key], tmp_path: Path
) -> None:
    served.archive.package(
        "linux-image-6.19.1-amd64",
        "6.19.1-1",
        Source="linux-signed-amd64 (6.19.1+1)",
        Depends="linux-binary-6.19.1-amd64 (= 6.19.1-1), linux-modules-6.19.1-amd64 (= 6.19.1-1)",
    )
    served.archive.package("linux-binary-6.19.1-amd64", "6.19.1-1")
    served.archive.publish("trixie", keys[0])
    part = "linux-modules-6.19.1-amd64_6.19.1-1_amd64.deb"
    served.archive.files[f"pool/main/l/linux/{part}"] = b"modules"
    archive = machine()
    found = build(archive, "*6.19*")
    with pytest.raises(sources.UntrustedError, match=r"no longer list linux-modules-6\.19\.1-amd64"):
        sources.download(found, tmp_path / "out", archive=archive)
    assert left(tmp_path / "out") == []
    paths = sources.download(found, tmp_path / "out", archive=archive, unlisted=True)
    assert [path.name.partition("_")[0] for path in paths] == [
        "linux-image-6.19.1-amd64",
        "linux-binary-6.19.1-amd64",
        "linux-modules-6.19.1-amd64",
    ]
    assert paths[-1].read_bytes() == b"modules"
