"""Exported models: writing, quantizing and checking them."""
