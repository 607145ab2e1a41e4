"""Timing: stages of inference, training steps, and reports of them."""
