"""Augmentation: steps that move boxes and pictures, one resampling, steps on pixels."""
