"""Detections as other packages take them."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.structures import Detections

FOUND = Detections(torch.tensor([[1.0, 2, 3, 4], [5, 6, 9, 8]]), torch.tensor([0.9, 0.5]), torch.tensor([2, 1]))
NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


@pytest.fixture
def stub(monkeypatch):
    """A package of the same name, whose Detections keep what they are given."""
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))


def test_supervision_gets_arrays_and_classes_from_0(stub):
    given = FOUND.to_supervision(["car", "Fußgänger"])
    assert given.xyxy.tolist() == [[1, 2, 3, 4], [5, 6, 9, 8]] and given.xyxy.dtype == np.float32
    assert given.confidence == pytest.approx([0.9, 0.5])
    assert given.class_id.tolist() == [1, 0] and np.issubdtype(given.class_id.dtype, np.integer)
    assert given.data["class_name"].tolist() == ["Fußgänger", "car"]
    assert FOUND.to_supervision().data == {}


def test_supervision_gets_nothing_of_nothing(stub):
    given = NOTHING.to_supervision(["car"])
    assert given.xyxy.shape == (0, 4) and given.confidence.shape == given.class_id.shape == (0,)
    assert given.data["class_name"].shape == (0,)


def test_supervision_itself_takes_them():
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    given = FOUND.to_supervision(["car", "Fußgänger"])
    assert isinstance(given, supervision.Detections) and len(given) == 2
    assert given[given.class_id == 0]["class_name"].tolist() == ["car"]
    assert len(NOTHING.to_supervision(["car"])) == 0 and len(given.with_nms(0.5)) == 2


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match="needs the package supervision, .*: pip install supervision"):
        FOUND.to_supervision()
