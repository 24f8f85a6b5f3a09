# SPDX-License-Identifier: Apache-2.0
"""Every real object loads or is refused with one of Holdfast's errors, and leaves nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests import corpus
from tests.live.load.conftest import held

from holdfast import load
from holdfast.errors import LoadError, PrivilegeError

pytestmark = [pytest.mark.live, pytest.mark.corpus, pytest.mark.usefixtures("live")]


def test_every_object_loads_or_is_refused_and_leaves_nothing() -> None:
    before = held()
    loaded, refused = [], []
    for path in corpus.objects():
        try:
            with load.open_object(path, size_zero_maps=True) as obj:
                loaded.append(path.name)
                assert obj.programs
                for program in obj.programs.values():
                    assert program.info.id
        except (LoadError, PrivilegeError) as error:
            assert str(error).startswith(str(path)), error
            assert "\n" not in str(error)
            refused.append(f"{path.name}: {error}")
        assert held() == before, path.name
    print(f"{len(loaded)} loaded, {len(refused)} refused", *refused, sep="\n")
    assert loaded


def test_qemus_steering_program_runs() -> None:
    """QEMU's own RSS program (SOCKET_FILTER) answers the default queue that its configuration map names."""
    path = next((p for p in corpus.objects() if "qemu-system" in p.name), None)
    if path is None:
        pytest.skip("the corpus has no object of QEMU's")
    frame = bytes(12) + b"\x08\x00" + bytes(50)
    with load.open_object(path) as obj:
        (program,) = obj.programs.values()
        config = obj.map("tap_rss_map_configurations")
        assert config.lookup(0) == bytes(config.value_size)
        assert program.test_run(frame, repeat=10).return_value == 0
        # Packed: redirect, populate_hash (bytes), hash_types, indirections_len, default_queue.
        config.update(0, struct.pack("=BBIHH", 0, 0, 0, 0, 3))
        assert program.test_run(frame).return_value == 3


def test_a_cut_object_of_the_corpus_is_refused(tmp_path: Path) -> None:
    path = corpus.objects()[0]
    content = path.read_bytes()
    before = held()
    for size in range(0, len(content) - 1, max(len(content) // 12, 1)):
        with pytest.raises(Exception, match=r"^cut\.o") as caught:
            load.Session(content[:size], name="cut.o").load()
        assert type(caught.value).__module__ == "holdfast.errors"
    assert held() == before
