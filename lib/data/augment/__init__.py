"""Augmentation: one affine map for everything geometric, then one resampling."""
