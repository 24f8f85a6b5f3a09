# SPDX-License-Identifier: Apache-2.0
"""Bringing one file: interrupted, cut off, oversized, redirected, through a proxy, by two at once."""

from __future__ import annotations

import hashlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from io import BytesIO
from pathlib import Path

import pytest
from tests.debarchive import DebArchive, Server, serve

from holdfast.kernels.sources import ArchiveError, MissingError, OfflineError, UntrustedError
from holdfast.kernels.sources.apt import AptConfig
from holdfast.kernels.sources.deb822 import Digest
from holdfast.kernels.sources.transfer import Fetcher, _Redirect, quoted, shown

DATA = bytes(range(256)) * 4096
DIGEST = Digest(len(DATA), hashlib.sha256(DATA).hexdigest())
LIMIT = 1 << 24


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    archive = DebArchive()
    archive.files["file"] = DATA
    with serve(archive) as running:
        yield running


def fetcher(**options: str) -> Fetcher:
    return Fetcher(
        AptConfig((), {key.replace("__", "::"): value for key, value in options.items()}, Path("/")), 5
    )


def fetch(server: Server, target: Path, digest: Digest | None = DIGEST, path: str = "file") -> Path:
    return fetcher().fetch(f"{server.address}/{path}", target, digest, limit=LIMIT)


