"""Benchmarks of this project against others, and what they share."""
