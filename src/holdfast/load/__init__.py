# SPDX-License-Identifier: Apache-2.0
"""Load objects through libbpf, and leave nothing behind.

::

    with load.open_object("steer.bpf.o", programs=["steer"]) as obj:
        obj.maps["rss_config"].update(0, config)
        tap.set_steering(obj.programs["steer"].fd)
"""

from __future__ import annotations

from holdfast.load.link import Link
from holdfast.load.map import Map
from holdfast.load.object import Object
from holdfast.load.pins import Pins
from holdfast.load.program import Program
from holdfast.load.session import Session, open_object
from holdfast.load.verifier_log import VerifierLog

__all__ = ["Link", "Map", "Object", "Pins", "Program", "Session", "VerifierLog", "open_object"]
