# SPDX-License-Identifier: Apache-2.0
"""Boot a real, unmodified kernel under qemu and run jobs in it.

::

    kernel = BootKernel.from_path("linux-image-6.12.107+deb13-cloud-amd64_6.12.107-1_amd64.deb")
    with Guest.boot(kernel, modules=["nf_conntrack"]) as guest:
        for result in guest.run([Job("uname", "holdfast.vm.guest.jobs:uname")]):
            print(result.value)

Inside runs this machine's Python with this very package, so what loads and probes there is what loads and
probes here. What breaks a guest raises :class:`GuestError`; it is never a verdict.
"""

from __future__ import annotations

# A guest imports this package too, and must not pay for what boots it: names are imported when they are used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from holdfast.vm.boot import Guest
    from holdfast.vm.errors import GuestError
    from holdfast.vm.job import Job, JobResult
    from holdfast.vm.kernel import BootKernel
    from holdfast.vm.series import carry_out

__all__ = ["BootKernel", "Guest", "GuestError", "Job", "JobResult", "carry_out"]

_HOMES = {
    "BootKernel": "kernel",
    "Guest": "boot",
    "GuestError": "errors",
    "Job": "job",
    "JobResult": "job",
    "carry_out": "series",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.vm' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"holdfast.vm.{_HOMES[name]}"), name)
    return value
