# SPDX-License-Identifier: Apache-2.0
"""Whether an archive's Release file is signed by the keys that this machine trusts for it.

gpgv decides, and sqv where apt brought that instead (apt 2.9.19, Debian 13). What is used afterwards is the
text that the tool has checked, never the file around it.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernels.sources.apt import AptConfig, Entry
from holdfast.kernels.sources.distribution import Distribution
from holdfast.kernels.sources.errors import UntrustedError
from holdfast.kernels.sources.process import run

__all__ = ["Keyrings", "check_clear", "check_detached", "find_keyrings", "takes_clear"]

KEYRING_FOLDER = Path("/usr/share/keyrings")
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}!?")
_WEAK = ("--weak-digest", "SHA1", "--weak-digest", "RIPEMD160")


@dataclass(frozen=True, slots=True)
class Keyrings:
    """Files of keys, binary or ASCII, or a key as text; with ``fingerprints`` no other key counts."""

    paths: tuple[Path, ...] = ()
    key: str = ""
    fingerprints: frozenset[str] = frozenset()
    package: str = ""  # what brings them, for a hint

    def __str__(self) -> str:
        return ", ".join(path.name for path in self.paths) or "the key in apt's configuration"


def find_keyrings(entry: Entry, config: AptConfig, distribution: Distribution) -> Keyrings:
    """Return the keys for an archive: those that apt's entry names, else the distribution's own keyring.

    Raises :exc:`UntrustedError` where there is none.
    """
    if "BEGIN PGP" in entry.signed_by:
        # deb822 has a full stop on a line that would be empty
        lines = ("" if line.strip() == "." else line.strip() for line in entry.signed_by.splitlines())
        return Keyrings(key="\n".join(lines) + "\n")
    words = [word for word in re.split(r"[\s,]+", entry.signed_by) if word]
    fingerprints = frozenset(word.rstrip("!").upper() for word in words if _FINGERPRINT.fullmatch(word))
    paths = [Path(word) for word in words if word.startswith("/")]
    if not paths:
        paths = _default_keyrings(config, distribution)
    if lost := [path for path in paths if not path.is_file()]:
        raise UntrustedError(
            f"the keyring {lost[0]} that apt's configuration names is not there",
            hint=f"apt-get install {distribution.keyring_package}",
        )
    if not paths:
        raise UntrustedError(
            f"no keyring of {distribution.name} is here, so nothing of its archive can be checked",
            hint=f"apt-get install {distribution.keyring_package}",
        )
    return Keyrings(tuple(paths), "", fingerprints, distribution.keyring_package)


def _default_keyrings(config: AptConfig, distribution: Distribution) -> list[Path]:
    own = (KEYRING_FOLDER / name for name in distribution.keyrings)
    if found := next((path for path in own if path.is_file()), None):
        return [found]
    parts = config.path("trustedparts", "trusted.gpg.d")
    trusted = [config.path("trusted", "trusted.gpg"), *(sorted(parts.iterdir()) if parts.is_dir() else ())]
    return [path for path in trusted if path.suffix in (".gpg", ".asc") and path.is_file()]


def takes_clear() -> bool:
    """Return whether the tool here reads an InRelease file (gpgv), rather than Release.gpg alone (sqv)."""
    return shutil.which("gpgv") is not None


def check_clear(signed: bytes, keyrings: Keyrings) -> bytes:
    """Return the text that an InRelease file signs; raise :exc:`UntrustedError` when nobody vouches."""
    # apt as well takes one message and nothing around it, so that no unsigned text can stand beside it.
    body = signed.strip()
    whole = body.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----") and body.endswith(
        b"-----END PGP SIGNATURE-----"
    )
    if not whole or len(re.findall(rb"(?m)^-----(?:BEGIN|END) PGP ", body)) != 3:
        raise UntrustedError("its InRelease file is not one signed message")
    with tempfile.TemporaryDirectory(prefix="holdfast-") as name:
        room = Path(name)
        (room / "InRelease").write_bytes(signed)
        _gpgv(keyrings, room, ["--output", str(room / "text"), str(room / "InRelease")])
        return (room / "text").read_bytes()


def check_detached(text: bytes, signature: bytes, keyrings: Keyrings) -> bytes:
    """Return ``text`` if the signature beside it (Release.gpg) holds; raise :exc:`UntrustedError` if not."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as name:
        room = Path(name)
        (room / "Release").write_bytes(text)
        (room / "Release.gpg").write_bytes(signature)
        files = [str(room / "Release.gpg"), str(room / "Release")]
        if takes_clear():
            _gpgv(keyrings, room, files)
        else:
            _sqv(keyrings, room, files)
    return text


