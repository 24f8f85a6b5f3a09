# SPDX-License-Identifier: Apache-2.0
"""Bring one file: whole and checked, or not at all. What was interrupted is gone on with the next time.

A file is written beside its place as ``.NAME.part`` under a lock, so that two processes do not mix, and put
in its place in one step. Proxies are apt's, else those of the environment; redirects are followed, but never
from https to http.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any, Final

from holdfast.kernels.sources.apt import AptConfig
from holdfast.kernels.sources.deb822 import Digest
from holdfast.kernels.sources.errors import ArchiveError, MissingError, OfflineError, UntrustedError

__all__ = ["Fetcher", "Progress", "matches", "quoted", "shown"]

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole file, 0 where that is not known."""

_BLOCK: Final = 1 << 18
_ATTEMPTS: Final = (
    4  # connections for one file, each after the first only if the one before brought something
)


class _DroppedError(Exception):
    """The connection ended early; ``got`` bytes came of it."""

    def __init__(self, why: str, got: int) -> None:
        super().__init__(why)
        self.got = got


class _Redirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise urllib.error.HTTPError(req.full_url, code, "a redirect from https to http", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Fetcher:
    """Opens addresses the way apt here would. ``seconds`` is how long a silent connection is waited for."""

    def __init__(self, config: AptConfig, seconds: float = 30) -> None:
        self._config = config
        self._seconds = seconds

    def read(self, address: str, limit: int) -> bytes:
        """Return a small file's bytes; raise :exc:`UntrustedError` when it has more than ``limit``."""
        with self._open(address, {}) as answer:
            try:
                data: bytes = answer.read(limit + 1)
            except (OSError, http.client.HTTPException) as error:
                raise OfflineError(f"{shown(address)} stops in the middle ({_why(error)})") from None
            announced = answer.headers.get("Content-Length", "")
        if len(data) > limit:
            raise UntrustedError(f"{shown(address)} is larger than {limit} bytes")
        if announced.isdecimal() and len(data) < int(announced):
            raise OfflineError(f"{shown(address)} stops after {len(data)} of {announced} bytes")
        return data

    def fetch(
        self,
        address: str,
        target: Path,
        digest: Digest | None,
        *,
        limit: int,
        progress: Progress | None = None,
    ) -> Path:
        """Bring a file to ``target`` and return it; a file there that matches ``digest`` is left as it is.

        No more than the digest's size, or ``limit`` bytes where there is none, is ever written. Raises
        :exc:`OfflineError`, :exc:`MissingError`, :exc:`UntrustedError`, and :exc:`ArchiveError` when the disk
        does not take it. Without a digest nothing is gone on with, since nothing would show a mixture.
        """
        size = limit if digest is None else digest.size
        if digest is not None and size > limit:
            raise UntrustedError(f"{target.name} has {size} bytes, more than the {limit} that are taken")
        try:
            if digest is not None and matches(target, digest):
                return target
            with _locked(target) as part:
                if digest is not None and matches(target, digest):
                    part.unlink()  # another process brought it while this one waited
                    return target
                if digest is None:
                    os.truncate(part, 0)
                self._bring(address, part, digest, size, progress or _silent)
                part.replace(target)
        except OSError as error:
            raise ArchiveError(
                f"{target}: {error.strerror or error}",
                hint="downloads go where XDG_CACHE_HOME says: it needs room and must be yours to write to",
            ) from None
        return target

    def _bring(self, address: str, part: Path, digest: Digest | None, size: int, progress: Progress) -> None:
        had = part.stat().st_size
        if had > size:
            os.truncate(part, 0)
            had = 0
        for attempt in range(_ATTEMPTS):
            try:
                self._append(address, part, digest, size, progress)
                break
            except _DroppedError as error:
                if not error.got or attempt == _ATTEMPTS - 1:
                    raise OfflineError(f"{shown(address)} {error}") from None
        if digest is None or matches(part, digest):
            return
        os.truncate(part, 0)
        if not had:
            raise UntrustedError(f"{shown(address)} does not match the checksum in its index")
        self._bring(address, part, digest, size, progress)  # what was here before is to blame, or the archive

    def _append(self, address: str, part: Path, digest: Digest | None, size: int, progress: Progress) -> None:
        """Bring what is missing of a file; raise _DroppedError when the connection ends before that."""
        had = part.stat().st_size
        if digest is not None and had == size:
            return
        total = size if digest is not None else 0
        with (
            self._open(address, {"Range": f"bytes={had}-"} if had else {}) as answer,
            part.open("r+b") as out,
        ):
            if had and not _goes_on(answer, had):
                had = 0
            out.truncate(had)
            out.seek(had)
            announced = answer.headers.get("Content-Length", "")
            if announced.isdecimal() and had + int(announced) > size:
                raise UntrustedError(
                    f"{shown(address)} has {had + int(announced)} bytes, expected were {size}"
                )
            at = had
            progress(at, total)
            while block := _block(answer, at - had):
                at += len(block)
                if at > size:
                    out.truncate(0)
                    raise UntrustedError(
                        f"{shown(address)} has more than the {size} bytes that were expected"
                    )
                out.write(block)
                progress(at, total)
        wanted = size if digest is not None else had + int(announced) if announced.isdecimal() else at
        if at < wanted:
            raise _DroppedError(f"stops after {at} of {wanted} bytes", at - had)

    @contextmanager
    def _open(self, address: str, headers: dict[str, str]) -> Iterator[Any]:
        request = urllib.request.Request(  # noqa: S310 - addresses are apt's, and of the schemes that apt.py lets through
            _without_user(address), headers={"User-Agent": "holdfast", **headers}
        )
        if credentials := _basic(address):
            request.add_unredirected_header("Authorization", credentials)
        try:
            answer = self._opener(address).open(request, timeout=self._seconds)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            if error.code == 416 and headers:  # the part is longer than what the archive has now
                with self._open(address, {}) as answer:
                    yield answer
                return
            raise _refused(address, error.code, str(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            if _is_absent(error):
                raise MissingError(f"{shown(address)} is not there") from None
            raise OfflineError(
                f"{shown(address)} cannot be reached ({_why(error)})",
                hint="is there a network, and does `apt-get update` work?" + self._by_proxy(address),
            ) from None
        with answer:
            yield answer

    def _opener(self, address: str) -> urllib.request.OpenerDirector:
        parts = urllib.parse.urlsplit(address)
        proxy = self._config.proxy(parts.scheme, parts.hostname or "")
        if proxy is None:
            proxies = urllib.request.ProxyHandler()  # the environment's
        else:
            proxies = urllib.request.ProxyHandler({} if proxy.upper() == "DIRECT" else {parts.scheme: proxy})
        return urllib.request.build_opener(proxies, _Redirect())

    def _by_proxy(self, address: str) -> str:
        """A sentence on the proxy that :meth:`_opener` takes for an address, if it takes one."""
        parts = urllib.parse.urlsplit(address)
        proxy = self._config.proxy(parts.scheme, parts.hostname or "")
        if proxy is None and not urllib.request.proxy_bypass(parts.netloc):
            proxy = urllib.request.getproxies().get(parts.scheme)
        if not proxy or proxy.upper() == "DIRECT":
            return ""
        return f" It was asked by way of the proxy {proxy.rpartition('@')[2]}"


def matches(path: Path, digest: Digest) -> bool:
    """Return whether a file is there and has that size and SHA-256."""
    try:
        with path.open("rb") as data:
            if os.fstat(data.fileno()).st_size != digest.size:
                return False
            return hashlib.file_digest(data, "sha256").hexdigest() == digest.sha256
    except FileNotFoundError:
        return False


def quoted(path: str) -> str:
    """Return a path below an archive as it stands in an address.

    Raises :exc:`UntrustedError` for a path that leads out of the archive or has characters that no index has.
    """
    steps = path.split("/")
    if not path or any(step in ("", ".", "..") for step in steps) or re.search(r"[\x00-\x20\x7f\\]", path):
        raise UntrustedError(f"the index names a file {path!r}, which no archive has")
    return urllib.parse.quote(path, safe="/+~:@!$&'()*,;=-._")


def shown(address: str) -> str:
    """Return an address for a message: without the user and password that it may carry."""
    return urllib.parse.unquote(_without_user(address))


def _without_user(address: str) -> str:
    return re.sub(r"^(https?://)[^/@]*@", r"\1", address)


def _basic(address: str) -> str | None:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return None
    import base64

    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _silent(_done: int, _total: int) -> None:
    pass


def _block(answer: Any, got: int) -> bytes:
    try:
        data: bytes = answer.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _DroppedError(f"stops in the middle ({_why(error)})", got) from None
    return data


def _goes_on(answer: Any, had: int) -> bool:
    """Return whether the answer holds the rest of the file, rather than all of it."""
    headers: Message = answer.headers
    return getattr(answer, "status", None) == 206 and headers.get("Content-Range", "").startswith(
        f"bytes {had}-"
    )


def _refused(address: str, code: int, reason: str) -> ArchiveError:
    what = f"{shown(address)}: {code} {reason}"
    if code in (404, 410):
        return MissingError(f"{shown(address)} is not there ({code})")
    return OfflineError(what) if code >= 500 or code == 429 else ArchiveError(what)


def _is_absent(error: BaseException) -> bool:
    return isinstance(getattr(error, "reason", None), FileNotFoundError)  # file:


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return getattr(reason, "strerror", None) or " ".join(str(reason).split()) or type(reason).__name__


@contextmanager
def _locked(target: Path) -> Iterator[Path]:
    """The file that is written beside ``target``, this process's alone; an empty one is not left behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_same(descriptor, part):  # whoever held the lock put the file in its place
                continue
            try:
                yield part
            finally:
                if _is_same(descriptor, part) and not os.fstat(descriptor).st_size:
                    part.unlink()
            return
        finally:
            os.close(descriptor)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
