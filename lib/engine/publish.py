"""A trained detector made ready to share: small weights, and a record of their training and their test."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib import __version__
from lib.build_data import build_dataset
from lib.checkpoint import read_run, save_weights, stored_config
from lib.engine.evaluate import evaluate
from lib.engine.run import RunFolder, git_commit
from lib.evaluation.result import Result
from lib.inference.model_file import load_detector
from lib.inference.predictor import Predictor
from lib.utils.files import refuse_sources, replacing, write_json
from lib.utils.reading import read_json
from lib.utils.runtime import choose_device, device_name, keep_memory, set_threads

STARTED = "run.json"
ABOUT = ("version", "commit", "seed", "started", "torch", "threads", "processes", "device")  # of it


def publish(checkpoint: Path, out: Path, note: str = "", overrides: Sequence[str] = ()) -> tuple[Result, Path]:
    """Writes a run's weights in half precision to ``out``, and their record beside it, with the suffix .json.

    The weights are tested on ``data.val`` as they are in the file. Of absolute paths both files have the last two parts
    only.

    Args:
        checkpoint: of this project, in the folder of its run.
        note: what a reader should know beside the record's figures, such as which data it is.
        overrides: settings for the test, such as where ``data.val`` is now.

    Returns:
        The result of the test, and the path of the record.
    """
    content, record = read_run(checkpoint), out.with_suffix(".json")
    if out.suffix != ".pth":
        raise ValueError(f"the weights must be a .pth file; got {out}: choose such a name")
    trained = _training(checkpoint, content)
    refuse_sources([out, record], [checkpoint, checkpoint.with_name(STARTED)])
    with replacing(out) as file:
        save_weights(file, {**content, "config": trained["config"]})
        loaded = load_detector(file, stored_config(content), overrides)
        cfg = loaded.cfg
        set_threads(cfg.run.threads)
        if cfg.run.keep_memory:
            keep_memory()
        device = choose_device(cfg.run.device)
        predictor = Predictor(loaded, device, batch_size=cfg.evaluation.batch_size)
        result = evaluate(predictor, build_dataset(cfg, "val")).evaluate()
        values = {
            "weights": out.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "parameters": sum(parameter.numel() for parameter in loaded.detector.parameters()),
            "note": note,
            "classes": list(loaded.classes),
            **result.to_json(),
            "tested": {"version": __version__, "commit": git_commit(), "device": device_name(device)},
            **trained,
        }
        write_json(record, values)
    return result, record


def _training(checkpoint: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the training that wrote a checkpoint, whose content is given."""
    started = checkpoint.with_name(STARTED)
    if "position" not in content or not started.is_file():
        raise ValueError(
            f"{checkpoint} must be the last.pth or best.pth of a training run, beside its {STARTED}; "
            "it is not: name one in a folder that train.py wrote"
        )
    about, position = read_json(started), content["position"]
    return {
        "trained": {key: about.get(key) for key in ABOUT},
        "steps": position["steps"],
        "epochs": position["epoch"],
        "seconds": position["seconds"],
        "clock": content["config"]["train"]["clock"],
        "curve": RunFolder(checkpoint.parent, content["config"]).epochs(),
        "config": shortened(content["config"]),
    }


def shortened(value: Any) -> Any:
    """Plain values whose absolute paths keep their last two parts: ``/home/uav/val.json`` becomes ``uav/val.json``."""
    if isinstance(value, Mapping):
        return {key: shortened(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(part) for part in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return str(Path(*Path(value).parts[1:][-2:]))
    return value
