"""Runs damaged copies of an exported model: damaged_models.py FILE CASES. A traceback or bad message fails."""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.inference import Predictor


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, anywhere or near the end, where the metadata is; bytes cut off, left out, repeated or zeroed."""
    data, kind = bytearray(content), rng.integers(6)
    first = 0 if rng.random() < 0.5 else max(0, len(data) - 4000)
    place = int(rng.integers(first, len(data)))
    length = int(rng.integers(1, 200))
    if kind <= 1:
        for _ in range(rng.choice([1, 3, 30])):
            data[int(rng.integers(first, len(data)))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + length]
    elif kind == 4:
        data[place:place] = data[place : place + length]
    else:
        data[place : place + length] = bytes(len(data[place : place + length]))
    return bytes(data)


def main(file: str, cases: int) -> None:
    """Tries each case; prints how many were refused."""
    content, refused = Path(file).read_bytes(), 0
    image = np.random.default_rng(0).integers(0, 256, (70, 120, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.onnx"
        for seed in range(cases):
            path.write_bytes(damaged(content, np.random.default_rng(seed)))
            print("seed", seed, flush=True)  # the last line, if the process dies
            try:
                Predictor(path)(image)
            except (ValueError, TypeError) as error:
                refused += 1
                text = str(error)
                assert "damaged.onnx" in text and "\n" not in text, text
    print(f"{cases} cases: {refused} refused, the others ran")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
