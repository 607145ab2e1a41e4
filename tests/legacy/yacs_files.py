"""Files in the form of lufficc's SSD and of its fork, for tests."""

VOC = {"TRAIN": '("voc_2007_trainval", "voc_2012_trainval")', "TEST": '("voc_2007_test", )'}
COCO = {"TRAIN": '("coco_2017_train", )', "TEST": '("coco_2017_val", )'}
LITE = {"PREDICTOR": "SSDLiteBoxPredictor"}


def solver(iterations: int, steps: list[int], batch: int) -> dict:
    return {"MAX_ITER": iterations, "LR_STEPS": steps, "GAMMA": 0.1, "BATCH_SIZE": batch, "LR": 0.001}


def voc(model: dict, size: int, batch: int, iterations: int = 120000, steps: tuple = (80000, 100000)) -> dict:
    """A file of lufficc's code for VOC 2007 and 2012."""
    parts = {"INPUT": {"IMAGE_SIZE": size}, "DATASETS": VOC, "SOLVER": solver(iterations, list(steps), batch)}
    return {"MODEL": {"NUM_CLASSES": 21, **model}, **parts, "OUTPUT_DIR": "outputs/mine"}


def fork_coco(name: str, channels: str) -> dict:
    """A file of the fork for COCO 2017."""
    priors = {
        "FEATURE_MAPS": [20, 10, 5, 3, 2, 1],
        "STRIDES": [16, 32, 64, 120, 160, 320],
        "MIN_SIZES": [45, 90, 135, 180, 225, 270],
        "MAX_SIZES": [90, 135, 180, 225, 270, 315],
        "ASPECT_RATIOS": [[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]],
        "BOXES_PER_LOCATION": [6, 6, 6, 6, 6, 4],
    }
    recipe = {"MAX_ITER": 1600000, "GAMMA": 0.1, "BATCH_SIZE": 32, "LR": 0.01, "WEIGHT_DECAY": 4e-5}
    return {
        "MODEL": {
            "NUM_CLASSES": 81,
            "BOX_HEAD": {**LITE, "LOSS": "FocalLoss"},
            "BACKBONE": {"NAME": name, "OUT_CHANNELS": channels},
            "PRIORS": priors,
        },
        "INPUT": {"IMAGE_SIZE": 320},
        "DATASETS": COCO,
        "SOLVER": {**recipe, "LR_SCHEDULE": "WarmupCosLR"},
        "TEST": {"CONFIDENCE_THRESHOLD": 0.05, "NMS_THRESHOLD": 0.5},
        "OUTPUT_DIR": "outputs/mine",
    }


PRIORS512 = {
    "FEATURE_MAPS": [64, 32, 16, 8, 4, 2, 1],
    "STRIDES": [8, 16, 32, 64, 128, 256, 512],
    "MIN_SIZES": [35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8],
    "MAX_SIZES": [76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.65],
    "ASPECT_RATIOS": [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
    "BOXES_PER_LOCATION": [4, 6, 6, 6, 6, 4, 4],
}
PRIORS320 = {
    "FEATURE_MAPS": [20, 10, 5, 3, 2, 1],
    "STRIDES": [16, 32, 64, 107, 160, 320],
    "MIN_SIZES": [60, 105, 150, 195, 240, 285],
    "MAX_SIZES": [105, 150, 195, 240, 285, 330],
    "ASPECT_RATIOS": [[2, 3]] * 6,
    "BOXES_PER_LOCATION": [6] * 6,
}
# by the name of the golden file, where there is one
FILES = {
    "vgg_ssd300_voc0712": voc({}, 300, 32),
    "vgg_ssd512_voc0712": voc(
        {"BACKBONE": {"OUT_CHANNELS": "(512, 1024, 512, 256, 256, 256, 256)"}, "PRIORS": PRIORS512}, 512, 24
    ),
    "efficient_net_b3_ssd300_voc0712": voc(
        {"BACKBONE": {"NAME": "efficient_net-b3", "OUT_CHANNELS": "(48, 136, 384, 256, 256, 256)"}},
        *(300, 24, 160000, (105000, 135000)),
    ),
    "mobilenet_v2_ssd320_voc0712": voc(
        {
            "BOX_HEAD": LITE,
            "BACKBONE": {"NAME": "mobilenet_v2", "OUT_CHANNELS": "(96, 1280, 512, 256, 256, 64)"},
            "PRIORS": PRIORS320,
        },
        *(320, 32),
    ),
    "mobilenet_v3_ssd320_voc0712": voc(
        {
            "BOX_HEAD": LITE,
            "BACKBONE": {"NAME": "mobilenet_v3", "OUT_CHANNELS": "(112, 960, 512, 256, 256, 64)"},
            "PRIORS": PRIORS320,
        },
        *(320, 32),
    ),
    "mobilenet_v2_ssd320_coco": fork_coco("mobilenet_v2", "(96, 1280, 512, 256, 256, 64)"),
    "mobilenext_ssd320_coco": fork_coco("mobilenext", "(576, 1280, 512, 256, 256, 128)"),
}
