# SPDX-License-Identifier: Apache-2.0
"""A guest's root built beside other work: it takes a second or two, once for each version of the packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from holdfast.errors import HoldfastError
from holdfast.vm.initramfs import archives_are_there

__all__ = ["root_ahead"]

_BUILD = "import sys; from holdfast.vm.initramfs import archives; archives(sys.argv[1:])"


@contextmanager
def root_ahead(with_packages: Iterable[str] = ()) -> Iterator[None]:
    """Have the parts of a guest's root that many boots share built and kept by another process, where they
    are not there yet. It has ended when the block has.

    What goes wrong there is told by :func:`holdfast.vm.initramfs.build`, which then builds them itself.
    """
    names = list(with_packages)
    try:
        there = archives_are_there(names)
    except HoldfastError:  # a package that is not installed, no libbpf: not told before it matters
        there = True
    if there:
        yield
        return
    quiet = subprocess.DEVNULL
    line = [sys.executable, "-Pc", _BUILD, *names]
    with subprocess.Popen(line, stdin=quiet, stdout=quiet, stderr=quiet) as builder:
        try:
            yield
        except BaseException:
            builder.kill()
            raise
