# SPDX-License-Identifier: Apache-2.0
"""What runs inside of a guest: process 1, and the functions that jobs call.

Here is only what is asked of a kernel; loading, probing and facts are the same code as everywhere else.
"""

from __future__ import annotations

__all__: list[str] = []
