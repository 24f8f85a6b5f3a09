# SPDX-License-Identifier: Apache-2.0
"""The version behind a distribution's kernel."""

from __future__ import annotations

import pytest

from holdfast.kernels.upstream import upstream_version


@pytest.mark.parametrize(
    ("uname_version", "signature", "version"),
    [
        ("#1 SMP Debian 5.10.262-1 (2026-07-31)", "", "5.10.262"),
        ("#26-Ubuntu SMP Thu Apr 2 10:00:00 UTC 2026", "Ubuntu 5.12.0-12.12-generic 5.12.14\n", "5.12.14"),
        ("#1 SMP PREEMPT_DYNAMIC @0", "", ""),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12-rc1 (2024-09-29)", "", ""),
    ],
)
def test_upstream_versions(uname_version: str, signature: str, version: str) -> None:
    assert upstream_version(uname_version, signature) == version
