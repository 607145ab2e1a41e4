"""The folder of a run: how it is closed, and which checkpoints stay."""

import os
from types import SimpleNamespace

import pytest

from lib.engine import run as run_module
from lib.engine.run import RunFolder
from lib.utils.files import WriteError


@pytest.fixture
def folder(tmp_path):
    """A new run folder with a last.pth."""
    run = RunFolder(tmp_path, {})
    run.last.write_text("weights")
    return run


def test_error_of_closing_does_not_hide_that_of_the_training(folder, monkeypatch, caplog):
    def full():
        raise WriteError("curves.png could not be written: the disk is full")

    monkeypatch.setattr(folder, "close", full)
    with pytest.raises(FloatingPointError, match="the loss must be finite"), folder.closed_at_end():
        raise FloatingPointError("the loss must be finite")
    assert caplog.messages == ["curves.png could not be written: the disk is full"]
    with pytest.raises(WriteError, match="the disk is full"), folder.closed_at_end():
        pass


def test_epochs_are_kept_by_their_number(folder):
    (folder.path / "epoch_of_mine.pth").touch()
    for epoch in (9998, 9999, 10000):
        folder.keep_epoch(epoch, 2)
    assert sorted(path.name for path in folder.path.glob("epoch_*")) == [
        "epoch_10000.pth",
        "epoch_9999.pth",
        "epoch_of_mine.pth",
    ]


def test_epochs_are_copied_on_a_disk_without_hard_links(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder.keep_epoch(1, 2)
    folder.last.write_text("other weights")
    assert (folder.path / "epoch_0001.pth").read_text() == "weights"


def test_processes_that_find_different_checkpoints_are_refused(folder, monkeypatch):
    monkeypatch.setattr(run_module, "read_run", lambda _: {"position": {"steps": 120}})
    shared = SimpleNamespace(gather=lambda value: [value, value])
    assert folder.checkpoint(True, shared) == {"position": {"steps": 120}}
    apart = SimpleNamespace(gather=lambda value: [value, None])
    with pytest.raises(ValueError, match="must see the run's folder .*, by rank: 120 steps, no run: choose a run.dir"):
        folder.checkpoint(True, apart)
