# SPDX-License-Identifier: Apache-2.0
"""Where distributions put the parts of a kernel.

==============================================  =====================================================
``boot/vmlinuz-R``, ``boot/config-R``           Debian to 7.1, Ubuntu
``[usr/]lib/modules/R/vmlinuz`` and ``config``  Debian from 7.2, Fedora, Arch, SUSE
``[usr/]lib/modules/R/kernel/``                 modules, ``.ko`` alone or with .xz, .zst, .gz
``[usr/]lib/modules/R/modules.builtin``         Documentation/kbuild/kbuild.rst
==============================================  =====================================================

Debian's were read in packages of 5.10 to 7.2; the others are told in the distributions' packaging sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Part", "place_of"]

Kind = Literal["kernel", "config", "builtin", "module"]

_RELEASE: Final = r"(?P<release>\d[\w.+~:-]{0,100})"
_IMAGES: Final = r"(?:vmlinuz|vmlinux|Image|zImage)"
_BOOT: Final = re.compile(rf"boot/(?:(?P<kernel>{_IMAGES})|(?P<config>config))-{_RELEASE}", re.ASCII)
_MODULES: Final = re.compile(rf"(?:usr/)?lib/modules/{_RELEASE}/(?P<inner>.+)", re.ASCII | re.DOTALL)
# Debian's linux-binary-unsigned-R has vmlinuz.unsigned, beside which the signed one can be installed
_IMAGE: Final = re.compile(rf"{_IMAGES}(?:\.unsigned)?(?:\.(?:gz|xz|zst|bz2|lz4))?", re.ASCII)
_PACKED: Final = re.compile(r"\.(?:gz|xz|zst|bz2|lz4)\Z", re.ASCII)
_MODULE: Final = re.compile(r".*\.ko(?:\.(?:xz|zst|gz))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """What a file is: its kind, the release it belongs to, its name below lib/modules/RELEASE or in boot/."""

    kind: Kind
    release: str
    inner: str


def place_of(name: str) -> Part | None:
    """What the file of this name (clean, relative to the root) is to a kernel; None for nothing."""
    boot = _BOOT.fullmatch(name)
    if boot:
        release = boot["release"]
        # vmlinux-R.gz: the ending belongs to the file, not to the release
        release = _PACKED.sub("", release) if boot["kernel"] else release
        return Part("kernel" if boot["kernel"] else "config", release, name.removeprefix("boot/"))
    found = _MODULES.fullmatch(name)
    if not found:
        return None
    release, inner = found["release"], found["inner"]
    if inner == "config":
        return Part("config", release, inner)
    if inner == "modules.builtin":
        return Part("builtin", release, inner)
    if _IMAGE.fullmatch(inner):
        return Part("kernel", release, inner)
    # debug files lie elsewhere, but `build` and `vdso` hold no modules of the kernel
    if _MODULE.fullmatch(inner) and not inner.startswith(("build/", "source/", "vdso/")):
        return Part("module", release, inner)
    return None
