// Vectors of floats, and the elements that products are made of: floats, or bfloat16 in pairs.
//
// Vec              as many floats as a register holds
// Element, Word    what is multiplied; a word is 4 bytes of them, PAIR elements
// dot              sum += a . b, word by word: the one instruction that products are made of
// exponential, silu, total, largest
//
// Written in the vector language of GCC and Clang, for AVX-512 and AVX2; bfloat16 asks for AVX-512 BF16.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#if defined(__AVX512F__)
constexpr int LANES = 16;
constexpr int ACCUMULATORS = 24;  // of 32 registers; the others hold what is multiplied
constexpr int WIDEST = 4;
#elif defined(__AVX2__)
constexpr int LANES = 8;
constexpr int ACCUMULATORS = 12;  // of 16
constexpr int WIDEST = 2;
#else
#error "vectors of at least 8 floats are needed: AVX2 or AVX-512"
#endif

typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Word;

inline Vec load(const float *at) { return *reinterpret_cast<const Vec *>(at); }
inline void store(float *at, Vec x) { *reinterpret_cast<Vec *>(at) = x; }
inline Vec all(float x) { return x - Vec{}; }

#if BFLOAT16
#if !defined(__AVX512BF16__)
#error "this processor does not multiply bfloat16"
#endif
typedef uint16_t Element;
constexpr int PAIR = 2;

inline Vec load(const Element *at) {
    __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at));
    return (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}
inline void store(Element *at, Vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(at), (__m256i)_mm512_cvtneps_pbh((__m512)x));
}
inline float widen(Element x) {
    uint32_t bits = uint32_t(x) << 16;
    float wide;
    std::memcpy(&wide, &bits, 4);
    return wide;
}
inline Element narrow(float x) {  // to the nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return Element((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline Vec dot(Vec sum, Vec a, Vec b) { return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
// Two rows of elements, or of floats, as one of words: element i of a before element i of b.
inline void interleave(Word *to, const Element *a, const Element *b) {
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(a)));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(b)));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
inline void interleave(Word *to, Vec a, Vec b) {
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)a));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)b));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#else
typedef float Element;
constexpr int PAIR = 1;

inline float widen(Element x) { return x; }
inline Element narrow(float x) { return x; }
inline Vec dot(Vec sum, Vec a, Vec b) { return sum + a * b; }
#endif

inline Vec words(const Word *at) { return *reinterpret_cast<const Vec *>(at); }
inline Vec everywhere(Word word) { return (Vec)(int32_t(word) - Ints{}); }

inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
inline Vec rounded(Vec x) {  // to the nearest, ties to even, below 2^22 in magnitude
    const Vec magic = all(12582912.0f);
    return (x + magic) - magic;
}

// e^x to 2 units in the last place; 0 below -87.
inline Vec exponential(Vec x) {
    x = larger(smaller(x, all(88.0f)), all(-87.0f));
    Vec n = rounded(x * 1.44269504f);
    Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec p = ((((r * 1.9875691e-4f + 1.3981999e-3f) * r + 8.3334519e-3f) * r + 4.1665795e-2f) * r + 1.6666665e-1f) * r;
    p = (p + 0.5f) * r * r + r + 1.0f;
    return p * (Vec)((__builtin_convertvector(n, Ints) + 127) << 23);
}

inline Vec silu(Vec x) { return x / (1.0f + exponential(-x)); }

inline float total(Vec x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)x);
#else
    float parts[LANES];
    store(parts, x);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
    return parts[0];
#endif
}
inline float largest(Vec x) {
    float parts[LANES], most;
    store(parts, x);
    most = parts[0];
    for (int i = 1; i < LANES; ++i) most = parts[i] > most ? parts[i] : most;
    return most;
}
