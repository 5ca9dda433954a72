// Matrix products: rows of elements times a matrix that was laid out once, with what follows done on the way out.
//
// Matrix      N x K weights in panels of columns, each panel one stream of words
// Elements    rows: what a Matrix is multiplied with (bytes.h has other rows, and another matrix)
// tile        R x V sums over a run of words: everything stays in registers
// multiply    all rows of a linear layer
// convolve    3 x 3 over a picture with a border of zeros
// Bordered    such a picture
#pragma once

#include "crew.h"
#include "vectors.h"

constexpr int biggest_divisor(int of, int most) {
    for (int n = most; n > 1; --n)
        if (of % n == 0) return n;
    return 1;
}
constexpr int tile_rows(int rows, int v) { return biggest_divisor(rows, ACCUMULATORS / v); }
// Vectors that a panel is wide, for tiles of rows that come in runs of `run`: as many sums at once as there are
// registers; where that leaves a choice, the wider.
constexpr int panel_width(int n, int run) {
    int best = 1;
    for (int v = 2; v <= WIDEST; ++v)
        if (n / LANES % v == 0 && v * tile_rows(run, v) >= best * tile_rows(run, best)) best = v;
    return best;
}

// Words of elements, and what their products add up to.
struct Elementwise {
    typedef Vec Sum;
    static Vec add(Vec sum, Vec a, Vec b) { return dot(sum, a, b); }
};

// rows come in runs of RUN
template <int N, int K, int RUN = PLACES_H * PLACES_W> struct Matrix : Elementwise {
    static_assert(N % LANES == 0 && K % PAIR == 0, "sizes that fill vectors");
    static constexpr int OUTPUTS = N, INPUTS = K, V = panel_width(N, RUN), COLUMNS = V * LANES, DEPTH = K / PAIR;
    alignas(64) Word packed[N * DEPTH];
    alignas(64) float bias[N];

    // weight(n, k): the element of column n and row k.
    template <class Weight> void pack(Weight weight) {
        for (int n = 0; n < N; ++n)
            for (int k = 0; k < DEPTH; ++k) {
                Element pair[PAIR];
                for (int i = 0; i < PAIR; ++i) pair[i] = narrow(weight(n, k * PAIR + i));
                std::memcpy(&packed[(n / COLUMNS * DEPTH + k) * COLUMNS + n % COLUMNS], pair, 4);
            }
    }
    const Word *panel(int column) const { return packed + column / COLUMNS * DEPTH * COLUMNS; }
    Vec begin(int) const { return all(0); }
    Vec end(Vec sum, int column, float) const { return sum + load(bias + column); }
};

// ROWS rows of K: written by vectors, then set row by row.
template <int ROWS, int K> struct Elements {
    alignas(64) Element at[ROWS * K];

    void write(int m, int k, Vec x) { store(at + m * K + k, x); }
    void set(int) {}
    void set(const Share &, int, int) {}
};

// sum[r][v] += a[r] . b[v] over `depth` words: a's rows lie ROW words apart, their words STEP; b's vectors of words
// LANES apart, its rows B.
template <int R, int V, int ROW, int STEP, int B, class Of = Elementwise>
inline __attribute__((always_inline)) void tile(typename Of::Sum (&sum)[R][V], const Word *a, const Word *b, int depth) {
    for (int k = 0; k < depth; ++k, a += STEP, b += B) {
        Vec column[V];
#pragma GCC unroll 32
        for (int v = 0; v < V; ++v) column[v] = words(b + v * LANES);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r) {
            Vec row = everywhere(a[r * ROW]);
#pragma GCC unroll 32
            for (int v = 0; v < V; ++v) sum[r][v] = Of::add(sum[r][v], row, column[v]);
        }
    }
}

// out(row, column, sum + bias) for each vector of ROWS rows, which lie one after another; scale(row): of bytes.
template <int ROWS, class M, class Scale, class Out>
void multiply(const Share &share, const M &m, const Word *rows, Scale scale, Out out) {
    constexpr int V = M::V, R = tile_rows(ROWS, V), COLUMNS = M::COLUMNS, DEPTH = M::DEPTH;
    constexpr int DOWN = ROWS / R;
    share.each(M::OUTPUTS / COLUMNS * DOWN, [&](int i) {
        const int column = i / DOWN * COLUMNS, row = i % DOWN * R;
        typename M::Sum sum[R][V];
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 32
            for (int v = 0; v < V; ++v) sum[r][v] = m.begin(column + v * LANES);
        tile<R, V, DEPTH, 1, COLUMNS, M>(sum, rows + row * DEPTH, m.panel(column), DEPTH);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 32
            for (int v = 0; v < V; ++v) {
                const int n = column + v * LANES;
                out(row + r, n, m.end(sum[r][v], n, scale(row + r)));
            }
    });
}
template <int ROWS, int N, int K, int RUN, class Out>
void multiply(const Share &share, const Matrix<N, K, RUN> &m, const Element *a, Out out) {
    multiply<ROWS>(share, m, reinterpret_cast<const Word *>(a), [](int) { return 1.0f; }, out);
}
// ROWS of a's rows, from `first` on.
template <int ROWS, int N, int K, int RUN, int ALL, class Out>
void multiply(const Share &share, const Matrix<N, K, RUN> &m, const Elements<ALL, K> &a, int first, Out out) {
    multiply<ROWS>(share, m, a.at + first * K, out);
}

// H x W pixels of C elements with a border of zeros, which nobody writes to.
template <int H, int W, int C> struct Bordered {
    alignas(64) Element at[(H + 2) * (W + 2) * C] = {};
    Element *pixel(int y, int x) { return at + ((y + 1) * (W + 2) + x + 1) * C; }
};

// out(pixel, channel, sum + bias); m's rows are taps by channels, row of taps after row.
template <int H, int W, int N, int C, class Out>
void convolve(const Share &share, const Matrix<N, 9 * C, W> &m, const Bordered<H, W, C> &picture, Out out) {
    constexpr int V = Matrix<N, 9 * C, W>::V, R = tile_rows(W, V), COLUMNS = V * LANES, DEPTH = C / PAIR;
    constexpr int ACROSS = W / R;
    const Word *from = reinterpret_cast<const Word *>(picture.at);
    share.each(N / COLUMNS * H * ACROSS, [&](int i) {
        const int column = i / (H * ACROSS) * COLUMNS, y = i / ACROSS % H, x = i % ACROSS * R;
        Vec sum[R][V] = {};
        for (int dy = 0; dy < 3; ++dy)  // three taps of a row lie side by side
            tile<R, V, DEPTH, 1, COLUMNS>(sum, from + ((y + dy) * (W + 2) + x) * DEPTH,
                                          m.panel(column) + dy * 3 * DEPTH * COLUMNS, 3 * DEPTH);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 32
            for (int v = 0; v < V; ++v)
                out(y * W + x + r, column + v * LANES, sum[r][v] + load(m.bias + column + v * LANES));
    });
}
