# SPDX-License-Identifier: Apache-2.0
"""C texts beside this file: ``opened/`` use everything that libbpf reads of an object, ``refused/`` are each
refused for one reason.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["OPENED", "REFUSED", "SAID"]

OPENED, REFUSED = (
    {path.name.removesuffix(".bpf.c"): path.read_text() for path in sorted(folder.glob("*.bpf.c"))}
    for folder in (Path(__file__).parent / "opened", Path(__file__).parent / "refused")
)

SAID = {
    "no_struct": "is not a struct",
    "struct_ops_anonymous": "not of a named struct",
    "struct_ops_data": "cannot relocate non func ptr f",
    "struct_ops_of_other_type": "prog f is not struct_ops BPF program",
    "no_section_extern": "failed to find BTF for extern 'nowhere' section",
    "no_section_function": "failed to find BTF for extern 'nowhere' section",
    "key_no_pointer": "key spec is not PTR",
    "version_size": "invalid kver section",
}
"""Words of ours where libbpf's begin otherwise."""
