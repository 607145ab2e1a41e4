"""Files are replaced whole; what is not a file is left in its place."""

import json
import os
import threading

import pytest

from lib.utils.files import replacing, write_json


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"one": 1})
    with pytest.raises(ValueError, match="no"), replacing(tmp_path / "a" / "b.json") as file:
        file.write_text("half")
        raise ValueError("no")
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"one": 1}
    assert os.listdir(tmp_path / "a") == ["b.json"]


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
