# SPDX-License-Identifier: Apache-2.0
"""Tags of pointers in map values: which of them a kernel knows, and what it makes of those it does not.

btf_find_kptr in kernel/bpf/btf.c, map_check_btf in kernel/bpf/syscall.c, map_kptr_match_type and
process_kptr_func in kernel/bpf/verifier.c; trees 6.1, 6.12, 6.18 and 7.2.
"""

from __future__ import annotations

from typing import Final

from holdfast.rules.ask import Allowed, Ask, Ruling
from holdfast.rules.eras import since
from holdfast.rules.map_fields import Field

__all__ = ["exchanged", "found"]

_RENAMED: Final = (6, 4)
"""03b77e17aeb2 ("bpf: Rename __kptr_ref -> __kptr and __kptr -> __kptr_untrusted.", v6.4): before, "kptr" was
what is "kptr_untrusted" now."""
_TAGS: Final = {"kptr_untrusted": (6, 4), "percpu_kptr": (6, 7), "uptr": (6, 13)}
_OLD: Final = frozenset({"kptr", "kptr_ref"})
_POINTERS: Final = frozenset({Field.KPTR, Field.UPTR})


def _unknown(tags: frozenset[str], ask: Ask) -> bool:
    """Whether one of the tags is surely none of this kernel's."""
    if since(ask, _RENAMED) is False:
        return bool(tags - _OLD)
    return ("kptr_ref" in tags and since(ask, _RENAMED) is True) or any(
        since(ask, _TAGS[tag]) is False for tag in tags if tag in _TAGS
    )


def found(fields: frozenset[Field], tags: frozenset[str], ask: Ask) -> frozenset[Field]:
    """Those of a value's special fields that the kernel finds.

    A tag that it does not know ends the search (EINVAL), and the map is created as if it had no such field:
    none of all since aa3496accc41 ("bpf: Refactor kptr_off_tab into btf_record", v6.2), no pointer before.
    """
    if not _unknown(tags, ask):
        return fields
    return fields - _POINTERS if since(ask, (6, 2)) is False else frozenset()


def exchanged(maps: frozenset[frozenset[str]], ask: Ask) -> Ruling:
    """Whether bpf_kptr_xchg() can work on a map of a program, by the tags in the values of each.

    Since 6.13 it also works on what bpf_obj_new() gave.
    """
    source = "map_kptr_match_type, process_kptr_func in kernel/bpf/verifier.c"
    if since(ask, (6, 13)) is not False or since(ask, (5, 19)) is not True:
        return Ruling(Allowed.YES, "", source)
    older = since(ask, _RENAMED)
    if older is None:
        return Ruling(Allowed.YES, "", source)
    wanted = {"kptr", "percpu_kptr"} if older else {"kptr_ref"}
    if any(tags & wanted and not _unknown(tags, ask) for tags in maps):
        return Ruling(Allowed.YES, "", source)
    told = "and no map has a pointer tagged kptr" if older else "which is tagged kptr_ref in this kernel"
    return Ruling(Allowed.NO, f"bpf_kptr_xchg wants a referenced kptr, {told}", source)
