"""The checkpoint and images of the tests of inference."""

from inference.conftest import checkpoint, images  # noqa: F401
