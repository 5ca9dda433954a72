// The decoder: one latent to one picture. Tokenizer.decode of the Python code, channels last throughout.
//
// Residual     x + second(silu(first(silu(x))))
// Decoder      linear part and convolutions to pixels; a shuffle of pixels is where a product is written to
#pragma once

#include "product.h"
#include "weights.h"

constexpr int PLACES = PLACES_H * PLACES_W;
constexpr int SIDE = PATCH / 4;                       // of the pixels that one pixel of the last level becomes
constexpr int H2 = 2 * PLACES_H, W2 = 2 * PLACES_W;   // the level at half the width of a latent
constexpr int H4 = 4 * PLACES_H, W4 = 4 * PLACES_W;
constexpr int ROW = PLACES_W * PATCH * 3;             // floats in a row of the picture
constexpr int SHOWN = 3 * SIDE * SIDE, LAST = (SHOWN + LANES - 1) / LANES * LANES;  // its colours, to whole vectors

template <int H, int W, int C> struct Residual {
    Matrix<C, 9 * C, W> first, second;

    void read(Weights &from) {
        from.convolution(first);
        from.convolution(second);
    }
    // x += ...; `active` holds silu(x) at first. done(pixel, channel, x) may write to `active`.
    template <class Done> void add(const Share &share, float *x, Bordered<H, W, C> &active, Bordered<H, W, C> &between, Done done) const {
        convolve<H, W>(share, first, active,
                       [&](int p, int c, Vec sum) { store(between.pixel(p / W, p % W) + c, silu(sum)); });
        convolve<H, W>(share, second, between, [&](int p, int c, Vec sum) {
            Vec moved = load(x + p * C + c) + sum;
            store(x + p * C + c, moved);
            done(p, c, moved);
        });
    }
};

struct Decoder {
    float scale[CHANNELS], mean[CHANNELS];
    Matrix<3 * PATCH * PATCH, CHANNELS> linear;  // columns: row of pixels, pixel, colour
    Matrix<WIDE, 9 * CHANNELS, PLACES_W> enter;
    Residual<PLACES_H, PLACES_W, WIDE> r1, r2;
    Matrix<4 * MIDDLE, WIDE> grow;               // columns: which of the four pixels, channel
    Residual<H2, W2, MIDDLE> r3, r4;
    Matrix<4 * NARROW, MIDDLE, H2 * W2> grow_again;
    Residual<H4, W4, NARROW> r5;
    Matrix<LAST, 9 * NARROW, W4> leave;          // columns: row of pixels, pixel, colour

    Bordered<PLACES_H, PLACES_W, CHANNELS> raw;
    Bordered<PLACES_H, PLACES_W, WIDE> wide, wide_between;
    Bordered<H2, W2, MIDDLE> middle, middle_between;
    Bordered<H4, W4, NARROW> narrow_, narrow_between;
    alignas(64) Element rows[PLACES * CHANNELS], x1[PLACES * WIDE], x2[H2 * W2 * MIDDLE];
    alignas(64) float f1[PLACES * WIDE], f2[H2 * W2 * MIDDLE], f4[H4 * W4 * NARROW], pixels[PLACES_H * PATCH * ROW];

    void read(Weights &from) {
        from.floats(scale, CHANNELS);
        from.floats(mean, CHANNELS);
        from.linear(linear, [](int n) { return n % 3 * PATCH * PATCH + n / 3; });
        from.convolution(enter);
        r1.read(from);
        r2.read(from);
        from.linear(grow, [](int n) { return n % MIDDLE * 4 + n / MIDDLE; });
        r3.read(from);
        r4.read(from);
        from.linear(grow_again, [](int n) { return n % NARROW * 4 + n / NARROW; });
        r5.read(from);
        from.convolution(leave, [](int n) { return n % 3 * SIDE * SIDE + n / 3; }, SHOWN);
    }

    // latent (CHANNELS, h, w) -> picture uint8 (H, W, 3).
    void decode(const Share &share, const float *latent, uint8_t *picture) {
        share.each(PLACES, [&](int p) {
            for (int c = 0; c < CHANNELS; ++c)
                rows[p * CHANNELS + c] = raw.pixel(p / PLACES_W, p % PLACES_W)[c] =
                    narrow(latent[c * PLACES + p] * scale[c] + mean[c]);
        });
        multiply<PLACES>(share, linear, rows, [&](int p, int n, Vec sum) {
            float part[LANES], *corner = pixels + p / PLACES_W * PATCH * ROW + p % PLACES_W * PATCH * 3;
            auto place = [&](int n) { return corner + n / (3 * PATCH) * ROW + n % (3 * PATCH); };
            if (3 * PATCH % LANES == 0) return store(place(n), sum);
            store(part, sum);  // it may go on in the next row
            for (int i = 0; i < LANES; ++i) *place(n + i) = part[i];
        });
        convolve<PLACES_H, PLACES_W>(share, enter, raw, [&](int p, int c, Vec sum) {
            store(f1 + p * WIDE + c, sum);
            store(wide.pixel(p / PLACES_W, p % PLACES_W) + c, silu(sum));
        });
        r1.add(share, f1, wide, wide_between,
               [&](int p, int c, Vec x) { store(wide.pixel(p / PLACES_W, p % PLACES_W) + c, silu(x)); });
        r2.add(share, f1, wide, wide_between, [&](int p, int c, Vec x) { store(x1 + p * WIDE + c, x); });
        multiply<PLACES>(share, grow, x1, [&](int p, int n, Vec sum) {
            int y = p / PLACES_W * 2 + n / (2 * MIDDLE), x = p % PLACES_W * 2 + n / MIDDLE % 2, c = n % MIDDLE;
            store(f2 + (y * W2 + x) * MIDDLE + c, sum);
            store(middle.pixel(y, x) + c, silu(sum));
        });
        r3.add(share, f2, middle, middle_between,
               [&](int p, int c, Vec x) { store(middle.pixel(p / W2, p % W2) + c, silu(x)); });
        r4.add(share, f2, middle, middle_between, [&](int p, int c, Vec x) { store(x2 + p * MIDDLE + c, x); });
        multiply<H2 * W2>(share, grow_again, x2, [&](int p, int n, Vec sum) {
            int y = p / W2 * 2 + n / (2 * NARROW), x = p % W2 * 2 + n / NARROW % 2, c = n % NARROW;
            store(f4 + (y * W4 + x) * NARROW + c, sum);
            store(narrow_.pixel(y, x) + c, silu(sum));
        });
        // no activation follows: `narrow_` is read as it is
        r5.add(share, f4, narrow_, narrow_between, [&](int p, int c, Vec x) { store(narrow_.pixel(p / W4, p % W4) + c, x); });
        convolve<H4, W4>(share, leave, narrow_, [&](int p, int n, Vec sum) {
            float part[LANES];
            store(part, sum);
            float *corner = pixels + p / W4 * SIDE * ROW + p % W4 * SIDE * 3;
            for (int i = 0; i < LANES && n + i < SHOWN; ++i) corner[(n + i) / (3 * SIDE) * ROW + (n + i) % (3 * SIDE)] += part[i];
        });
        share.each(PLACES_H * PATCH * ROW / LANES, [&](int i) {
            Vec level = smaller(larger((load(pixels + i * LANES) + 1.0f) * 127.5f, all(0)), all(255));
            Ints whole = __builtin_convertvector(rounded(level), Ints);
            for (int j = 0; j < LANES; ++j) picture[i * LANES + j] = uint8_t(whole[j]);
        });
    }
};
