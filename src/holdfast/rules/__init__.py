# SPDX-License-Identifier: Apache-2.0
"""The kernel's own rules that no BTF holds, as data: who may call what, what a map must look like, what may
sleep.

The rules cover releases 5.10 to 7.3: what is derived was read in seven source trees (``helper_table.TREES``),
the rest in those up to the release that it names. Newer kernels get the newest tree's answer. A kernel is
placed between the trees by what its BTF holds (``eras``), by its release number only where nothing else is
left. Every ruling says from where it knows.
"""

from __future__ import annotations
