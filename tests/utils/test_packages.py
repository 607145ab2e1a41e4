"""Files out of a package that is neither installed nor run."""

import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from lib.utils import packages
from lib.utils.packages import PackageError, download_npm, download_wheel, read_tar, unpack

NAME = "forest-1.0-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path):
    """A made-up wheel with two files of data, code, and a file whose name climbs out."""
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("forest/data/a.png", b"picture")
        file.writestr("forest/data/a.xml", b"<annotation/>")
        file.writestr("forest/__init__.py", b"raise SystemExit")
        file.writestr("../b.png", b"outside")
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def no_pip(monkeypatch):
    """pip fails as it does without a network."""

    def fail(command, **_):
        raise subprocess.CalledProcessError(1, command, stderr="WARNING: retry\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", fail)


def test_a_wheel_that_is_there_is_checked_and_not_downloaded_again(wheel, no_pip):
    assert download_wheel("forest==1.0", digest(wheel), wheel.parent) == wheel


def test_a_wheel_with_another_digest_is_refused_and_removed(wheel, no_pip):
    with pytest.raises(PackageError, match=f"must have the SHA-256 {'0' * 64}"):
        download_wheel("forest==1.0", "0" * 64, wheel.parent)
    assert not wheel.exists()


def test_the_last_line_of_pip_says_why_there_is_no_wheel(tmp_path, no_pip):
    with pytest.raises(PackageError, match=r"pip could not download forest==1.0 \(ERROR: No matching distribution\)"):
        download_wheel("forest==1.0", "0" * 64, tmp_path)


def test_pip_takes_no_other_packages_and_no_source_that_it_would_run(tmp_path, wheel, monkeypatch):
    target = tmp_path / "new"

    def copy(command, **_):
        assert {"--no-deps", "--only-binary=:all:", f"--dest={target}", "forest==1.0"} <= set(command)
        target.mkdir()
        (target / NAME).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(subprocess, "run", copy)
    assert download_wheel("forest==1.0", digest(wheel), target) == target / NAME


def test_wanted_files_are_copied_and_nothing_else(wheel, tmp_path):
    folder = tmp_path / "out" / "train"
    files = unpack(wheel, ["forest/data/a.png", "forest/data/a.xml"], folder)
    assert files == [folder / "a.png", folder / "a.xml"]
    assert [file.read_bytes() for file in files] == [b"picture", b"<annotation/>"]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.png", "a.xml", NAME]


@pytest.mark.parametrize("name", ["../b.png", "/etc/b.png", "a/../../b.png", "..\\b.png", "forest/__init__.py", "a"])
def test_names_that_climb_out_and_code_are_refused(wheel, tmp_path, name):
    with pytest.raises(ValueError, match="must have a path inside the archive and end in"):
        unpack(wheel, ["forest/data/a.png", name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_a_huge_file_and_a_broken_archive_are_named(wheel, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must hold forest/c.png; it does not"):
        unpack(wheel, ["forest/c.png"], tmp_path)
    monkeypatch.setattr(packages, "LARGEST", 3)
    with pytest.raises(ValueError, match=r"a.png must have at most 3 bytes; it has 7"):
        unpack(wheel, ["forest/data/a.png"], tmp_path)
    wheel.write_bytes(b"PK")
    with pytest.raises(ValueError, match="must be a zip archive; it is broken"):
        unpack(wheel, ["forest/data/a.png"], tmp_path)


@pytest.fixture
def tar(tmp_path):
    """An archive as npm has them, with a file and a link."""
    path = tmp_path / "web-2.0.tgz"
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo("package/dist/a.wasm")
        info.size = 4
        file.addfile(info, io.BytesIO(b"wasm"))
        link = tarfile.TarInfo("package/b.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return path


def test_npm_is_asked_once_and_runs_no_script(tmp_path, tar, monkeypatch):
    target, calls = tmp_path / "cache", []

    def copy(command, **_):
        calls.append(command)
        shutil.copy(tar, target)

    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", copy)
    for _ in range(2):
        assert download_npm("web@2.0", digest(tar), target) == target / "web-2.0.tgz"
    (command,) = calls
    assert command[:3] == ["/bin/npm", "pack", "web@2.0"]
    assert {"--ignore-scripts", f"--pack-destination={target}"} <= set(command)
    with pytest.raises(PackageError, match=f"must have the SHA-256 {'0' * 64}"):
        download_npm("web@2.0", "0" * 64, target)
    assert not (target / "web-2.0.tgz").exists()


def test_without_npm_or_its_registry_one_line_says_so(tmp_path, monkeypatch, no_pip):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(PackageError, match=r"npm must be installed to get web@2.0; it is not: .* \(npm pack web@2.0\)"):
        download_npm("web@2.0", "0" * 64, tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    with pytest.raises(PackageError, match=r"npm could not download web@2.0 \(WARNING: retry\): check the connection"):
        download_npm("web@2.0", "0" * 64, tmp_path)


def test_files_of_an_archive_are_read_without_being_written(tar, monkeypatch):
    assert read_tar(tar, ["package/dist/a.wasm"]) == {"package/dist/a.wasm": b"wasm"}
    with pytest.raises(ValueError, match="must hold package/c; filename 'package/c' not found"):
        read_tar(tar, ["package/c"])
    with pytest.raises(ValueError, match="package/b.js must be a file"):
        read_tar(tar, ["package/b.js"])
    monkeypatch.setattr(packages, "LARGEST", 3)
    with pytest.raises(ValueError, match="a.wasm must be a file of at most 3 bytes; it has 4"):
        read_tar(tar, ["package/dist/a.wasm"])
    tar.write_bytes(tar.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"must be a .tgz archive; it is broken"):
        read_tar(tar, ["package/dist/a.wasm"])
