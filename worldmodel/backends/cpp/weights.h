// Reading a network's parameters: arrays of float32 in the order in which they are asked for, each of a known length.
#pragma once

#include "product.h"

struct Weights {
    const float *const *arrays;
    const int64_t *lengths;
    int number, next = 0;
    bool fits = true;  // false once an array was missing or of another length

    const float *take(int64_t length) {
        if (next >= number || lengths[next] != length) fits = false;
        return fits ? arrays[next++] : nullptr;
    }
    void floats(float *to, int64_t length) {
        if (const float *from = take(length)) std::memcpy(to, from, 4 * length);
    }
    void elements(Element *to, int64_t length) {
        if (const float *from = take(length))
            for (int64_t i = 0; i < length; ++i) to[i] = narrow(from[i]);
    }
    // weight (N, K), then bias (N) or nothing (0 elements); column n of the product is row order(n) of both.
    template <class M, class Order> void linear(M &m, Order order) {
        constexpr int N = M::OUTPUTS, K = M::INPUTS;
        const float *weight = take(int64_t(N) * K);
        const float *bias = next < number && lengths[next] == 0 ? (++next, nullptr) : take(N);
        if (!fits) return;
        m.pack([&](int n, int k) { return weight[int64_t(order(n)) * K + k]; });
        for (int n = 0; n < N; ++n) m.bias[n] = bias ? bias[order(n)] : 0;
    }
    template <class M> void linear(M &m) {
        linear(m, [](int n) { return n; });
    }
    // weight (given, C, 3, 3), then bias (given); what m has beyond is zero.
    template <int N, int K, int RUN, class Order> void convolution(Matrix<N, K, RUN> &m, Order order, int given = N) {
        const float *weight = take(int64_t(given) * K), *bias = take(given);
        if (!fits) return;
        m.pack([&](int n, int k) { return n < given ? weight[int64_t(order(n)) * K + k % (K / 9) * 9 + k / (K / 9)] : 0; });
        for (int n = 0; n < N; ++n) m.bias[n] = n < given ? bias[order(n)] : 0;
    }
    template <int N, int K, int RUN> void convolution(Matrix<N, K, RUN> &m) {
        convolution(m, [](int n) { return n; });
    }
};
