# SPDX-License-Identifier: Apache-2.0
"""What apt here is configured with: mirrors, the keyrings that sign them, proxies, checks of dates.

No address of an archive stands in this package: this is the one place where it learns any. Read are apt's
own options (``apt-config dump``), then the files they name, deb822 ``.sources`` and one-line ``.list`` alike
(sources.list(5)); where these name nothing, ``apt-get indextargets`` is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernels.sources import deb822
from holdfast.kernels.sources.process import run

__all__ = ["AptConfig", "Entry", "read_config"]

_ONE_LINE = re.compile(r"(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*$")
_SETTING = re.compile(r'([^\s"]+) "(.*)";$')
_OPTION = re.compile(r"([A-Za-z-]+)\s*[+-]?=\s*(\S+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One archive of apt's configuration.

    ``address`` has no slash at its end. ``signed_by`` is as apt takes it: paths of keyrings, fingerprints, or
    a key itself; empty where apt would take any trusted key. ``check_date`` is this entry's own word on
    Valid-Until, None where it has none.
    """

    address: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    check_date: bool | None = None


@dataclass(frozen=True, slots=True)
class AptConfig:
    """Entries in apt's order, its options ({name in lower case: value}) and the folder of its files."""

    entries: tuple[Entry, ...]
    options: Mapping[str, str]
    folder: Path

    def path(self, option: str, default: str) -> Path:
        """Return the path that an option below ``Dir::Etc`` names, relative ones below apt's folder."""
        return self.folder / (self.options.get(f"dir::etc::{option}") or default)

    def says_no(self, option: str) -> bool:
        """Return whether an option is there and turned off."""
        return self.options.get(option.lower(), "").lower() in (
            "false",
            "no",
            "0",
            "off",
            "without",
            "disable",
        )

    def proxy(self, scheme: str, host: str) -> str | None:
        """Return apt's own proxy for a host: an address, ``DIRECT``, or None where apt names none."""
        name = f"acquire::{scheme}::proxy"
        found = self.options.get(f"{name}::{host.lower()}") or self.options.get(name)
        return found or (self.proxy("http", host) if scheme == "https" else None)


def read_config() -> AptConfig:
    """Return what apt here is configured with; without apt, what lies in /etc/apt. Never raises."""
    options = _options(run(["apt-config", "dump"]).out)
    root = Path(options.get("rootdir") or "/") / (options.get("dir") or "/").lstrip("/")
    folder = root / (options.get("dir::etc") or "etc/apt")
    config = AptConfig((), options, folder)
    files = [config.path("sourcelist", "sources.list")]
    parts = config.path("sourceparts", "sources.list.d")
    if parts.is_dir():
        files += sorted(path for path in parts.iterdir() if path.suffix in (".list", ".sources"))
    entries = [entry for path in files for entry in _entries(path)]
    return AptConfig(tuple(entries or _targets()), options, folder)


def _options(dump: str) -> dict[str, str]:
    found = {}
    for line in dump.splitlines():
        if match := _SETTING.match(line):
            found[match[1].lower()] = match[2]
    return found


def _entries(path: Path) -> Iterator[Entry]:
    try:
        text = path.read_text(errors="replace")
    except OSError:  # what this user cannot read, apt run by this user cannot read either
        return
    read = _from_stanzas if path.suffix == ".sources" else _from_lines
    yield from read(text)


def _from_lines(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match is None:
            continue
        _, inside, address, suite, components = match.groups()
        options = {name.lower(): value for name, value in _OPTION.findall(inside or "")}
        for one in _addresses([address]):
            yield _entry(one, (suite,), tuple(components.split()), options)


def _from_stanzas(text: str) -> Iterator[Entry]:
    for fields in deb822.stanzas(text.splitlines()):
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
        for address in _addresses(fields.get("uris", "").split()):
            yield _entry(address, tuple(suites), tuple(components), fields)


def _entry(
    address: str, suites: tuple[str, ...], components: tuple[str, ...], options: Mapping[str, str]
) -> Entry:
    check = options.get("check-valid-until")
    return Entry(
        address=address,
        suites=suites,
        components=components,
        signed_by=options.get("signed-by", "").strip(),
        check_date=None if check is None else check.lower() in ("yes", "true", "1", "on", "with", "enable"),
    )


def _addresses(named: Iterable[str]) -> Iterator[str]:
    """The addresses that can be opened: http, https, file; a list of mirrors in a file gives its mirrors."""
    for address in named:
        method, _, rest = address.partition(":")
        if method in ("http", "https", "file", "copy"):
            yield ("file" if method == "copy" else method) + ":" + rest.rstrip("/")
        elif method == "mirror+file":
            # apt-transport-mirror(1): one address a line, behind a tab its options
            path = Path("/" + rest.lstrip("/"))
            lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
            yield from _addresses(line.split()[0] for line in lines if line.strip() and line[0] != "#")


def _targets() -> Iterator[Entry]:
    said = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
    for line in said.out.splitlines():
        words = line.split()
        if len(words) == 3:
            for address in _addresses(words[:1]):
                yield Entry(address, (words[1],), (words[2],))
