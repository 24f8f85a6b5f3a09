# SPDX-License-Identifier: Apache-2.0
"""The bundles of tests/live/bundle, for the command line."""

from __future__ import annotations

from tests.live.bundle.conftest import build, pin_folder

__all__ = ["build", "pin_folder"]
