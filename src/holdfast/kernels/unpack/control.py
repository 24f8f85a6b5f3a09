# SPDX-License-Identifier: Apache-2.0
"""What a Debian package says about itself; deb-control(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.kernels.record import PackageOrigin

__all__ = ["Control", "Relation", "parse"]

# "linux-base (>= 4.12~)" is a package of scripts, not a part of a kernel: a part has a release in its name.
_PART: Final = re.compile(r"linux-(?:base|binary|image|modules)(?:-unsigned|-extra)?-\d[a-z0-9.+~-]*")
_MOST_PARTS: Final = 32  # of a kernel, which is in four packages; each is looked for in the folder
_RELATION: Final = re.compile(r"\s*([a-z0-9][a-z0-9.+~-]*)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^\s()]+)\s*\))?")
_SOURCE: Final = re.compile(r"\s*(\S+)(?:\s+\(([^()\s]+)\))?")
_BUILT_USING: Final = re.compile(r"\blinux\s+\(=\s*([^()\s]+)\s*\)")


@dataclass(frozen=True, slots=True)
class Relation:
    """A package that another one depends on; ``version`` where exactly that one is asked for."""

    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.version})" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Control:
    """The fields that matter here; empty strings where a field is not there."""

    package: str
    version: str
    architecture: str
    source: str
    source_version: str
    distribution: str
    parts: tuple[Relation, ...]

    def origin(self, sha256: str) -> PackageOrigin:
        """As the catalogue wants it."""
        return PackageOrigin(
            name=self.package,
            version=self.version,
            distribution=self.distribution,
            sha256=sha256,
            source=self.source,
            source_version=self.source_version,
        )


def parse(text: str) -> Control:
    """Lenient: what cannot be understood is left out."""
    parts: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            if key:
                parts[key].append(line.strip())
        else:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            parts[key] = [value.strip()]
    fields = {key: " ".join(value) for key, value in parts.items()}
    package, version = fields.get("package", ""), fields.get("version", "")
    named = _SOURCE.match(fields.get("source", ""))
    source, source_version = (named[1], named[2] or version) if named else (package, version)
    # Debian signs kernels in a source package of its own, linux-signed-amd64; they were built from this one.
    built = _BUILT_USING.search(fields.get("built-using", "") + " " + fields.get("static-built-using", ""))
    if source.startswith("linux-signed") and built:
        source, source_version = "linux", built[1]
    maintainer = fields.get("maintainer", "").lower()
    distribution = next(
        (name for name in ("ubuntu", "debian") if f"{name}.org" in maintainer or f"{name}.com" in maintainer),
        "",
    )
    needed = f"{fields.get('pre-depends', '')},{fields.get('depends', '')}"
    return Control(
        package, version, fields.get("architecture", ""), source, source_version, distribution,
        tuple(dict.fromkeys(_parts(needed)))[:_MOST_PARTS],
    )  # fmt: skip


def _parts(field: str) -> list[Relation]:
    found = []
    for group in field.split(","):
        relation = _RELATION.match(group)
        if relation and _PART.fullmatch(relation[1]):
            found.append(Relation(relation[1], (relation[3] if relation[2] == "=" else None) or ""))
    return found
