# SPDX-License-Identifier: Apache-2.0
"""What apt is configured with: its files in both forms, and which archives are a distribution's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.errors import UsageError
from holdfast.kernels.sources import apt, deb822, distribution, version
from holdfast.kernels.sources.apt import AptConfig, Entry, read_config
from holdfast.kernels.sources.process import Said

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGE = Path(apt.__file__).parent


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that apt's options name as its own; apt itself is not asked."""
    folder = tmp_path / "etc/apt"
    (folder / "sources.list.d").mkdir(parents=True)
    targets = "http://t.invalid/debian/ trixie main\ncdrom:[x]/ trixie main\n"
    dump = f'Dir "{tmp_path}/";\nDir::Etc "etc/apt";\nAcquire::Check-Valid-Until "false";\nX:: "y";\n'

    def run(command: list[str]) -> Said:
        return Said(0, {"apt-config": dump, "apt-get": targets}[command[0]], "")

    monkeypatch.setattr(apt, "run", run)
    return folder


def write(etc: Path, name: str, text: str) -> None:
    (etc / "sources.list.d" / name).write_text(text)


def test_one_line_entries(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "# deb http://no.invalid trixie main\n"
        "deb http://a.invalid/debian/ trixie main contrib # a word\n"
        f"deb-src [ arch=amd64,arm64 signed-by={KEYRING} check-valid-until=no ]"
        " http://b.invalid/debian sid main\n"
        "deb cdrom:[Debian]/ trixie main\nnonsense\ndeb\n"
    )
    assert read_config().entries == (
        Entry("http://a.invalid/debian", ("trixie",), ("main", "contrib")),
        Entry("http://b.invalid/debian", ("sid",), ("main",), KEYRING, check_date=False),
    )


def test_stanzas(etc: Path) -> None:
    key = (
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDME\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    write(
        etc,
        "a.sources",
        f"Types: deb\nURIs: http://a.invalid/x/ file:/srv/y\n"
        f"Suites: trixie trixie-updates\nComponents: main\n{key}\n"
        "Types: deb\nEnabled: no\nURIs: http://off.invalid\nSuites: trixie\nComponents: main\n\n"
        "# a remark\nTypes: deb\nURIs: https://c.invalid\nSuites: sid\nComponents:\n  main\n  contrib\n"
        "Check-Valid-Until: yes\n",
    )
    write(etc, "ignored.txt", "deb http://no.invalid trixie main\n")
    first, second, third = read_config().entries
    assert (first.address, second.address) == ("http://a.invalid/x", "file:/srv/y")
    assert first.suites == ("trixie", "trixie-updates")
    assert "\n.\nmDME\n" in first.signed_by
    assert third == Entry("https://c.invalid", ("sid",), ("main", "contrib"), check_date=True)


def test_a_list_of_mirrors_gives_its_mirrors(etc: Path) -> None:
    mirrors = etc / "mirrors.list"
    mirrors.write_text("# a remark\nhttp://m.invalid/debian/\tpriority:1\n\nftp://f.invalid/debian\n")
    write(etc, "a.list", f"deb mirror+file:{mirrors} trixie main\n")
    assert [entry.address for entry in read_config().entries] == ["http://m.invalid/debian"]


def test_without_files_apt_is_asked_for_its_targets(etc: Path) -> None:
    assert read_config().entries == (Entry("http://t.invalid/debian", ("trixie",), ("main",)),)


def test_without_apt_there_is_nothing_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "run", lambda _command: Said(127, "", "not found"))
    config = read_config()
    assert config.folder == Path("/etc/apt")
    assert config.options == {}


def test_options(etc: Path) -> None:
    config = read_config()
    assert config.says_no("Acquire::Check-Valid-Until")
    assert not config.says_no("Acquire::Check-Date")
    assert config.path("trusted", "trusted.gpg") == etc / "trusted.gpg"


def test_proxies() -> None:
    options = {
        "acquire::http::proxy": "http://p.invalid:3128",
        "acquire::http::proxy::near.invalid": "DIRECT",
    }
    config = AptConfig((), options, Path("/"))
    assert config.proxy("http", "far.invalid") == "http://p.invalid:3128"
    assert config.proxy("https", "far.invalid") == "http://p.invalid:3128"
    assert config.proxy("http", "Near.invalid") == "DIRECT"
    assert AptConfig((), {}, Path("/")).proxy("https", "x") is None


