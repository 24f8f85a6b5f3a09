# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between this machine and a distribution's archive, told apart by what would help.

::

    ArchiveError
    ├── OfflineError     it does not answer: try again, or go on with what is here
    ├── MissingError     it answers, and does not have that
    └── UntrustedError   what it gave is not vouched for: signature, checksum, date, a hostile name
"""

from __future__ import annotations

from holdfast.errors import HoldfastError

__all__ = ["ArchiveError", "MissingError", "OfflineError", "UntrustedError"]


class ArchiveError(HoldfastError):
    """A distribution's archive could not be used."""


class OfflineError(ArchiveError):
    """The archive does not answer, or stops in the middle."""


class MissingError(ArchiveError):
    """The archive, or apt's configuration, does not have what was asked for."""


class UntrustedError(ArchiveError):
    """What the archive gave is not what its keys vouch for. It was not kept."""
