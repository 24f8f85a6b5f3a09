# SPDX-License-Identifier: Apache-2.0
"""What Holdfast costs next to the tools that it stands beside; ``make bench`` runs it, nothing tests it.

Everything is given as a ratio of two things that were measured in the same run, in turns: absolute times say
more about the machine than about the program.
"""

from __future__ import annotations
