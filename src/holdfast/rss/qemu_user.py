# SPDX-License-Identifier: Apache-2.0
"""Another user, for good: no capability stays, and none comes back by what is executed later."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from dataclasses import dataclass

from holdfast.errors import PrivilegeError, UsageError

__all__ = ["User", "become", "find_user"]

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES = 64  # bits; the kernel refuses those that it does not have


@dataclass(frozen=True, slots=True)
class User:
    """Who a process will be; ``groups`` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def find_user(text: str) -> User:
    """Returns the user of ``NAME``, ``UID``, ``NAME:GROUP`` or ``UID:GID``.

    A known user's supplementary groups come along (``kvm``, say), where no group is named. Raises
    :class:`~holdfast.errors.UsageError` for one that is not there, and for root.
    """
    name, colon, group = text.partition(":")
    try:
        known = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid = known.pw_uid, known.pw_gid
        groups = tuple(os.getgrouplist(known.pw_name, gid))
    except KeyError:
        if not name.isdigit():
            raise UsageError(f"there is no user {name!r}") from None
        uid = gid = int(name)
        groups = ()
    if colon:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise UsageError(f"there is no group {group!r}") from None
        groups = ()
    if uid == 0:
        raise UsageError("user 0 keeps all privileges", hint="name another user, or leave the option out")
    return User(uid, gid, groups)


def become(user: User) -> None:
    """Makes this process the user's. Every capability is gone, from the bounding set as well, and
    PR_SET_NO_NEW_PRIVS is on. A parent-death signal that was set stays set, which a change of user clears.

    Raises :class:`~holdfast.errors.PrivilegeError` without CAP_SETUID and CAP_SETGID. Not to be undone: call
    it right before exec.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    at_death = ctypes.c_int()
    prctl(_PR_GET_PDEATHSIG, ctypes.byref(at_death), 0, 0, 0)
    for capability in range(_CAPABILITIES):
        prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    try:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        raise PrivilegeError(
            f"cannot become user {user.uid}: {error.strerror}", hint="run as root, or leave --user out"
        ) from None
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise PrivilegeError(f"PR_SET_NO_NEW_PRIVS: {os.strerror(ctypes.get_errno())}")
    if at_death.value:
        prctl(_PR_SET_PDEATHSIG, at_death.value, 0, 0, 0)
