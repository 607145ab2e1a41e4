// How all kernels are launched.
#pragma once

#include <cuda_runtime.h>

namespace kernels {

// Queues a kernel on a stream and gives the error of doing so.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, int threads, void* stream,
                   Arguments... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = dim3(threads);
    config.stream = cudaStream_t(stream);
    return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
}

}  // namespace kernels
