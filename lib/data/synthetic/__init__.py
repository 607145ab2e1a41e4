"""Data sets drawn by the project itself."""
