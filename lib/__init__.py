"""Train, evaluate, time and deploy detectors of small objects."""

__version__ = "0.9.0"
