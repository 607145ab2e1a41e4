"""Files are replaced whole; what is not a file is left in its place."""

import errno
import json
import os
import subprocess
import threading
from types import SimpleNamespace

import pytest

from lib.utils import files
from lib.utils.files import (
    GrowingText,
    free_name,
    new_folder,
    refuse_sources,
    replacing,
    try_to_write,
    write_bytes,
    write_json,
    write_text,
)


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"one": 1})
    with pytest.raises(ValueError, match="no"), replacing(tmp_path / "a" / "b.json") as file:
        file.write_text("half")
        raise ValueError("no")
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"one": 1}
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_a_pipe_without_a_name_passes_the_check():
    read, write = os.pipe()
    try_to_write({"--json=FILE": f"/dev/fd/{write}"})
    os.close(read)
    os.close(write)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text()) == [1]


def test_a_pipe_is_written_not_replaced(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json(pipe, {"one": 1}, indent=None)
    reader.join(10)
    assert received == ['{"one": 1}\n']
    assert pipe.is_fifo()


def test_a_full_disk_is_called_so_and_the_old_file_stays(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: write_text(tmp_path / "a.txt", "new"), lambda: write_bytes(tmp_path / "a.txt", b"new")):
        with pytest.raises(OSError, match="a.txt could not be written: the disk is full .*if any, is as before"):
            write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_that_grows_too_large_is_named(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    said = "a.txt could not be written: it became too large .*if any, is as before"
    with pytest.raises(OSError, match=said), replacing(tmp_path / "a.txt") as file:
        file.write_text("new")
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # as a limit of the user or FAT32 does
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_a_library_says_of_a_full_disk_is_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "has_no_room", lambda *_: True)
    with pytest.raises(OSError, match="the disk is full .failed writing file"), replacing(tmp_path / "a"):
        raise RuntimeError("failed writing file")


def test_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = files._host()
    left = [f"last.tmp{dead.pid}.{host}.pth", f"last.pth.tmp{dead.pid}", f"film.tmp{dead.pid}.{host}.mp4"]
    kept = [f"last.tmp{os.getpid()}.{host}.pth", f"last.tmp{dead.pid}.other.pth", "last.pth", "photo.tmp1.jpg"]
    for name in [*left, *kept]:
        (tmp_path / name).touch()
    write_json(tmp_path / "a.json", 1)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "a.json"])


def test_a_folder_is_whole_or_is_not_there_and_nothing_of_killed_processes_stays(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f"a.tmp{dead.pid}.{files._host()}" / "labels").mkdir(parents=True)
    (tmp_path / f"a.tmp{dead.pid}").mkdir()  # may be somebody's own
    with pytest.raises(OSError, match="a could not be written: the disk is full"), new_folder(tmp_path / "a") as folder:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "b.txt"))
    assert os.listdir(tmp_path) == [f"a.tmp{dead.pid}"]
    with new_folder(tmp_path / "a") as folder:
        (folder / "b.txt").touch()
    assert os.listdir(tmp_path / "a") == ["b.txt"]


def test_a_growing_file_is_whole_at_any_time(tmp_path, monkeypatch):
    file = GrowingText(tmp_path / "a.json", "[", "\n]\n")
    assert json.loads((tmp_path / "a.json").read_text()) == []
    file.append("\n1")
    written = file._file.write
    file._file = SimpleNamespace(**{name: getattr(file._file, name) for name in ("seek", "truncate", "close")})

    def half(content):
        if len(content) > 5:
            written(content[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(content)

    file._file.write = half
    with pytest.raises(OSError, match="the disk is full"):
        file.append(",\n2222222")
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    file._file.write = written
    file.append(",\n3")
    file.close()
    assert json.loads((tmp_path / "a.json").read_text()) == [1, 3]


def test_a_free_name_is_none_that_is_taken_in_any_case():
    assert free_name(["a.png", "a.gif.png"], "a.gif", ".png", {"b.png"}) == "a.png"
    assert free_name(["A.png", "A.gif.png"], "A.gif", ".png", {"a.png"}) == "A.gif.png"
    assert free_name(["a"], "a", "", {"a", "a.2"}) == "a.3"


def test_what_is_read_is_not_written_by_whatever_name(tmp_path):
    source = tmp_path / "a.jpg"
    source.write_text("photo")
    (tmp_path / "link.jpg").symlink_to(source)
    os.link(source, tmp_path / "hard.jpg")
    (tmp_path / "folder").symlink_to(tmp_path)
    for target in (source, tmp_path / "link.jpg", tmp_path / "hard.jpg", tmp_path / "folder" / "a.jpg"):
        with pytest.raises(ValueError, match="must not be one that is read"):
            refuse_sources([None, target], [source])
    refuse_sources([tmp_path / "b.jpg", None], [source, None, tmp_path / "nowhere"])
