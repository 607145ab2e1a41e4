"""Files in the form of the MobileNetV3 and MobileDet SSDLite in Keras, for tests."""

RATIOS = (1.0, 2.0, 3.0, 0.5, 0.33)
PFH_ANCHORS = [
    [[0.1, 1.0], [0.2, 2.0], [0.2, 0.5], [False, None]],
    *([[scale, ratio] for ratio in RATIOS] + [[True, above]] for scale, above in (
        (0.35, 0.5), (0.5, 0.65), (0.65, 0.8), (0.8, 0.95), (0.95, 1.0)
    )),
]  # fmt: skip
FPN_ANCHORS = [
    [*([scale, ratio] for scale in scales for ratio in (1.0, 2.0, 0.5)), [False, None]]
    for scales in ((0.1,), (0.2,), (0.4, 0.27), (0.8, 0.53), (1.6, 1.06))
]


def keras_file(backbone: dict, is_fpn: bool, l2: float, box_loss: str = "SmoothL1", batch: int = 128) -> dict:
    """A file; ``l2`` is the regularization of all parts."""
    anchors = FPN_ANCHORS if is_fpn else PFH_ANCHORS
    light = {"isLite": True} if is_fpn else {}
    neck = {"name": "FPN", "filters": 128} if is_fpn else {"name": "PFH", "filters": [-1, -1, 512, 256, 256, 128]}
    return {
        "model_config": {
            "target_size": 320,
            "feature_map_shapes": [40, 20, 10, 5, 3] if is_fpn else [20, 10, 5, 3, 2, 1],
            "box_variances": [0.1, 0.1, 0.2, 0.2],
            "AnchorSpecs": anchors,
            "numAnchors": [3, 3, 6, 6, 6] if is_fpn else [3, 6, 6, 6, 6, 6],
            "backbone": {**backbone, "width_multiplier": 1.0, "regularization": l2, "isFreeze": is_fpn},
            "neck": {**neck, **light, "regularization": l2, "isFreeze": False},
            "head": {"name": "SSD", **light, "regularization": l2, "isFreeze": False},
        },
        "training_config": {
            "ClfLoss": {"LossFunction": "Focal", "Alpha": 0.75, "Gamma": 2.0, "Weight": 1.0},
            "BoxLoss": {"LossFunction": box_loss, "Delta": 1.0, "Weight": 1.0},
            "batch_size": batch,
            "num_classes": 80,
            "epochs": 200 if is_fpn else 600,
            "initial_learning_rate": 0.01 if is_fpn else 0.2,
        },
    }


SMALL = {"name": "MobileNetV3", "modelSize": "small"}
FILES = {
    "small_pfh": keras_file(SMALL, False, 1e-5),
    "large_pfh": keras_file({**SMALL, "modelSize": "large"}, False, 1e-5),
    "mobiledet_pfh": keras_file({"name": "MobileDet", "modelType": "CPU"}, False, 2e-5, "BalanceL1"),
    "small_fpn": keras_file({**SMALL, "dropout": 0.0}, True, 1e-5),
    "mobiledet_fpn": keras_file({"name": "MobileDet", "dropout": 0.0}, True, 1e-5, batch=256),
}
