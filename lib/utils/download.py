"""Files at an address: downloaded once, whole, and checked by their length and digest."""

import hashlib
import http.client
import re
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlparse

import torch

from lib.utils.files import replacing
from lib.utils.log import progress

CHUNK = 1 << 20
SCHEMES = ("http", "https", "file")
ADVICE = "try again, or download it by hand and give its path"


def fetch(source: str | Path, sha256: str | None = None) -> Path:
    """A file on this machine: ``source`` itself, or a copy in torch's cache (TORCH_HOME) of the file at that address.

    The copy lies in a folder that stands for the whole address, so that files of one name do not stand for each other.
    With a digest a copy that torch itself has made is taken as well.

    Args:
        source: a path, or an http, https or file address.
        sha256: the digest, or at least its first 8 hex digits.

    Raises:
        ValueError: the digest differs, or the address cannot be read to its end.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"a SHA-256 must have 8 to 64 hex digits; got {sha256!r}")
    if not str(source).startswith(tuple(f"{scheme}:" for scheme in SCHEMES)):
        _check_digest(Path(source), sha256, str(source))
        return Path(source)
    name, cache = _file_name(str(source)), Path(torch.hub.get_dir()) / "checkpoints"
    path, of_torch = cache / hashlib.sha256(str(source).encode()).hexdigest()[:16] / name, cache / name
    if (
        sha256 is not None
        and not path.is_file()
        and of_torch.is_file()
        and _digest(of_torch).startswith(sha256.lower())
    ):
        return of_torch
    if path.is_file():
        _check_digest(path, sha256, str(source))
    else:
        _download(str(source), path, sha256)
    return path


def _file_name(source: str) -> str:
    """The last part of an address."""
    try:
        name = Path(urlparse(source).path).name
    except ValueError as error:
        raise ValueError(f"an address must be like https://host/file.pth; got {source} ({error})") from None
    if not name:
        raise ValueError(f"an address must end with the name of a file; got {source}")
    return name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(path: Path, sha256: str | None, source: str) -> None:
    """Raises unless the file, if it is there, has the digest."""
    if sha256 is None or not path.is_file():
        return
    digest = _digest(path)
    if not digest.startswith(sha256.lower()):
        raise ValueError(
            f"{source} must have the SHA-256 {sha256}; got {digest}: download it again, or correct the digest"
        )


def _download(source: str, path: Path, sha256: str | None) -> None:
    """Copies the file at an address to ``path``; a failure, half a file or another digest leave nothing there."""
    with replacing(path) as temporary:
        try:
            with urllib.request.urlopen(source, timeout=60) as answer, temporary.open("wb") as file:  # noqa: S310
                length = int(answer.headers.get("Content-Length") or -1)
                total = -(-length // CHUNK) if length > 0 else None
                for chunk in progress(iter(lambda: answer.read(CHUNK), b""), path.name, total=total):
                    file.write(chunk)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if getattr(error, "errno", None) is not None and not isinstance(error, ConnectionError):
                raise  # of our own disk
            reason = str(error) or type(error).__name__
            raise ValueError(f"{source} could not be fetched ({reason}): {ADVICE}") from None
        got = temporary.stat().st_size
        if length >= 0 and got != length:
            raise ValueError(
                f"{source} could not be fetched whole: the server closed the connection after {got} of {length} bytes: "
                f"{ADVICE}"
            )
        with temporary.open("rb") as file:
            is_cut = file.read(2) == b"PK" and not zipfile.is_zipfile(temporary)  # where no length was told
        if is_cut:
            raise ValueError(f"{source} could not be fetched whole: the archive of {got} bytes has no end: {ADVICE}")
        _check_digest(temporary, sha256, source)