def _gpgv(keyrings: Keyrings, room: Path, arguments: Sequence[str]) -> None:
    tool = shutil.which("gpgv")
    if tool is None:
        raise _no_tool()
    options = [word for path in _binary(keyrings, room) for word in ("--keyring", str(path))]
    said = run([tool, "--homedir", str(room), "--status-fd", "1", *_WEAK, *options, *arguments])
    # The exit status tells failure as soon as one of several keys is not here; these lines tell which.
    words = [line.split() for line in said.out.splitlines() if line.startswith("[GNUPG:] ")]
    kinds = {word[1] for word in words}
    if "BADSIG" in kinds:
        raise UntrustedError("its Release file was changed after it was signed")
    good = [word for word in words if word[1] == "VALIDSIG"] if "GOODSIG" in kinds else []
    if keyrings.fingerprints:
        good = [word for word in good if keyrings.fingerprints & {word[2].upper(), word[-1].upper()}]
    if not good:
        raise _nobody(keyrings, words, said.err)


def _nobody(keyrings: Keyrings, words: Sequence[Sequence[str]], err: str) -> UntrustedError:
    ends = {"EXPKEYSIG": "an expired key", "REVKEYSIG": "a revoked key", "EXPSIG": "a signature that expired"}
    ended = next((text for kind, text in ends.items() if any(word[1] == kind for word in words)), None)
    missing = sorted({word[2] for word in words if word[1] == "NO_PUBKEY" and len(word) > 2})
    hint = f"a newer {keyrings.package} may have the keys" if keyrings.package else None
    if ended:
        return UntrustedError(f"its Release file has {ended} alone ({keyrings})", hint=hint)
    if missing:
        return UntrustedError(
            f"its Release file is signed by {', '.join(missing)}, and {keyrings} has no such key", hint=hint
        )
    last = next((line for line in reversed(err.splitlines()) if line.strip()), "no signature")
    return UntrustedError(
        f"no key of {keyrings} signed its Release file ({last.removeprefix('gpgv: ').strip()})"
    )


def _sqv(keyrings: Keyrings, room: Path, files: Sequence[str]) -> None:
    tool = shutil.which("sqv")
    if tool is None:
        raise _no_tool()
    options = [word for path in _binary(keyrings, room) for word in ("--keyring", str(path))]
    said = run([tool, *options, *files])
    # It prints the fingerprint of each key whose signature holds, of the primary key as it seems.
    signers = {line.strip().upper() for line in said.out.splitlines()}
    if said.status or (keyrings.fingerprints and not keyrings.fingerprints & signers):
        lines = [line.strip() for line in said.err.splitlines() if line.strip()]
        why = next((line for line in lines if "key" in line.lower()), lines[0] if lines else "no signature")
        hint = f"a newer {keyrings.package} may have the keys" if keyrings.package else None
        raise UntrustedError(f"no key of {keyrings} signed its Release file ({why})", hint=hint)


def _no_tool() -> UntrustedError:
    return UntrustedError(
        "neither gpgv nor sqv is here, so the signature cannot be checked", hint="apt-get install gpgv"
    )


def _binary(keyrings: Keyrings, room: Path) -> Iterator[Path]:
    """The keyrings as gpgv reads them: ASCII ones are written out in binary."""
    texts = [(path, path.read_bytes()) for path in keyrings.paths]
    if keyrings.key:
        texts.append((room / "key", keyrings.key.encode()))
    for number, (path, data) in enumerate(texts):
        if not data.lstrip().startswith(b"-----BEGIN PGP"):
            yield path
            continue
        target = room / f"{number}.gpg"
        target.write_bytes(b"".join(_dearmour(path, block) for block in _ARMOUR.findall(data)))
        yield target


def _dearmour(path: Path, block: bytes) -> bytes:
    """RFC 9580, section 6.2: headers, an empty line, base64, and a checksum that begins with ``=``."""
    _, _, body = (
        block.replace(b"\r", b"").partition(b"\n\n") if not block.startswith(b"\n") else (b"", b"", block)
    )
    lines = [line for line in body.splitlines() if not line.startswith(b"=")]
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error:
        raise UntrustedError(f"the keyring {path} is damaged") from None
