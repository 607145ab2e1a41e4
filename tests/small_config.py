"""A detector that is built in no time, as a config."""

SMALL = {
    "input": {"size": [64, 96]},
    "model": {
        "num_classes": 3,
        "backbone": {"type": "mobilenet_v1", "width": 0.25},
        "neck": {"extras": [[32, 2]]},
        "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
    },
}
