# SPDX-License-Identifier: Apache-2.0
"""What a store says of one kernel: who it is, and which blobs hold the rest. A manifest is a blob itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from holdfast.kernels.catalogue.parts import DamagedError, Parts, pack
from holdfast.kernels.record import PackageOrigin

__all__ = ["FORMAT", "Manifest"]

FORMAT: Final = 1
"""Of the whole store; another one is refused."""

_KIND: Final = "kernel"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One kernel. ``serial`` grows with every change of a store, so of two manifests with one id the newer
    is known. ``segments`` are the pool's, in order. ``chains`` name for each part (vmlinux, modules, symbols,
    texts) its blob and then those that it is told by the difference to. ``digests`` are those of the raw BTF,
    by module, "" for vmlinux. ``size`` is what came onto the disk with it, in bytes, itself left out.
    """

    serial: int
    id: str
    release: str
    arch: str
    source: str
    upstream: str
    package: PackageOrigin | None
    segments: tuple[str, ...]
    chains: Mapping[str, tuple[str, ...]]
    digests: Mapping[str, str]
    size: int
    probes: str | None = None
    has_symbols: bool = field(default=True)

    def blobs(self) -> Iterator[str]:
        """All blobs that it needs, itself left out."""
        yield from self.segments
        for chain in self.chains.values():
            yield from chain
        if self.probes is not None:
            yield self.probes

    def to_bytes(self) -> bytes:
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["package"] = None if self.package is None else asdict(self.package)
        fields["format"] = FORMAT
        return pack(_KIND, {"manifest": json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()})

    @classmethod
    def from_bytes(cls, blob: bytes) -> Manifest:
        """Raises :exc:`DamagedError` for what :meth:`to_bytes` cannot have given."""
        try:
            raw: dict[str, Any] = json.loads(Parts(blob, _KIND)["manifest"])
            if raw.pop("format") != FORMAT:
                raise DamagedError("a manifest of another format")
            package = raw.pop("package")
            return cls(
                package=None if package is None else PackageOrigin(**package),
                segments=tuple(raw.pop("segments")),
                chains={part: tuple(names) for part, names in raw.pop("chains").items()},
                **raw,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(f"no manifest: {error}") from error
