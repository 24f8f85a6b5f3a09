# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

KERNELS = ["debian/5.10*-cloud-amd64", "debian/6.1.*-cloud-amd64", "debian/6.12*+deb13-cloud-amd64"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_our_object_loads(bpf_loads, kernel):
    bpf_loads("build/connect.bpf.o", kernels=kernel)
