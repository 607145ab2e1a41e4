"""What the tests of the training kernels share: values with gradients, and equal bits with any number of threads."""

import torch


def values_and_gradients(function, dtype, *given):
    """The result of ``function`` and the gradient of each tensor given, all in ``dtype``; None is passed on."""
    given = [None if value is None else value.detach().to(dtype, copy=True).requires_grad_() for value in given]
    y = function(*given)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=dtype).view_as(y))
    return [y.detach(), *(value.grad for value in given if value is not None)]


def assert_same_bits_with_any_threads(function, *given):
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(values_and_gradients(function, torch.float32, *given))
    finally:
        torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(mine, first) for mine, first in zip(other, results[0], strict=True))
