"""Exported models: how they are written, quantized and checked."""
