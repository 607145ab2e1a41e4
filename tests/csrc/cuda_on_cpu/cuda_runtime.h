// As much of CUDA's runtime as csrc/cuda uses, on the CPU: a thread is a fiber, which runs until it must wait
// for its block. So the tests can run the kernels' logic where there is no GPU. Warps are taken to be whole
// blocks.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#define __global__
#define __launch_bounds__(threads)
#define __device__
#define __host__
#define __shared__ static  // one block runs at a time

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess };

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;
inline uint64_t exchanged[1024];  // what __shfl_sync hands round

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool is_done;
};

inline ucontext_t scheduler;
inline Fiber* running;
inline std::function<void()> body;

inline void __syncthreads() {
    const dim3 mine = threadIdx;
    swapcontext(&running->context, &scheduler);
    threadIdx = mine;
}

inline void __syncwarp() { __syncthreads(); }

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
    exchanged[threadIdx.x] = value;
    __syncthreads();
    const T result = exchanged[lane];
    __syncthreads();
    return result;
}

inline int __ffsll(long long value) { return __builtin_ffsll(value); }

inline void run_fiber() {
    body();
    running->is_done = true;
}

// Runs the threads of one block in turns, each up to its next barrier, until all have ended.
inline void run_block(std::vector<Fiber>& fibers) {
    for (Fiber& fiber : fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        fiber.is_done = false;
        makecontext(&fiber.context, run_fiber, 0);
    }
    for (bool is_over = false; !is_over;) {
        is_over = true;
        for (unsigned i = 0; i < fibers.size(); ++i) {
            if (fibers[i].is_done) continue;
            is_over = false;
            running = &fibers[i], threadIdx = dim3(i);
            swapcontext(&scheduler, &running->context);
        }
    }
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
    static std::vector<Fiber> fibers;
    fibers.resize(config->blockDim.x);
    gridDim = config->gridDim, blockDim = config->blockDim;
    body = [=] { kernel(arguments...); };
    for (unsigned y = 0; y < gridDim.y; ++y)
        for (unsigned x = 0; x < gridDim.x; ++x) {
            blockIdx = dim3(x, y);
            run_block(fibers);
        }
    return cudaSuccess;
}

inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
