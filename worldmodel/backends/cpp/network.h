// The network: CausalDiT.modulated of the Python code, for one or two query frames at the end of what is committed.
//
// Look      where the query frames write, and what they see
// Layer     weights of one block
// Room      what one thread needs to itself
// Network   embedding, layers, head; pass() is one pass
#pragma once

#include "product.h"
#include "weights.h"
#if INT8
#include "bytes.h"
#endif

constexpr int TOKENS = PLACES_H * PLACES_W;
constexpr int COLUMNS = (TOKENS + LANES - 1) / LANES * LANES;  // tokens, to whole vectors
constexpr int SIZE = WIDTH / HEADS, SPATIAL = HEADS - TEMPORAL, HIDDEN = MLP * WIDTH;
constexpr int SEEN = NEAR * TOKENS;                            // keys of a spatial head
constexpr int ONE = 6 * WIDTH;                                 // modulation of a layer
constexpr int MODULATION = LAYERS * ONE + 2 * WIDTH;
constexpr float TINY = 1.1920929e-7f;  // of rms_norm in float32
static_assert(SIZE % (2 * LANES) == 0 && SEEN % PAIR == 0, "sizes that fill vectors");

#if INT8
template <int N, int K> using Product = Bytes<N, K>;
template <int ROWS, int K> using Rows = Levels<ROWS, K>;
#else
template <int N, int K> using Product = Matrix<N, K>;
template <int ROWS, int K> using Rows = Elements<ROWS, K>;
#endif

// One query frame's. visible: slots of the frames in sight, and their rows of the age table.
struct Look {
    int write, count, visible[SLOTS], age[SLOTS], whole[NEAR];

    // ages, bias (SLOTS,); whole (NEAR,)
    void read(const int64_t *ages, const float *bias, int64_t slot, const int64_t *near) {
        write = int(slot), count = 0;
        for (int s = 0; s < SLOTS; ++s)
            if (bias[s] == 0) visible[count] = s, age[count++] = int(ages[s]);
        for (int i = 0; i < NEAR; ++i) whole[i] = int(near[i]);
    }
};

struct Layer {
    Product<3 * WIDTH, WIDTH> qkv;
    Product<WIDTH, WIDTH> out;
    Product<HIDDEN, WIDTH> expand;
    Product<WIDTH, HIDDEN> contract;
    alignas(64) Element ages[NUM_AGES * TEMPORAL * SIZE];
    alignas(64) Element nearness[NUM_NEAR * SPATIAL * SIZE];

    void read(Weights &from) {
        from.linear(qkv);
        from.linear(out);
        from.linear(expand);
        from.linear(contract);
        from.elements(ages, NUM_AGES * TEMPORAL * SIZE);
        from.elements(nearness, NUM_NEAR * SPATIAL * SIZE);
    }
};

// What one thread needs to itself.
struct Room {
    alignas(64) float scores[SEEN * COLUMNS], rest[COLUMNS];
    alignas(64) Word chances[SEEN / PAIR * COLUMNS], values[SEEN / PAIR * SIZE];
};

struct Network {
    Matrix<WIDTH, CHANNELS> embed;
    float place[TOKENS * WIDTH];
    const float *turns;  // (2, 2, TOKENS, SIZE / 2): cosines and sines of the frame that is committed and of the next
    Layer layers[LAYERS];
    Matrix<CHANNELS, WIDTH> head;

    alignas(64) float x[2 * TOKENS * WIDTH], qkv[2 * TOKENS * 3 * WIDTH];
    Rows<2 * TOKENS, WIDTH> a, seen;
    Rows<2 * TOKENS, HIDDEN> hidden;
    Elements<TOKENS, WIDTH> finished;
    alignas(64) Element time_query[2 * TOKENS * TEMPORAL * SIZE], latent[2 * TOKENS * CHANNELS];
    alignas(64) Word space_query[2 * SPATIAL][SIZE / PAIR * COLUMNS] = {};  // beyond the tokens: zeros
    Room rooms[MOST_THREADS];

    void read(Weights &from) {
        from.linear(embed);
        from.floats(place, TOKENS * WIDTH);
        for (Layer &layer : layers) layer.read(from);
        from.linear(head);
    }

