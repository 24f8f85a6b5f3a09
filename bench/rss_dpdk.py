# SPDX-License-Identifier: Apache-2.0
"""The program of DPDK's TAP driver, built when it is measured, and the way its package builds it.

Debian's packages of DPDK carry none (librte-net-tap of bookworm, trixie and sid were looked at: no BPF object
is in them), because clang and bpftool are not there when they are built. So it comes from the source package:
``HOLDFAST_DPDK`` names an unpacked one, else that of Debian is fetched into build/bench/dpdk, once. The flags
are those of its drivers/net/tap/bpf/meson.build; clang is each one that is here, since what comes out depends
on it. Nothing of DPDK's is part of this repository.

    python -m bench.rss_dpdk    builds it, and tells what it makes of the published vectors
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.rss_subjects import CONFIG, Steerer
from holdfast import load
from holdfast import sys as kernel
from holdfast.btf import Btf
from holdfast.btf.types import Composite
from holdfast.elf import open_object
from holdfast.errors import HoldfastError
from holdfast.kernels.sources import Archive, ArchiveError, source_package
from holdfast.rss import RssConfig
from holdfast.rss.vectors import KEY, VECTORS

__all__ = ["NAME", "load_dpdk"]

NAME: Final = "dpdk"
"""What the names of all builds begin with."""

_ROOT: Final = Path(__file__).resolve().parent.parent
_HERE: Final = _ROOT / "build/bench/dpdk"
_SUITES: Final = ("sid", "trixie")
_PROGRAM: Final = "drivers/net/tap/bpf/tap_rss.c"
_FILES: Final = (_PROGRAM, "drivers/net/tap/meson.build", "drivers/net/tap/tap_rss.h", "VERSION")
_HEADERS: Final = ("bpf_helpers.h", "bpf_helper_defs.h", "bpf_endian.h")
_COMPILERS: Final = ("clang", *(f"clang-{version}" for version in range(14, 23)))
_MOVED: Final = 25  # bits: the program takes a hash's first 7 bits, what it is held against the last 7
_BITS: Final = 7
_L3_L4: Final = 1 << 1 | 1 << 3  # HASH_FIELD_IPV4_L3_L4, HASH_FIELD_IPV6_L3_L4
# The program by itself is given to tc and its queue is in the skb. To see it, the same function is called by
# another program that returns it.
_HEAD: Final = re.compile(r'SEC\("action"\)\s*int\s*(?=rss_flow_action\()')
_SHOWN: Final = """
struct rss_key layout; /* for its type information */

SEC("action") int shown(struct __sk_buff *skb)
{
	rss_flow_action(skb);
	return skb->queue_mapping;
}
"""


def load_dpdk(stack: ExitStack, notes: list[str]) -> list[Steerer]:
    """Loads one program for each clang; ``notes`` gets a line for each, with what it makes of the published
    vectors, or for what is missing.
    """
    try:
        tree = _tree()
        include = _libbpf_headers()
        clangs = list(_clangs())
        found = [_steerer(stack, tree, include, clang, level, notes) for clang, level in clangs]
    except (HoldfastError, ArchiveError, OSError, tarfile.TarError) as error:
        notes.append(f"DPDK's program is left out: {getattr(error, 'message', None) or error}")
        return []
    if not found:
        notes.append("DPDK's program is left out: there is no clang for BPF")
    return [one for one in found if one is not None]


def _tree() -> Path:
    """Returns a folder with those of DPDK's files that are needed."""
    named = os.environ.get("HOLDFAST_DPDK")
    tree = Path(named) if named else _HERE
    if (tree / _PROGRAM).is_file():
        return tree
    if named:
        raise HoldfastError(f"HOLDFAST_DPDK={named} has no {_PROGRAM}")
    failures = []
    archive = Archive("debian", cache=_ROOT / "build/bench/.index")
    for suite in _SUITES:
        try:
            files = source_package(archive.suite(suite), "dpdk").files
            (wanted,) = (one for one in files if re.search(r"\.orig\.tar\.\w+$", one.name))
            _HERE.mkdir(parents=True, exist_ok=True)
            packed = archive.download(wanted, _HERE)
        except ArchiveError as error:
            failures.append(f"{suite}: {error}")
            continue
        _unpack(packed, _FILES, tree)
        packed.unlink()
        if (tree / _PROGRAM).is_file():
            return tree
        failures.append(f"{suite}: has no {_PROGRAM}")
    raise HoldfastError(f"no source of DPDK ({'; '.join(failures)}); HOLDFAST_DPDK may name one")


def _unpack(packed: Path, wanted: tuple[str, ...], into: Path) -> None:
    with tarfile.open(packed) as archive:
        for member in archive:
            inside = member.name.partition("/")[2]
            content = archive.extractfile(member) if inside in wanted else None
            if content is not None:
                path = into / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def _libbpf_headers() -> Path:
    """Returns what stands for libbpf's includedir: the system's, or of the source that setup brought."""
    system = Path("/usr/include")
    if (system / "bpf/bpf_helpers.h").is_file():
        return system
    packed = next(iter(sorted((_ROOT / "build/libbpf").glob("libbpf_*.orig.tar.*"))), None)
    if packed is None:
        raise HoldfastError("there are no headers of libbpf; `make setup` brings them, or install libbpf-dev")
    into = _ROOT / "build/bench/libbpf"
    _unpack(packed, tuple(f"src/{name}" for name in _HEADERS), into)
    (into / "bpf").unlink(missing_ok=True)
    (into / "bpf").symlink_to("src")
    return into


