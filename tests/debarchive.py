# SPDX-License-Identifier: Apache-2.0
"""A made-up package archive, signed by a throw-away key, and a server on the loopback that can misbehave."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOUR = 3600.0


class Key:
    """A key pair in a folder of its own; ``end`` stops the agent that gpg leaves behind."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        self._gpg("--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never")
        self.binary, self.ascii = home / "public.gpg", home / "public.asc"
        self._gpg("--output", str(self.binary), "--export")
        self._gpg("--armor", "--output", str(self.ascii), "--export")
        listed = self._gpg("--with-colons", "--list-keys").decode()
        self.fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def clear(self, text: bytes) -> bytes:
        return self._gpg("--clearsign", text=text)

    def detached(self, text: bytes) -> bytes:
        return self._gpg("--armor", "--detach-sign", text=text)

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)

    def _gpg(self, *arguments: str, text: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", *arguments]
        return subprocess.run(command, input=text, capture_output=True, check=True).stdout


class DebArchive:
    """Files by path as a server would give them. Change ``files`` to damage it after :meth:`publish`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._binary: list[tuple[str, str]] = []
        self._source: list[str] = []

    def package(self, name: str, version: str, *, arch: str = "amd64", **fields: Any) -> bytes:
        """Add a binary package; fields override its stanza's, None leaves one out. Returns its bytes."""
        data = fields.pop("data", f"{name} {version} ".encode() * 2000)
        path = f"pool/main/l/linux/{name}_{version}_{arch}.deb"
        self.files[path] = data
        stanza = {
            "Package": name,
            "Version": version,
            "Architecture": arch,
            "Filename": path,
            "Size": str(len(data)),
            "SHA256": hashlib.sha256(data).hexdigest(),
            **{key.replace("_", "-"): value for key, value in fields.items()},
        }
        lines = (f"{key}: {value}\n" for key, value in stanza.items() if value is not None)
        self._binary.append((arch, "".join(lines)))
        return data

    def source(self, name: str, version: str, files: dict[str, bytes]) -> None:
        folder = f"pool/main/{name[0]}/{name}"
        rows = "".join(f" {hashlib.sha256(d).hexdigest()} {len(d)} {n}\n" for n, d in files.items())
        self.files |= {f"{folder}/{n}": d for n, d in files.items()}
        self._source.append(
            f"Package: {name}\nVersion: {version}\nDirectory: {folder}\nChecksums-Sha256:\n{rows}"
        )

    def publish(self, suite: str, key: Key | None, *, packing: str = ".xz", **fields: str) -> bytes:
        """Write the indexes and the Release file of a suite, both ways signed; returns the Release file."""
        indexes = {
            f"main/binary-{arch}/Packages": "\n".join(
                text for one, text in self._binary if one == arch
            ).encode()
            for arch in ("amd64", "arm64")
        }
        indexes["main/source/Sources"] = "\n".join(self._source).encode()
        pack = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes}[packing]
        rows, base = [], f"dists/{suite}"
        for name, text in indexes.items():
            packed = pack(text)
            self.files[f"{base}/{name}{packing}"] = packed
            for each, data in {name: text, name + packing: packed}.items():
                rows.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {each}\n")
        head = {"Origin": "Debian", "Suite": suite, "Codename": suite, "Architectures": "all amd64 arm64"}
        head |= {key.replace("_", "-"): value for key, value in fields.items()}
        release = "".join(f"{k}: {v}\n" for k, v in head.items()) + "SHA256:\n" + "".join(rows)
        text = release.encode()
        self.files[f"{base}/Release"] = text
        if key is not None:
            self.files[f"{base}/InRelease"] = key.clear(text)
            self.files[f"{base}/Release.gpg"] = key.detached(text)
        return text


class Server:
    """Serves a DebArchive at ``address``; ``requests`` are (path, Range header), ``headers`` the last one's.

    ``twist`` is asked first for each path: it may return other bytes to send as they are, a whole HTTP
    answer, after which the connection is closed.
    """

    def __init__(self, archive: DebArchive) -> None:
        self.archive = archive
        self.requests: list[tuple[str, str | None]] = []
        self.headers: dict[str, str] = {}
        self.twist: Callable[[str, str | None], bytes | None] = lambda _path, _range: None
        self.address = ""
        self.keyring = ""  # for whoever signs it to say

    def asked(self, ending: str) -> list[tuple[str, str | None]]:
        return [one for one in self.requests if one[0].endswith(ending)]


@contextmanager
def serve(archive: DebArchive) -> Iterator[Server]:
    server = Server(archive)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = self.path, self.headers.get("Range")
            server.requests.append((path, wanted))
            server.headers = dict(self.headers.items())
            answer = server.twist(path, wanted)
            if answer is not None:
                self.close_connection = True
                self.wfile.write(answer)
                return
            data = archive.files.get(path.partition("/debian/")[2].replace("%20", " "))
            if data is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if wanted and start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.address = f"http://127.0.0.1:{listening.server_address[1]}/debian"
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
