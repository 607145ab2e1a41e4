"""What the benchmarks time besides: jobs and input of ours, and other projects' way to do them; no scripts."""

from types import ModuleType


def load_torchvision_peer() -> ModuleType | None:
    """The module of torchvision's detectors and transforms; None, with a note, where torchvision cannot be loaded."""
    try:
        from tools.bench.peers import torchvision_peer
    except (ImportError, RuntimeError) as error:  # RuntimeError: its operators do not fit this torch
        print(f"our side alone, without torchvision: {error}")
        return None
    return torchvision_peer
