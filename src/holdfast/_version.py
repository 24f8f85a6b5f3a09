# SPDX-License-Identifier: Apache-2.0
"""The version, in the one place where the build and the program read it."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
