// Threads that make one frame together. All run the same code; loops are cut into shares, and whoever is done waits.
//
// Crew    threads that stay: asleep between frames, in a frame a short while awake at each meeting
// Share   what one of them does: each() is a loop of which it takes its part, and meets the others at the end
//
// Which thread does what changes no number: every sum is made by one thread, in the order in which one alone would.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include <immintrin.h>

constexpr int MOST_THREADS = 16;
constexpr int SPINS = 1000;  // looks at a meeting before going to sleep: 26 us on the EPYC at hand

class Crew {
    std::thread others[MOST_THREADS - 1];
    int hired = 1;  // with the caller's own
    std::mutex lock;
    std::condition_variable begun, met;
    int working = 1;
    unsigned round = 0;  // this and the next four are guarded by `lock`
    int called = 1;      // to this round: who comes late must not take it for one of his
    bool is_over = false;
    void (*job)(void *, int, int) = nullptr;
    void *of_job = nullptr;
    std::atomic<unsigned> meeting{0};
    std::atomic<int> arrived{0}, asleep{0};

    void wait_for_work(int who, unsigned last) {
        for (;;) {
            std::unique_lock<std::mutex> held(lock);
            begun.wait(held, [&] { return round != last || is_over; });
            if (is_over) return;
            last = round;
            if (who >= called) continue;
            const auto do_it = job;
            const auto with = of_job;
            const int of = called;
            held.unlock();
            do_it(with, who, of);
        }
    }

  public:
    ~Crew() {
        {
            std::lock_guard<std::mutex> held(lock);
            is_over = true;
        }
        begun.notify_all();
        for (int i = 1; i < hired; ++i) others[i - 1].join();
    }

    // Work with so many threads from now on; gives how many there are.
    int resize(int number) {
        number = number < 1 ? 1 : number > MOST_THREADS ? MOST_THREADS : number;
        try {
            for (; hired < number; ++hired) others[hired - 1] = std::thread(&Crew::wait_for_work, this, hired, round);
        } catch (const std::system_error &) {  // the machine gives no more of them
        }
        return working = number < hired ? number : hired;
    }

    // work(who, of) on every thread; it must end with a meeting.
    template <class Work> void run(Work work) {
        if (working > 1) {
            {
                std::lock_guard<std::mutex> held(lock);
                job = [](void *with, int who, int of) { (*static_cast<Work *>(with))(who, of); };
                of_job = &work;
                called = working;
                ++round;
            }
            begun.notify_all();
        }
        work(0, working);
    }

    // Wait until so many have come.
    void meet(int of) {
        const unsigned now = meeting.load();
        if (arrived.fetch_add(1) == of - 1) {
            arrived.store(0);
            meeting.store(now + 1);
            if (asleep.load()) {
                std::lock_guard<std::mutex> held(lock);
                met.notify_all();
            }
            return;
        }
        for (int i = 0; i < SPINS; ++i) {
            if (meeting.load(std::memory_order_acquire) != now) return;
            _mm_pause();
        }
        std::unique_lock<std::mutex> held(lock);
        ++asleep;
        met.wait(held, [&] { return meeting.load() != now; });
        --asleep;
    }
};

struct Share {
    int who, of;
    Crew *crew;

    void meet() const {
        if (of > 1) crew->meet(of);
    }
    // work(i) for this thread's part of 0 ... count - 1, without a meeting.
    template <class Work> void some(int count, Work work) const {
        for (int i = count * who / of, end = count * (who + 1) / of; i < end; ++i) work(i);
    }
    template <class Work> void each(int count, Work work) const {
        some(count, work);
        meet();
    }
};
