# SPDX-License-Identifier: Apache-2.0
"""The verbs. The module of each is ``holdfast.cli.<verb>``, its click command is called ``command`` there."""

from __future__ import annotations

__all__ = ["VERBS"]

# The line that `holdfast --help` prints stands here, so that help imports no verb.
VERBS = {
    "needs": "List what each program of an object requires of a kernel.",
    "check": "Say where objects and bundles load, and if not, why not.",
    "kernels": "Show, add, fetch, probe and compare kernels.",
    "kfunc": "Tell the life of a kfunc: where, prototype, flags, callable from, grade.",
    "verify": "Load objects in booted kernels, and score the predictions.",
    "run": "Load the best variant of a bundle here, or its fallback.",
    "rss": "Receive-side scaling for multiqueue TAP devices.",
}
