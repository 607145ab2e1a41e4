"""The number format in which a device trains fastest."""

import torch


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 if the device has instructions for it, else float32: emulated, it takes up to ten times as long."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bf16 = any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if has_bf16 else torch.float32
