# SPDX-License-Identifier: Apache-2.0
"""scripts/build-bpf: what it compiles, what it leaves alone, and how it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Stands in for clang: knows the BPF target, copies source to object, and keeps count.
CLANG = """#!/bin/sh
case "$1" in
--print-targets) echo "    bpf        - BPF (host endian)"; exit ;;
--version) echo "clang version ${FAKE_VERSION:-1}"; exit ;;
esac
case "$*" in *-mcpu=help*) printf '    v1 - Select v1\n    v3 - Select v3\n' >&2; exit ;; esac
echo x >> "$FAKE_COUNT"
while [ $# -gt 0 ]; do
    case "$1" in -c) source=$2 ;; -o) target=$2 ;; esac
    shift
done
if grep -q broken "$source"; then echo "$source:1:1: error: broken" >&2; echo half > "$target"; exit 1; fi
cat "$source" > "$target"
"""


class Checkout:
    """A repository with one bundle of one variant."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bundle = root / "bundles" / "net" / "one"
        self.bundle.mkdir(parents=True)
        (root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "build-bpf", root / "scripts")
        self.source = self.bundle / "a.bpf.c"
        self.source.write_text('#include "shared.h"\n')
        self.header = self.bundle / "shared.h"
        self.header.write_text("/* one */\n")
        self.object = self.bundle / "a.bpf.o"
        self.bin = root / "bin"
        self.bin.mkdir()
        (self.bin / "clang").write_text(CLANG)
        (self.bin / "clang").chmod(0o755)
        self.count = root / "count"

    def build(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = {key: value for key, value in os.environ.items() if key != "HOLDFAST_CLANG"}
        return subprocess.run(
            [sys.executable, self.root / "scripts" / "build-bpf", *arguments],
            env=names | {"PATH": f"{self.bin}:/usr/bin:/bin", "FAKE_COUNT": str(self.count)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def compilations(self) -> int:
        return len(self.count.read_text().split()) if self.count.exists() else 0


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_second_run_compiles_nothing(checkout: Checkout) -> None:
    assert checkout.build().stderr == "build-bpf: 1 compiled, 0 up to date\n"
    assert checkout.build().stderr == "build-bpf: 0 compiled, 1 up to date\n"
    assert checkout.compilations() == 1


@pytest.mark.parametrize("change", ["source", "header", "object gone", "level", "compiler"])
def test_what_changed_is_compiled_again(checkout: Checkout, change: str) -> None:
    checkout.build()
    arguments, environment = [], {}
    if change == "source":
        checkout.source.write_text('#include "shared.h"\nint x;\n')
    elif change == "header":
        checkout.header.write_text("/* two */\n")
    elif change == "object gone":
        checkout.object.unlink()
    elif change == "level":
        arguments = ["--mcpu", "v3"]
    else:
        environment = {"FAKE_VERSION": "2"}
    assert checkout.build(*arguments, **environment).returncode == 0
    assert checkout.compilations() == 2
    assert checkout.object.read_text() == checkout.source.read_text()


def test_the_matrix_lies_apart_and_leaves_out_what_no_compiler_knows(checkout: Checkout) -> None:
    run = checkout.build("--matrix", "--cc", "no-such-clang")
    # The clangs of the machine that runs this may know v2 and v4.
    built = sorted(path.relative_to(checkout.root) for path in checkout.root.rglob("*.bpf.o"))
    assert {Path(f"build/matrix/{level}/net/one/a.bpf.o") for level in ("v1", "v3")} <= set(built)
    assert len(built) + run.stderr.count("no clang here compiles for") == 4
    assert checkout.build("--matrix").stderr.endswith(f"0 compiled, {len(built)} up to date\n")
    assert not checkout.object.exists()


def test_a_failure_leaves_the_old_object(checkout: Checkout) -> None:
    checkout.build()
    before = checkout.object.read_bytes()
    checkout.source.write_text("broken\n")
    run = checkout.build()
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("build-bpf: bundles/net/one/a.bpf.c does not compile with ")
    assert last.endswith("a.bpf.c:1:1: error: broken")
    assert checkout.object.read_bytes() == before
    assert {path.name for path in checkout.bundle.iterdir()} == {"a.bpf.c", "a.bpf.o", "shared.h"}


def test_no_compiler_is_one_line(checkout: Checkout) -> None:
    run = checkout.build("--cc", "no-such-clang")
    assert (run.returncode, len(run.stderr.splitlines())) == (1, 1)
    assert "no clang with the BPF target" in run.stderr and "install the package clang" in run.stderr


def test_a_folder_of_ones_own(checkout: Checkout) -> None:
    assert checkout.build("--out", str(checkout.root / "mine")).returncode == 0
    assert (checkout.root / "mine" / "a.bpf.o").exists()
    assert not checkout.object.exists()


def test_two_checkouts_give_the_same_bytes(tmp_path: Path) -> None:
    if shutil.which("clang") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("clang is not installed")
        pytest.skip("clang is not installed")
    built = []
    for name in ("one", "another-place"):
        root = tmp_path / name
        for bundle in ("rss", "rss-tunnel"):
            shutil.copytree(ROOT / "bundles" / "net" / bundle, root / "bundles" / "net" / bundle)
        (root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "build-bpf", root / "scripts")
        subprocess.run([sys.executable, root / "scripts" / "build-bpf", "--force"], check=True)
        bundles = root / "bundles" / "net"
        built.append({str(path.relative_to(bundles)): path.read_bytes() for path in bundles.rglob("*.bpf.o")})
    assert built[0] == built[1]
    names = [
        f"{bundle}/{name}.bpf.o" for bundle in ("rss", "rss-tunnel") for name in ("cast", "dynptr", "helpers")
    ]
    assert sorted(built[0]) == sorted(names)
    assert not any(str(tmp_path).encode() in content for content in built[0].values())
