# SPDX-License-Identifier: Apache-2.0
"""Boot a real, unmodified kernel under qemu and run jobs in it.

::

    kernel = BootKernel.from_pieces(pieces)
    with Guest.boot(kernel, modules=["nf_conntrack"]) as guest:
        for result in guest.run([Job("uname", "holdfast.vm.guest.jobs:uname")]):
            print(result.value)

Inside runs this machine's Python with this very package, so what loads and probes there is what loads and
probes here. What breaks a guest raises :class:`GuestError`; it is never a verdict.
"""

from __future__ import annotations

from holdfast.vm.boot import Guest
from holdfast.vm.errors import GuestError
from holdfast.vm.job import Job, JobResult
from holdfast.vm.kernel import BootKernel

__all__ = ["BootKernel", "Guest", "GuestError", "Job", "JobResult"]
