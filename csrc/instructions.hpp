// Whether the processor has what a module was compiled for: a folder may be shared by machines.
#pragma once

namespace kernels {

// The first of these instruction sets that the module may use and this processor lacks, or null. Compilers other than
// GCC and Clang, and processors other than x86, are not asked.
inline const char* missing_instructions() {
#if defined(__GNUC__) && defined(__x86_64__)
    __builtin_cpu_init();
#ifdef __AVX2__
    if (!__builtin_cpu_supports("avx2")) return "avx2";
#endif
#ifdef __FMA__
    if (!__builtin_cpu_supports("fma")) return "fma";
#endif
#ifdef __AVX512F__
    if (!__builtin_cpu_supports("avx512f")) return "avx512f";
#endif
#ifdef __AVX512VBMI__
    if (!__builtin_cpu_supports("avx512vbmi")) return "avx512vbmi";
#endif
#endif
    return nullptr;
}

}  // namespace kernels
