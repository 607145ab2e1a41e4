"""The scripts; those under bench/ are benchmarks."""
