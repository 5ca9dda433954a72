// Matrix products in eight bits: a quarter of the words that floats take, in one instruction of processors with VNNI.
//
// Bytes    what a Matrix is, in levels of a scale for each column
// Levels   what Elements are, in levels of a scale for each row, found anew each time
//
// backends/int8.py makes the same of torch's layers. Processors without VNNI would add products in 16 bits, where 64
// levels have room: too coarse.
#pragma once

#include "product.h"

#if !defined(__AVX512VNNI__) && (defined(__AVX512F__) || !defined(__AVXVNNI__))
#error "this processor does not multiply bytes"
#endif

constexpr int FINEST = 127, ZERO = 128;  // levels on either side of a row's zero; columns have theirs at 0
typedef uint8_t Level;
typedef uint8_t Few __attribute__((vector_size(LANES), aligned(1), may_alias));

inline Vec size(Vec x) { return (Vec)((Ints)x & 0x7fffffff); }
inline Ints load(const int32_t *at) { return *reinterpret_cast<const Ints *>(at); }
inline void store(Level *at, Ints x) { *reinterpret_cast<Few *>(at) = __builtin_convertvector(x, Few); }

// Words of levels, a's from 0 on, b's signed.
struct Bytewise {
    typedef Ints Sum;
    static Ints add(Ints sum, Vec a, Vec b) {
#if defined(__AVX512F__)
        return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
        return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#endif
    }
};

template <int N, int K, int RUN = PLACES_H * PLACES_W> struct Bytes : Bytewise {
    static_assert(N % LANES == 0 && K % 4 == 0, "sizes that fill vectors");
    static constexpr int OUTPUTS = N, INPUTS = K, V = panel_width(N, RUN), COLUMNS = V * LANES, DEPTH = K / 4;
    alignas(64) Word packed[N * DEPTH];
    alignas(64) float bias[N], scale[N];
    alignas(64) int32_t below[N];  // takes away what the rows' zero adds to each sum

    // weight(n, k): the element of column n and row k.
    template <class Weight> void pack(Weight weight) {
        for (int n = 0; n < N; ++n) {
            float most = 1e-30f;
            for (int k = 0; k < K; ++k) most = std::fmax(most, std::fabs(weight(n, k)));
            scale[n] = most / FINEST, below[n] = 0;
            for (int k = 0; k < DEPTH; ++k) {
                int8_t four[4];
                for (int i = 0; i < 4; ++i) {
                    four[i] = int8_t(std::lrint(weight(n, k * 4 + i) / scale[n]));
                    below[n] -= ZERO * four[i];
                }
                std::memcpy(&packed[(n / COLUMNS * DEPTH + k) * COLUMNS + n % COLUMNS], four, 4);
            }
        }
    }
    const Word *panel(int column) const { return packed + column / COLUMNS * DEPTH * COLUMNS; }
    Sum begin(int column) const { return load(below + column); }
    Vec end(Sum sum, int column, float of_row) const {
        return __builtin_convertvector(sum, Vec) * (of_row * load(scale + column)) + load(bias + column);
    }
};

template <int ROWS, int K> struct Levels {
    alignas(64) float whole[ROWS * K], scale[ROWS];
    alignas(64) Level at[ROWS * K];

    void write(int m, int k, Vec x) { store(whole + m * K + k, x); }
    void set(int m) {
        const float *from = whole + m * K;
        Vec most = all(1e-30f);
        for (int k = 0; k < K; k += LANES) most = larger(most, size(load(from + k)));
        scale[m] = largest(most) / FINEST;
        const Vec inverse = all(1 / scale[m]);
        for (int k = 0; k < K; k += LANES)
            store(at + m * K + k, __builtin_convertvector(rounded(load(from + k) * inverse), Ints) + ZERO);
    }
    void set(const Share &share, int first, int count) {
        share.each(count, [&](int m) { set(first + m); });
    }
};

template <int ROWS, int N, int K, int RUN, int ALL, class Out>
void multiply(const Share &share, const Bytes<N, K, RUN> &m, const Levels<ALL, K> &a, int first, Out out) {
    multiply<ROWS>(share, m, reinterpret_cast<const Word *>(a.at + first * K),
                   [&](int row) { return a.scale[first + row]; }, out);
}