def _clangs() -> Iterator[tuple[str, str | None]]:
    """Yields each clang with BPF once, by its version; the newest before 20 also at the level of 20 on."""
    versions: dict[int, str] = {}
    for name in _COMPILERS:
        path = shutil.which(name)
        if path is None:
            continue
        targets = subprocess.run([path, "--print-targets"], capture_output=True, text=True, check=False)
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"version (\d+)", said.stdout)
        if version is not None and re.search(r"^\s+bpf\s", targets.stdout, re.MULTILINE):
            versions.setdefault(int(version[1]), path)
    for _, path in sorted(versions.items()):
        yield path, None
    if versions and max(versions) < 20:
        # LLVM 20 made it the default (its release notes: "The default processor has been changed to v3").
        yield versions[max(versions)], "v3"


def _steerer(
    stack: ExitStack, tree: Path, include: Path, clang: str, level: str | None, notes: list[str]
) -> Steerer | None:
    said = subprocess.run([clang, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)", said)
    label = f"clang{version[1] if version else '?'}" + (f" {level}" if level else "")
    name = f"{NAME}-{label.replace(' ', '-')}"
    source = tree / _PROGRAM
    text, count = _HEAD.subn("__attribute__((noinline)) int ", source.read_text())
    if not count:
        raise HoldfastError(f"{source} has no program rss_flow_action")
    for kind, given in ((name, source.read_text()), (f"{name}-shown", text + _SHOWN)):
        _compile(clang, level, given, source.parent, include, _object(kind))
    program = stack.enter_context(load.open_object(_object(name)))
    shown = stack.enter_context(load.open_object(_object(f"{name}-shown")))
    layout = _layout(open_object(_object(f"{name}-shown")).btf)

    def run(frame: bytes, repeat: int) -> kernel.TestRun:
        one = program.program("rss_flow_action") if repeat > 1 else shown.program("shown")
        return one.test_run(frame, repeat=repeat, data_out_size=0)

    def fill(key: bytes, queues: int) -> None:
        value = _value(layout, key, queues)
        for each in (program, shown):
            each.map("rss_map").update(0, value)  # by skb->mark, which a test run leaves at 0

    def configure(config: RssConfig) -> None:
        # Its list of queues is not looked at, so there is none that could be asked for: it divides the range
        # of a hash by the number of queues. So the key is moved, to have the last bits first.
        whole = int.from_bytes(config.key, "big") << _MOVED & (1 << 320) - 1
        fill(whole.to_bytes(40, "big"), 1 << _BITS)

    wrong = sum(_hash(fill, run, one.frames()[0][0]) != one.ports_hash for one in VECTORS)
    told = (
        f"{wrong} of {len(VECTORS)} published vectors WRONG" if wrong else "the published vectors are right"
    )
    notes.append(f"DPDK's program, {_version(tree)}, by {label}: {told}")
    configure(CONFIG)
    return Steerer(name, f"DPDK {label}", run, configure, program.program("rss_flow_action").info)


def _hash(
    fill: Callable[[bytes, int], None], run: Callable[[bytes, int], kernel.TestRun], frame: bytes
) -> int:
    """Returns all 32 bits of a frame's hash; of a queue, which has 16, it takes two looks."""
    parts = []
    for moved in (0, 16):
        whole = int.from_bytes(KEY, "big") << moved & (1 << 320) - 1
        fill(whole.to_bytes(40, "big"), 1 << 16)
        parts.append(run(frame, 1).return_value)
    return parts[0] << 16 | parts[1]


def _layout(btf: Btf | None) -> dict[str, int]:
    """Returns where the members of the map's value are; they have moved between releases."""
    found = None if btf is None else btf.find("rss_key")
    kind = None if btf is None or found is None else btf.type(found)
    if not isinstance(kind, Composite):
        raise HoldfastError("DPDK's object has no struct rss_key")
    return {"": kind.size} | {one.name: one.bit_offset // 8 for one in kind.members}


def _value(layout: dict[str, int], key: bytes, queues: int) -> bytes:
    """Returns a rule as tap_flow.c makes it: the key in words of this machine's order."""
    value = bytearray(layout[""])
    struct.pack_into("=I", value, layout["hash_fields"], _L3_L4)
    struct.pack_into("=I", value, layout["nb_queues"], queues)
    struct.pack_into("=10I", value, layout["key"], *struct.unpack("!10I", key))
    return bytes(value)


def _compile(clang: str, level: str | None, text: str, folder: Path, include: Path, out: Path) -> None:
    """Compiles as meson.build has it; the text takes the place of the file beside which it is found."""
    out.parent.mkdir(parents=True, exist_ok=True)
    queues = re.search(r"-DTAP_MAX_QUEUES=\d+", _text(folder.parent / "meson.build"))
    command = [
        clang, "-O2", "-Wall", "-Wextra", queues[0] if queues else "-DTAP_MAX_QUEUES=64",
        "-target", "bpf", "-g", "-c", *([f"-mcpu={level}"] if level else []),
        "-idirafter", str(include), "-idirafter", f"/usr/include/{platform.machine()}-linux-gnu",
        "-iquote", str(folder), "-x", "c", "-", "-o", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HoldfastError(f"{clang} does not compile it: {done.stderr.strip()[:200]}")


def _version(tree: Path) -> str:
    return _text(tree / "VERSION").strip() or "of a release that is not known"


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _object(name: str) -> Path:
    return _HERE / f"{name}.o"


def main() -> int:
    notes: list[str] = []
    with ExitStack() as stack:
        try:
            for one in load_dpdk(stack, notes):
                info = one.info
                print(f"{one.title}: {info.verified_insns} instructions verified, {info.jited_size} bytes")
        except HoldfastError as error:
            notes.append(error.message)
    print("\n".join(notes))
    return int(not _HERE.is_dir())


if __name__ == "__main__":
    sys.exit(main())