    // v (CHANNELS, h, w) of the last of Q frames, inputs[t] (CHANNELS, h, w), modulations[t] (MODULATION,); writes
    // keys and values of all into the rings (SLOTS, TOKENS, HEADS, SIZE) of each layer.
    template <int Q>
    void pass(const Share &share, const float *const *inputs, const float *const *modulations, const Look *looks, Element *const *keys,
              Element *const *values, float *v) {
        share.each(Q * TOKENS, [&](int m) {
            for (int c = 0; c < CHANNELS; ++c)
                latent[m * CHANNELS + c] = narrow(inputs[m / TOKENS][c * TOKENS + m % TOKENS]);
        });
        multiply<Q * TOKENS>(share, embed, latent, [&](int m, int d, Vec sum) {
            store(x + m * WIDTH + d, sum + load(place + m % TOKENS * WIDTH + d));
        });
        for (int i = 0; i < LAYERS - 1; ++i)
            block<Q, Q>(share, layers[i], i * ONE, modulations, looks, keys[i], values[i]);
        // of the last layer, a frame that is only committed needs its keys and values, and no more
        block<Q, 1>(share, layers[LAYERS - 1], (LAYERS - 1) * ONE, modulations, looks, keys[LAYERS - 1],
                    values[LAYERS - 1]);
        const float *last = modulations[Q - 1] + LAYERS * ONE;
        share.each(TOKENS, [&](int n) { modulate(finished, n, x + ((Q - 1) * TOKENS + n) * WIDTH, last, last + WIDTH); });
        multiply<TOKENS>(share, head, finished, 0, [&](int n, int c, Vec sum) {
            for (int i = 0; i < LANES; ++i) v[(c + i) * TOKENS + n] = sum[i];
        });
    }

    // One layer under modulations[t] + at; what goes on after it are the LIVE last frames.
    template <int Q, int LIVE>
    void block(const Share &share, const Layer &layer, int at, const float *const *modulations, const Look *looks, Element *keys,
               Element *values) {
        constexpr int FIRST = Q - LIVE, BEGIN = FIRST * TOKENS;
        share.each(Q * TOKENS, [&](int m) {
            const float *own = modulations[m / TOKENS] + at;
            modulate(a, m, x + m * WIDTH, own, own + WIDTH);
        });
        multiply<Q * TOKENS>(share, layer.qkv, a, 0, [&](int m, int n, Vec sum) { store(qkv + m * 3 * WIDTH + n, sum); });
        share.each(Q * TOKENS, [&](int m) { place_heads<Q>(m, looks[m / TOKENS].write, keys, values); });
        share.some(LIVE * SPATIAL, [&](int i) {
            const int t = FIRST + i / SPATIAL;
            look_around(t, i % SPATIAL, looks[t], layer, keys, values, rooms[share.who]);
        });
        share.each(TOKENS, [&](int n) {
            for (int m = BEGIN + n; m < Q * TOKENS; m += TOKENS)
                for (int h = 0; h < TEMPORAL; ++h) look_back(m, h, looks[m / TOKENS], layer, keys, values);
        });
        auto join = [&](int gate) {
            return [=](int m, int n, Vec sum) {
                float *to = x + (BEGIN + m) * WIDTH + n;
                store(to, load(to) + load(modulations[FIRST + m / TOKENS] + at + gate * WIDTH + n) * sum);
            };
        };
        seen.set(share, BEGIN, LIVE * TOKENS);
        multiply<LIVE * TOKENS>(share, layer.out, seen, BEGIN, join(2));
        share.each(LIVE * TOKENS, [&](int m) {
            const float *own = modulations[FIRST + m / TOKENS] + at + 3 * WIDTH;
            modulate(a, BEGIN + m, x + (BEGIN + m) * WIDTH, own, own + WIDTH);
        });
        multiply<LIVE * TOKENS>(share, layer.expand, a, BEGIN, [&](int m, int n, Vec sum) {
            Vec positive = larger(sum, all(0));
            hidden.write(m, n, positive * positive);
        });
        hidden.set(share, 0, LIVE * TOKENS);
        multiply<LIVE * TOKENS>(share, layer.contract, hidden, 0, join(5));
    }

    // Row m of `to`: another at root mean square 1, scaled and shifted.
    template <class To> static void modulate(To &to, int m, const float *from, const float *shift, const float *scale) {
        const Vec gain = all(loudness<WIDTH>(from));
        for (int d = 0; d < WIDTH; d += LANES)
            to.write(m, d, load(from + d) * gain * (1.0f + load(scale + d)) + load(shift + d));
        to.set(m);
    }

    // What makes the root mean square of N floats 1.
    template <int N> static float loudness(const float *from) {
        Vec square = {};
        for (int d = 0; d < N; d += LANES) square += load(from + d) * load(from + d);
        return 1.0f / std::sqrt(total(square) / N + TINY);
    }

