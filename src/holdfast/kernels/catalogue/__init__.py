# SPDX-License-Identifier: Apache-2.0
"""The catalogue: what is known of kernel builds, kept on disk, and the part of it that ships with Holdfast.

What kernels have in common is stored once (:mod:`.pool`), what is left is told by the difference to a kernel
that is like it (:mod:`.chain`), and what lookups need is kept ready in the user's cache (:mod:`.expanded`).
Nothing of numpy or zstandard is imported before something has to be put together.
"""

from __future__ import annotations

from holdfast.kernels.catalogue.index import KernelRow
from holdfast.kernels.catalogue.shelf import Entry, Shelf, find
from holdfast.kernels.catalogue.store import Catalogue, data_folder

__all__ = ["Catalogue", "Entry", "KernelRow", "Shelf", "data_folder", "find"]
