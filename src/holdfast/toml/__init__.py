# SPDX-License-Identifier: Apache-2.0
"""TOML files of people, read key by key, so that a complaint names the line and the table. Pure."""

from __future__ import annotations

from holdfast.toml.read import read_toml
from holdfast.toml.table import Table

__all__ = ["Table", "read_toml"]