    // Row m of qkv: keys and values into their slot, queries to where each kind of head wants them.
    template <int Q> void place_heads(int m, int slot, Element *keys, Element *values) {
        constexpr int HALF = SIZE / 2;
        const int t = m / TOKENS, n = m % TOKENS;
        const float *turned = turns + ((2 - Q + t) * TOKENS + n) * HALF;  // a pass of one frame makes the next
        const int64_t to = (int64_t(slot) * TOKENS + n) * WIDTH;
        const float *from = qkv + m * 3 * WIDTH, *turn[2] = {turned, turned + 2 * TOKENS * HALF};
        alignas(64) Element query[SIZE];
        for (int h = 0; h < HEADS; ++h) {
            const float *q = from + h * SIZE, *k = q + WIDTH, *v = k + WIDTH;
            const Vec q_gain = all(loudness<SIZE>(q) / std::sqrt(float(SIZE))), k_gain = all(loudness<SIZE>(k));
            Element *held = h < SPATIAL ? query : time_query + (m * TEMPORAL + h - SPATIAL) * SIZE;
            place_head(held, q, q_gain, h < SPATIAL ? turn : nullptr);
            place_head(keys + to + h * SIZE, k, k_gain, h < SPATIAL ? turn : nullptr);
            for (int d = 0; d < SIZE; d += LANES) store(values + to + h * SIZE + d, load(v + d));
            if (h < SPATIAL)
                for (int w = 0; w < SIZE / PAIR; ++w)
                    std::memcpy(&space_query[t * SPATIAL + h][w * COLUMNS + n], query + w * PAIR, 4);
        }
    }
    // to = gain * from, turned by cosines and sines if there are any.
    static void place_head(Element *to, const float *from, Vec gain, const float *const *turn) {
        constexpr int HALF = SIZE / 2;
        for (int d = 0; d < HALF; d += LANES) {
            Vec u = load(from + d) * gain, w = load(from + HALF + d) * gain;
            Vec c = turn ? load(turn[0] + d) : all(1), s = turn ? load(turn[1] + d) : all(0);
            store(to + d, u * c - w * s);
            store(to + HALF + d, u * s + w * c);
        }
    }

    // Spatial head h of frame t: all places of the near frames. Scores lie key by key, so that softmax needs no sum
    // across a vector.
    void look_around(int t, int h, const Look &look, const Layer &layer, const Element *keys, const Element *values,
                     Room &room) {
        constexpr int V = biggest_divisor(COLUMNS / LANES, ACCUMULATORS < 24 ? 2 : 3), R = tile_rows(TOKENS, V);
        constexpr int RING = WIDTH / PAIR;
        const Word *query = space_query[t * SPATIAL + h];
        for (int i = 0; i < NEAR; ++i) {
            const int64_t frame = int64_t(look.whole[i]) * TOKENS * WIDTH + h * SIZE;
            const Word *rows = reinterpret_cast<const Word *>(keys + frame);
            const Word *offset = reinterpret_cast<const Word *>(layer.nearness + (i * SPATIAL + h) * SIZE);
            for (int column = 0; column < COLUMNS; column += V * LANES) {
                Vec base[1][V] = {};
                tile<1, V, 0, 1, COLUMNS>(base, offset, query + column, SIZE / PAIR);
                for (int row = 0; row < TOKENS; row += R) {
                    Vec sum[R][V];
#pragma GCC unroll 32
                    for (int r = 0; r < R; ++r)
#pragma GCC unroll 32
                        for (int v = 0; v < V; ++v) sum[r][v] = base[0][v];
                    tile<R, V, RING, 1, COLUMNS>(sum, rows + row * RING, query + column, SIZE / PAIR);
#pragma GCC unroll 32
                    for (int r = 0; r < R; ++r)
#pragma GCC unroll 32
                        for (int v = 0; v < V; ++v)
                            store(room.scores + (i * TOKENS + row + r) * COLUMNS + column + v * LANES, sum[r][v]);
                }
            }
            gather_values(i, values + frame, room.values);
        }
        weigh_scores(room);
        constexpr int W = biggest_divisor(SIZE / LANES, ACCUMULATORS < 24 ? 2 : 4), L = tile_rows(TOKENS, W);
        for (int column = 0; column < SIZE; column += W * LANES)
            for (int row = 0; row < TOKENS; row += L) {
                Vec sum[L][W] = {};
                tile<L, W, 1, COLUMNS, SIZE>(sum, room.chances + row, room.values + column, SEEN / PAIR);
#pragma GCC unroll 32
                for (int r = 0; r < L; ++r)
#pragma GCC unroll 32
                    for (int v = 0; v < W; ++v)
                        seen.write(t * TOKENS + row + r, h * SIZE + column + v * LANES, sum[r][v] * room.rest[row + r]);
            }
    }

