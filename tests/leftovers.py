# SPDX-License-Identifier: Apache-2.0
"""What this process holds, and what of ours lies in the kernel outside any process.

Other processes on the machine may load programs at the same time, so ids of the whole kernel are no measure:
programs, maps and links count when a descriptor of this process holds them, or a pin with our name does.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["in_the_kernel", "open_descriptors"]

BPF_ID = ("prog_id", "map_id", "link_id", "btf_id")
OUR_PINS = "holdfast*"  # on /sys/fs/bpf
OUR_LINKS = "hf*"  # TAPs, veths and network namespaces


def open_descriptors() -> set[str]:
    """This process's descriptors, each with what it is open on."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} -> {link.readlink()}")
        except FileNotFoundError:
            continue  # the descriptor that lists the folder
    return found


def in_the_kernel() -> set[str]:
    """Programs, maps, links and BTF that this process holds; our pins, network namespaces and links."""
    found = set()
    for path in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue  # as above, or a descriptor of another thread that has just been closed
        found |= {line.replace("\t", " ") for line in lines if line.split(":")[0] in BPF_ID}
    folders = {"pin": ("/sys/fs/bpf", OUR_PINS), "netns": ("/run/netns", OUR_LINKS)}
    folders["link"] = ("/sys/class/net", OUR_LINKS)
    for kind, (folder, pattern) in folders.items():
        found |= {f"{kind} {path.name}" for path in Path(folder).glob(pattern)}
    return found