# -- whose archive ------------------------------------------------------------------------------------------

MAIN = Entry("http://m.invalid/debian", ("trixie", "trixie-updates"), ("main",), KEYRING)
SECURITY = Entry("http://m.invalid/debian-security", ("trixie-security",), ("main",), KEYRING)
OTHERS = Entry("http://o.invalid/apt", ("trixie",), ("main",), "/etc/apt/keyrings/other.gpg")
NOBODYS = Entry("http://n.invalid/apt", ("nodistro",), ("main",), "/etc/apt/keyrings/n.gpg")
WITHOUT_MAIN = Entry("http://d.invalid/apt", ("trixie",), ("stable",))


@pytest.mark.parametrize(
    ("suite", "first"),
    [
        ("trixie", MAIN),
        ("sid", MAIN),
        ("trixie-backports", MAIN),
        ("trixie-security", SECURITY),
        ("bullseye-security", SECURITY),
    ],
)
def test_the_likeliest_archive_is_asked_first(suite: str, first: Entry) -> None:
    config = AptConfig((NOBODYS, OTHERS, WITHOUT_MAIN, SECURITY, MAIN), {}, Path("/"))
    found = distribution.candidates(config, distribution.DISTRIBUTIONS["debian"], suite)
    assert found[0] == first
    assert found[-1] == OTHERS  # it names a suite of Debian's; its Release file will tell
    assert len(found) == 3


def test_an_address_is_asked_once() -> None:
    config = AptConfig((MAIN, MAIN, MAIN), {}, Path("/"))
    assert distribution.candidates(config, distribution.DISTRIBUTIONS["debian"], "sid") == [MAIN]


def test_debians_archive_is_not_asked_for_ubuntus_suites() -> None:
    config = AptConfig((MAIN, SECURITY), {}, Path("/"))
    assert distribution.candidates(config, distribution.DISTRIBUTIONS["ubuntu"], "noble") == []


def test_unknown_distributions_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="there are debian, ubuntu"):
        distribution.named("plan9")
    assert distribution.named("Debian").name == "debian"


# -- words --------------------------------------------------------------------------------------------------


def test_versions_sort_as_dpkg_sorts_them() -> None:
    ordered = ["0~", "0", "1.0~rc1-1", "1.0~rc2-1", "1.0-1~bpo1", "1.0-1", "1.0-1+b1", "1.0-2", "1.0-10"]
    ordered += ["1.0a-1", "1.0+x-1", "1.1", "6.9.1-1", "6.12-1", "6.12.9-1~bpo12+1", "6.12.9-1", "6.12.10-1"]
    ordered += ["7.3~rc7-1~exp1", "7.3-1", "1:0.1"]
    assert sorted(sorted(ordered), key=version.sort_key) == ordered
    assert version.sort_key("1.0-1") == version.sort_key("0:1.0-1")


def test_stanzas_are_read_as_they_stand() -> None:
    text = "a: 1\r\nB-c:\n x\n\ty\n# remark\n .\nodd line\n lost\n\n\nA: 2\nA: 3\n"
    assert list(deb822.stanzas(text.splitlines(keepends=True))) == [
        {"a": "1", "b-c": "\nx\ny\n."},
        {"a": "3"},
    ]
    assert deb822.stanza("") == {}


def test_odd_checksums_are_passed_over() -> None:
    good = "A" * 64
    text = f" {good} 10 main/x\n short 10 y\n {good} -1 z\n {good} 10\n {good} 10 a b\n"
    assert deb822.checksums(text) == {"main/x": deb822.Digest(10, "a" * 64)}


def test_no_address_stands_in_the_source() -> None:
    files = sorted(PACKAGE.glob("*.py"))
    assert len(files) > 5
    for path in files:
        assert not re.findall(r"\w+://\w[\w.-]*\.\w+|\b\w+\.(?:org|com|net)\b", path.read_text()), path.name
