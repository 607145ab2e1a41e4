"""Files in the form of the BMVC 2019 code, for tests."""

import yaml

CONFIG = """
MODEL:
  SSDS: ssd_lite
  NETS: mobilenet_v1
  IMAGE_SIZE: [300, 300]
  NUM_CLASSES: 81
  FEATURE_LAYER: [[11, 13, 'S', 'S', 'S', 'S'], [512, 1024, 512, 256, 256, 128]]
  STEPS: [[16, 16], [32, 32], [64, 64], [100, 100], [150, 150], [300, 300]]
  SIZES: [[45, 45], [90, 90], [135, 135], [180, 180], [225, 225], [270, 270], [315, 315]]
  ASPECT_RATIOS: [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2], [1, 2]]
TRAIN:
  MAX_EPOCHS: 60
  CHECKPOINTS_EPOCHS: 1
  BATCH_SIZE: 24
  TRAINABLE_SCOPE: 'norm,extras,loc,conf'
  RESUME_SCOPE: 'base'
  OPTIMIZER: {OPTIMIZER: sgd, LEARNING_RATE: 0.004, MOMENTUM: 0.9, WEIGHT_DECAY: 0.0001}
  LR_SCHEDULER: {SCHEDULER: SGDR, WARM_UP_EPOCHS: 5}
TEST: {BATCH_SIZE: 48, TEST_SCOPE: [56, 60]}
MATCHER: {MATCHED_THRESHOLD: 0.5, UNMATCHED_THRESHOLD: 0.5, NEGPOS_RATIO: 3}
POST_PROCESS: {SCORE_THRESHOLD: 0.01, IOU_THRESHOLD: 0.6, MAX_DETECTIONS: 100}
DATASET:
  DATASET: coco
  DATASET_DIR: ./data/COCO
  TRAIN_SETS: [['2017', 'train']]
  TEST_SETS: [['2017', 'val']]
  PROB: 0.6
EXP_DIR: ./experiments/models/mine
LOG_DIR: ./experiments/models/mine
RESUME_CHECKPOINT: ./plain.pth
PHASE: ['test']
"""
VOC = {
    "DATASET": "voc",
    "DATASET_DIR": "./data/VOCdevkit",
    "TRAIN_SETS": [["2007", "trainval"], ["2012", "trainval"]],
    "TEST_SETS": [["2007", "test"]],
}


def bmvc_file(**changes) -> dict:
    """The content of the file above; ``TRAIN={...}`` changes keys of that section, another value replaces what was."""
    mapping = yaml.safe_load(CONFIG)
    for key, value in changes.items():
        mapping[key] = {**mapping[key], **value} if isinstance(value, dict) else value
    return mapping