    // Values of near frame i, two keys to a row of words where elements come in pairs.
    static void gather_values(int i, const Element *from, Word *values) {
        for (int n = 0; n < TOKENS; n += PAIR) {
            Word *to = values + (i * TOKENS + n) / PAIR * SIZE;
            const Element *row = from + int64_t(n) * WIDTH;
#if BFLOAT16
            for (int d = 0; d < SIZE; d += LANES) interleave(to + d, row + d, row + WIDTH + d);
#else
            std::memcpy(to, row, 4 * SIZE);
#endif
        }
    }

    // scores -> chances, not yet divided by their sum, whose inverse is `rest`.
    static void weigh_scores(Room &room) {
        float *scores = room.scores;
        for (int column = 0; column < COLUMNS; column += LANES) {
            Vec most = all(-1e30f), sum = {};
            for (int key = 0; key < SEEN; ++key) most = larger(most, load(scores + key * COLUMNS + column));
            for (int key = 0; key < SEEN; key += PAIR) {
                Vec one = exponential(load(scores + key * COLUMNS + column) - most);
                Word *to = room.chances + key / PAIR * COLUMNS + column;
#if BFLOAT16
                Vec two = exponential(load(scores + (key + 1) * COLUMNS + column) - most);
                interleave(to, one, two);
                sum += one + two;
#else
                std::memcpy(to, &one, sizeof one);
                sum += one;
#endif
            }
            store(room.rest + column, 1.0f / sum);
        }
    }

    // Ask for what temporal head h of place n will read of a slot: it lies far apart, and no processor foresees it.
    static void fetch(int slot, int n, int h, const Element *keys, const Element *values) {
        const int64_t at = (int64_t(slot) * TOKENS + n) * WIDTH + (SPATIAL + h) * SIZE;
        for (int d = 0; d < SIZE; d += 64 / int(sizeof(Element))) {
            __builtin_prefetch(keys + at + d);
            __builtin_prefetch(values + at + d);
        }
    }

    // Temporal head h of row m: the same place of all frames in sight.
    void look_back(int m, int h, const Look &look, const Layer &layer, const Element *keys, const Element *values) {
        constexpr int STEP = TOKENS * WIDTH, ROOM = (SLOTS + LANES - 1) / LANES * LANES, PARTS = SIZE / PAIR / LANES;
        const int at = m % TOKENS * WIDTH + (SPATIAL + h) * SIZE;
        const Word *query = reinterpret_cast<const Word *>(time_query + (m * TEMPORAL + h) * SIZE);
        alignas(64) float weight[ROOM];
        for (int i = look.count / LANES * LANES; i < ROOM; ++i) weight[i] = -1e30f;
        for (int i = 0; i < look.count; ++i) {
            fetch(look.visible[i], m % TOKENS + 2, h, keys, values);
            const Word *k = reinterpret_cast<const Word *>(keys + int64_t(look.visible[i]) * STEP + at);
            const Word *age = reinterpret_cast<const Word *>(layer.ages + (look.age[i] * TEMPORAL + h) * SIZE);
            Vec by_key = {}, by_age = {};
            for (int j = 0; j < PARTS; ++j) {
                Vec part = words(query + j * LANES);
                by_key = dot(by_key, part, words(k + j * LANES));
                by_age = dot(by_age, part, words(age + j * LANES));
            }
            weight[i] = total(by_key + by_age);
        }
        Vec most = all(-1e30f), all_sum = {};
        for (int i = 0; i < ROOM; i += LANES) most = larger(most, load(weight + i));
        most = all(largest(most));
        for (int i = 0; i < ROOM; i += LANES) {
            Vec one = exponential(load(weight + i) - most);
            store(weight + i, one);
            all_sum += one;
        }
        const float inverse = 1.0f / total(all_sum);
        Vec sum[SIZE / LANES] = {};
        for (int i = 0; i < look.count; ++i) {
            const Element *v = values + int64_t(look.visible[i]) * STEP + at;
            for (int d = 0; d < SIZE / LANES; ++d) sum[d] += weight[i] * load(v + d * LANES);
        }
        for (int d = 0; d < SIZE / LANES; ++d)
            seen.write(m, (SPATIAL + h) * SIZE + d * LANES, inverse * sum[d]);
    }
};
