# SPDX-License-Identifier: Apache-2.0
"""A small set of objects on the newest kernel of each series, side by side: what is predicted happens."""

from __future__ import annotations

import json
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from tests import bootkernels

from holdfast.cli.verify import command

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.corpus]

# Tracing by CO-RE, HID-BPF by struct_ops and by fmod_ret, XDP.
NAMES = (
    "libbpf-tools__biolatency-libbpf.o",
    "libbpf-tools__opensnoop-libbpf.o",
    "udev-hid-bpf__0010-HP__Elite-Presenter.o",
    "xdp-tools__xdp-bench.9.o",
)
BUNDLE = Path(__file__).parents[3] / "bundles/net/rss"


@pytest.fixture(scope="module")
def tracker() -> None:
    """multiprocessing has a tracker of what its processes share, with a pipe to it that stays open."""
    resource_tracker.ensure_running()


@pytest.mark.usefixtures("tracker")
def test_what_is_predicted_happens_on_every_series(
    corpus: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootkernels.kernels()  # skips where nothing can be booted
    packages = bootkernels.named_or_all()
    # unpacked kernels stay beside the packages, what they said is asked anew
    monkeypatch.setenv("XDG_CACHE_HOME", str(bootkernels.FOLDER / ".unpacked"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    objects = [path for path in corpus if path.name.partition(".")[2] in NAMES]
    objects += sorted(BUNDLE.glob("*.bpf.o"))
    assert len(objects) > len(NAMES)
    selectors = [word for package in packages for word in ("--kernel", str(package))]
    command.main([*map(str, objects), *selectors, "--afresh", "--format", "json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    cells = document["results"]
    assert len(document["kernels"]) == len(packages)
    assert not [cell["trouble"] for cell in cells if cell["loaded"] is None]
    wrong = [
        f"{cell['program']} on {cell['kernel']}: predicted {cell['predicted']} {cell['codes']}, "
        f"said {cell['last_words']}"
        for cell in cells
        if cell["right"] is False
    ]
    assert not wrong
    loads = {cell["kernel"] for cell in cells if cell["loaded"]}
    assert loads == {one["id"] for one in document["kernels"]}
    fails = {cell["kernel"] for cell in cells if not cell["loaded"]}
    assert fails  # a set on which nothing fails anywhere would prove little
