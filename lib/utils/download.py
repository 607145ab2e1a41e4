"""Files at an address: downloaded once, and checked by their digest."""

import hashlib
import re
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import torch

from lib.utils.files import replacing
from lib.utils.log import progress

CHUNK = 1 << 20
SCHEMES = ("http", "https", "file")


def fetch(source: str | Path, sha256: str | None = None) -> Path:
    """A file on this machine: ``source`` itself, or a copy in torch's cache (TORCH_HOME) of the file at that address.

    Args:
        source: a path, or an http, https or file address.
        sha256: the digest, or at least its first 8 hex digits.

    Raises:
        ValueError: the digest differs, or the address cannot be read.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"a SHA-256 must have 8 to 64 hex digits; got {sha256!r}")
    address = urlparse(str(source))
    path = Path(source)
    if address.scheme in SCHEMES:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(address.path).name
        if not path.is_file():
            _download(str(source), path)
    if sha256 is not None and path.is_file():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(sha256.lower()):
            raise ValueError(
                f"{path} must have the SHA-256 {sha256}; got {digest}: download it again, or correct the digest"
            )
    return path


def _download(source: str, path: Path) -> None:
    """Copies the file at an address to ``path``; a failure leaves nothing there."""
    try:
        with (
            replacing(path) as temporary,
            urllib.request.urlopen(source, timeout=60) as answer,  # noqa: S310
            temporary.open("wb") as file,
        ):
            total = -(-int(answer.headers.get("Content-Length") or 0) // CHUNK) or None
            for chunk in progress(iter(lambda: answer.read(CHUNK), b""), path.name, total=total):
                file.write(chunk)
    except OSError as error:
        raise ValueError(f"{source} could not be fetched ({error}): download it by hand and give its path") from None
