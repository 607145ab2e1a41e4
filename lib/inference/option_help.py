"""What the scripts say in their --help of options that several of them have."""

TILES_HELP = (
    "cut large images into tiles of SIDE pixels that overlap by OVERLAP of their side (default 0.25); boxes from "
    "several tiles are merged by nms (default) or fusion; such as 512,0.25"
)
BACKEND_HELP = (
    "runtime: torch, onnxruntime, openvino, litert (.tflite only), or auto, which times them and uses the fastest "
    "(default: torch for checkpoints, ONNX Runtime for .onnx, LiteRT for .tflite)"
)
DTYPE_HELP = (
    "number type in which the network computes: float32 (default), bfloat16 (torch, openvino) or float16 (torch)"
)