def answer(body: bytes, length: int | None, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.0 {status}", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_progress_begins_where_it_stands_and_ends_at_the_whole(server: Server, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    fetcher().fetch(
        f"{server.address}/file",
        tmp_path / "x",
        DIGEST,
        limit=LIMIT,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[0] == (0, len(DATA))
    assert steps[-1] == (len(DATA), len(DATA))
    assert steps == sorted(steps)


def test_a_connection_that_drops_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    cut = answer(DATA[:5000], len(DATA))
    server.twist = lambda _path, wanted: None if wanted else cut
    assert fetch(server, tmp_path / "x").read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [None, "bytes=5000-"]


def test_what_an_earlier_run_left_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(DATA[:777])
    assert fetch(server, tmp_path / "x").read_bytes() == DATA
    assert server.requests == [("/debian/file", "bytes=777-")]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_that_stays_cut_off_is_an_error_and_is_kept_for_later(server: Server, tmp_path: Path) -> None:
    def twist(_path: str, wanted: str | None) -> bytes:
        return answer(b"", 10, "206 Partial", Content_Range="bytes 5000-5009/10") if wanted else cut

    cut = answer(DATA[:5000], len(DATA))
    server.twist = twist
    with pytest.raises(OfflineError, match=f"stops after 5000 of {len(DATA)} bytes"):
        fetch(server, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    server.twist = lambda _path, _range: None
    assert fetch(server, tmp_path / "x").read_bytes() == DATA
    assert server.requests[-1][1] == "bytes=5000-"


def test_a_part_of_something_else_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(b"something else")
    assert fetch(server, tmp_path / "x").read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == ["bytes=14-", None]


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(DATA + b"x")
    assert fetch(server, tmp_path / "x").read_bytes() == DATA


def test_a_server_that_knows_no_ranges_sends_it_all(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(DATA[:777])
    server.twist = lambda _path, _range: answer(DATA, len(DATA))
    assert fetch(server, tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("length", [None, len(DATA) + 5])
def test_more_than_the_index_says_is_refused(server: Server, tmp_path: Path, length: int | None) -> None:
    server.twist = lambda _path, _range: answer(DATA + b"more!", length)
    with pytest.raises(UntrustedError, match="expected"):
        fetch(server, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_limit_is_refused_before_anything_is_asked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UntrustedError, match="more than the"):
        fetch(server, tmp_path / "x", Digest(LIMIT + 1, "0" * 64))
    assert server.requests == []
    with pytest.raises(UntrustedError, match="larger than 100 bytes"):
        fetcher().read(f"{server.address}/file", 100)


def test_without_a_digest_nothing_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(b"old")
    assert fetch(server, tmp_path / "x", None).read_bytes() == DATA
    assert server.requests == [("/debian/file", None)]


def test_a_file_that_is_not_there_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not there"):
        fetch(server, tmp_path / "x", path="other")
    with pytest.raises(MissingError, match="is not there"):
        fetcher().fetch(f"file://{tmp_path}/nothing", tmp_path / "x", DIGEST, limit=LIMIT)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match=r"file/x: "):
        fetch(server, tmp_path / "file" / "x")


@pytest.mark.parametrize("status", ["500 Broken", "503 Later", "429 Slow"])
def test_a_server_in_trouble_is_as_good_as_offline(server: Server, tmp_path: Path, status: str) -> None:
    server.twist = lambda _path, _range: answer(b"", 0, status)
    with pytest.raises(OfflineError, match=status.partition(" ")[0]):
        fetch(server, tmp_path / "x")


def test_offline_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}/x"
        with pytest.raises(OfflineError) as caught:
            fetcher().fetch(address, tmp_path / "x", DIGEST, limit=LIMIT)
    assert "cannot be reached (Connection refused)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = AptConfig((), {}, Path("/"))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(OfflineError, match="no answer in time"):
            Fetcher(config, 0.05).fetch(address, tmp_path / "x", DIGEST, limit=LIMIT)


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    server.twist = lambda path, _range: (
        answer(b"", 0, "302 Found", Location=f"{server.address}/file") if path.endswith("/moved") else None
    )
    assert fetch(server, tmp_path / "x", path="moved").read_bytes() == DATA


@pytest.mark.parametrize("place", ["file:///etc/passwd", "/debian/moved"])
def test_redirects_to_nowhere_good_are_not(server: Server, tmp_path: Path, place: str) -> None:
    server.twist = lambda _path, _range: answer(b"", 0, "302 Found", Location=place)
    with pytest.raises(ArchiveError, match="302"):
        fetch(server, tmp_path / "x", path="moved")
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_never_gives_up_tls() -> None:
    request = urllib.request.Request("https://mirror.invalid/x")
    with pytest.raises(urllib.error.HTTPError, match="from https to http") as caught:
        _Redirect().redirect_request(request, BytesIO(), 302, "", Message(), "http://mirror.invalid/x")
    caught.value.close()


def test_apts_proxy_is_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = server.address.removesuffix("/debian")
    through = fetcher(acquire__http__proxy=proxy)
    through.fetch("http://mirror.invalid/debian/file", tmp_path / "x", DIGEST, limit=LIMIT)
    assert server.requests == [("http://mirror.invalid/debian/file", None)]
    monkeypatch.setenv("http_proxy", proxy)
    fetcher().fetch("http://other.invalid/debian/file", tmp_path / "y", DIGEST, limit=LIMIT)
    assert server.requests[-1][0] == "http://other.invalid/debian/file"
    direct = fetcher(acquire__http__proxy="http://unused.invalid", acquire__http__proxy__127_0_0_1="DIRECT")
    assert direct._config.proxy("http", "127.0.0.1") == "http://unused.invalid"
    alone = Fetcher(AptConfig((), {"acquire::http::proxy::127.0.0.1": "DIRECT"}, Path("/")), 5)
    alone.fetch(f"{server.address}/file", tmp_path / "z", DIGEST, limit=LIMIT)
    assert server.requests[-1][0] == "/debian/file"


def test_a_proxy_that_refuses_is_named(tmp_path: Path) -> None:
    for proxy in ("http://127.0.0.1:9", "http://me:secret@127.0.0.1:9"):
        with pytest.raises(OfflineError) as caught:
            fetcher(acquire__http__proxy=proxy).fetch("http://x.invalid/f", tmp_path / "x", None, limit=LIMIT)
        assert caught.value.hint is not None
        assert caught.value.hint.endswith("by way of the proxy 127.0.0.1:9") or proxy in caught.value.hint
        assert "secret" not in caught.value.hint


def test_a_user_in_the_address_is_sent_and_not_shown(server: Server, tmp_path: Path) -> None:
    address = server.address.replace("//", "//me:se%20cret@") + "/file"
    fetcher().fetch(address, tmp_path / "x", DIGEST, limit=LIMIT)
    assert server.headers["Authorization"] == "Basic bWU6c2UgY3JldA=="
    assert "cret" not in shown(address)


def test_two_at_once_bring_it_once(server: Server, tmp_path: Path) -> None:
    first = threading.Event()

    def twist(_path: str, _range: str | None) -> None:
        first.wait(5)  # until both are under way

    server.twist = twist
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(fetch(server, tmp_path / "x").read_bytes()))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    first.set()
    for thread in threads:
        thread.join()
    assert got == [DATA, DATA]
    assert len(server.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_paths_of_an_index_are_quoted_or_refused() -> None:
    assert quoted("pool/l/linux_6.12~rc1+x_amd64.deb") == "pool/l/linux_6.12~rc1+x_amd64.deb"
    assert quoted("pool/100%?#") == "pool/100%25%3F%23"
    for path in ("", "/x", "x/", "a//b", "./x", "a/../b", "..", "a\\b", "a b", "a\nb", "a\0"):
        with pytest.raises(UntrustedError, match="no archive has"):
            quoted(path)
