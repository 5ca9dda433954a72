// One whole frame: WholeFrame.forward of the Python code for a batch of one, with every size known to the compiler.
//
// Frame       weights in the layout of this processor, and all memory that a frame takes: nothing is allocated later
// frame_new, frame_threads, frame_run, frame_free   what Python calls (written.py)

#include <new>

#include "network.h"
#include "picture.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

struct Frame {
    static constexpr int LATENT = CHANNELS * TOKENS, ROWS = 1 + STEPS, FEATURES = 6 * ACTIONS;
    float sigmas[STEPS], noise_scale, levels[ROWS * WIDTH];
    Matrix<WIDTH, FEATURES, 2> action_in;
    Matrix<WIDTH, WIDTH, 2> action_out;
    Matrix<MODULATION, WIDTH, ROWS> modulation;
    Network network;
    Decoder decoder;
    Crew crew;

    alignas(64) Element features[2 * FEATURES], action_hidden[2 * WIDTH], condition[ROWS * WIDTH];
    alignas(64) float action[2 * WIDTH], known[ROWS * MODULATION], xt[LATENT], v[LATENT];

    void read(Weights &from) {
        from.floats(sigmas, STEPS);
        from.floats(&noise_scale, 1);
        from.floats(levels, ROWS * WIDTH);
        from.linear(action_in);
        from.linear(action_out);
        from.linear(modulation);
        network.read(from);
        decoder.read(from);
    }

    // known: modulations of the commit and of each pass, by their noise level and action.
    void modulate(const Share &share, const float *moves) {
        const float pi = 3.14159265f;
        share.each(2, [&](int t) {
            for (int i = 0; i < ACTIONS; ++i) {
                float u = moves[t * ACTIONS + i];
                float waves[] = {u, std::copysign(std::sqrt(std::fabs(u)), u), std::sin(pi * u), std::cos(pi * u),
                                 std::sin(3 * pi * u), std::cos(3 * pi * u)};
                for (int j = 0; j < 6; ++j) features[t * FEATURES + j * ACTIONS + i] = narrow(waves[j]);
            }
        });
        multiply<2>(share, action_in, features,
                    [&](int t, int d, Vec sum) { store(action_hidden + t * WIDTH + d, silu(sum)); });
        multiply<2>(share, action_out, action_hidden,
                    [&](int t, int d, Vec sum) { store(action + t * WIDTH + d, sum); });
        share.each(ROWS, [&](int row) {
            for (int d = 0; d < WIDTH; d += LANES)
                store(condition + row * WIDTH + d,
                      silu(load(levels + row * WIDTH + d) + load(action + (row > 0) * WIDTH + d)));
        });
        multiply<ROWS>(share, modulation, condition,
                       [&](int row, int n, Vec sum) { store(known + row * MODULATION + n, sum); });
    }

    // looks: of the commit, of the first pass beside it, and of the passes after.
    void run(Element *const *keys, Element *const *values, const Look *looks, const float *x0, const float *moves,
             const float *noise, float *latent, uint8_t *picture) {
        crew.run([&](int who, int of) {
            const Share share{who, of, &crew};
            dream(share, keys, values, looks, x0, moves, noise);
            share.some(LATENT, [&](int i) { latent[i] = xt[i]; });
            decoder.decode(share, xt, picture);
        });
    }
    void dream(const Share &share, Element *const *keys, Element *const *values, const Look *looks, const float *x0,
               const float *moves, const float *noise) {
        share.some(LATENT, [&](int i) { xt[i] = noise[i]; });
        modulate(share, moves);
        const float *both[2] = {x0, xt}, *first[2] = {known, known + MODULATION};
        network.pass<2>(share, both, first, looks, keys, values, v);
        for (int step = 0; step < STEPS; ++step) {
            if (step > 0) {
                const float *one[1] = {xt}, *own[1] = {known + (step + 1) * MODULATION};
                network.pass<1>(share, one, own, looks + 2, keys, values, v);
            }
            const bool is_last = step == STEPS - 1;
            const float lower = is_last ? 0 : sigmas[step + 1];
            const float *eps = is_last ? xt : noise + (step + 1) * LATENT;
            share.each(LATENT, [&](int i) {
                xt[i] = (1 - lower) * (xt[i] - sigmas[step] * v[i]) + lower * (noise_scale * eps[i]);
            });
        }
    }
};

EXPORTED void frame_free(void *frame) { delete static_cast<Frame *>(frame); }

// How many threads make the frames from now on; not while one is made. Gives how many there are: at most MOST_THREADS.
EXPORTED int frame_threads(void *frame, int number) { return static_cast<Frame *>(frame)->crew.resize(number); }

// arrays: float32, in the order in which they are read. Null if they are not those of this code.
EXPORTED void *frame_new(const float *const *arrays, const int64_t *lengths, int number) {
    Frame *frame = new (std::align_val_t(64), std::nothrow) Frame;
    if (!frame) return nullptr;
    Weights from{arrays, lengths, number};
    frame->read(from);
    if (from.fits && from.next == number) return frame;
    frame_free(frame);
    return nullptr;
}

// inputs: rings of keys, rings of values, (ages, bias, write, whole) of the merged pass and of those after it, x0,
// moves, noise: as WholeFrame.forward takes them, contiguous; and the rotary positions of both frames.
EXPORTED void frame_run(void *frame, void *const *inputs, float *latent, uint8_t *picture) {
    Element *const *rings = reinterpret_cast<Element *const *>(inputs);
    void *const *rest = inputs + 2 * LAYERS;
    Look looks[3];
    for (int i = 0; i < 3; ++i) {
        void *const *from = rest + (i < 2 ? 0 : 4);
        const int row = i % 2;
        looks[i].read(static_cast<const int64_t *>(from[0]) + row * SLOTS,
                      static_cast<const float *>(from[1]) + row * SLOTS,
                      static_cast<const int64_t *>(from[2])[row], static_cast<const int64_t *>(from[3]) + row * NEAR);
    }
    static_cast<Frame *>(frame)->network.turns = static_cast<const float *>(rest[11]);
    static_cast<Frame *>(frame)->run(rings, rings + LAYERS, looks, static_cast<const float *>(rest[8]),
                                     static_cast<const float *>(rest[9]), static_cast<const float *>(rest[10]), latent,
                                     picture);
}
