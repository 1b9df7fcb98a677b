/* counters.h: /run/nodedns/counters. One block a thread: each has one writer for life, so a SIGKILL neither resets nor doubles.
 *
 *     header (4096) | slot 0: hit block, miss block | slot 1: hit block, miss block | ...
 *
 * What one answered query adds is written through a JOURNAL, because an answer and its count must not part when the process is
 * killed between them: the new values are staged, `armed` is set, the values are stored, the answers' sent marks are cleared,
 * `armed` is cleared. Whoever finds it armed stores the same values again: they are absolute, so that is harmless. */
#ifndef NODEDNS_COUNTERS_H
#define NODEDNS_COUNTERS_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* name, meaning */
#define COUNTERS(X)                                                                                    \
    X(answers, "answers given to the kernel, UDP and TCP")                                             \
    X(batches, "wake-ups of the hit loop that found queries")                                          \
    X(received, "UDP queries received")                                                                \
    X(silent, "packets no answer is due to: too short, or answers themselves")                         \
    X(formerr, "queries answered FORMERR by the parser")                                               \
    X(notimp, "queries with an opcode other than QUERY")                                               \
    X(badvers, "queries with an EDNS version above 0")                                                 \
    X(transfer, "AXFR and IXFR, refused")                                                              \
    X(any, "ANY over UDP, answered by HINFO")                                                          \
    X(invalid, "queries for names under invalid., answered NXDOMAIN")                                  \
    X(denied, "queries refused by `allow`")                                                            \
    X(limited, "queries dropped by `rate_limit`; over TCP refused")                                     \
    X(ring_full, "queries refused because too many were pending")                                      \
    X(send_failed, "answers the kernel did not take")                                                  \
    X(replayed, "queries taken over from a predecessor")                                               \
    X(given_up, "batches dropped after two workers died on them")                                      \
    X(joined, "misses that joined an equal question in flight")                                        \
    X(elsewhere, "misses that waited for another worker's answer to the same question")                 \
    X(prefetched, "hits that made us ask again before the end of the entry")                           \
    X(late_hits, "misses the table answered by the time they were drained")                            \
    X(upstream_udp, "queries sent to upstreams over UDP")                                              \
    X(upstream_tcp, "queries sent to upstreams over TCP")                                              \
    X(upstream_replies, "replies matched to a question")                                               \
    X(upstream_strays, "replies of no question in flight, or of another one")                          \
    X(upstream_malformed, "replies that do not parse")                                                 \
    X(upstream_timeouts, "attempts that ended without a reply")                                        \
    X(upstream_errors, "attempts the network refused")                                                 \
    X(upstream_connects, "TCP connections opened to upstreams")                                        \
    X(rejected, "questions not asked because of `max_concurrent`")                                     \
    X(hedged, "questions asked of a second upstream before the first was late")                       \
    X(probes, "questions of our own to upstreams that were down")                                       \
    X(loops, "upstreams found to lead back to us")                                                      \
    X(tls_errors, "TLS connections to upstreams that failed")                                           \
    X(exhausted, "questions given up after the last attempt")                                          \
    X(stale, "questions answered by an expired entry, since no server answered well")                  \
    X(stored, "entries stored")                                                                        \
    X(put_lost, "entries not stored: another writer held the slot")                                    \
    X(too_big, "entries not stored: longer than a large slot")                                         \
    X(evicted, "live entries that had to go")                                                          \
    X(tcp_accepted, "TCP connections accepted")                                                        \
    X(tcp_refused, "TCP connections closed at once: over a limit, or not in `allow`")                  \
    X(tcp_idle, "TCP connections closed for idleness")

/* Per zone. */
#define ZONE_COUNTERS(X)                                                                               \
    X(udp4, "answers over UDP to IPv4") X(udp6, "") X(tcp4, "") X(tcp6, "")                            \
    X(success, "hits of answers") X(denial, "hits of denials") X(failure, "hits of cached failures")   \
    X(miss, "answers that had to be asked for")                                                        \
    X(noerror, "answers by RCODE") X(servfail, "") X(nxdomain, "") X(refused, "") X(other, "")

enum counter {
#define X(name, help) C_##name,
    COUNTERS(X)
#undef X
        COUNTER_COUNT
};
enum zone_counter {
#define X(name, help) Z_##name,
    ZONE_COUNTERS(X)
#undef X
        ZONE_COUNTER_COUNT
};
enum {
    MAX_ZONES = 64,           /* the four zones everyone has, and as many stub zones as anyone was seen to run, four times over */
    COUNTER_VALUES = COUNTER_COUNT + MAX_ZONES * ZONE_COUNTER_COUNT,
    COUNTERS_HEADER = 4096,
    JOURNAL_ITEMS = 512       /* above 64 answers x 6 counters each + what a batch adds once */
};

struct counter_block {
    _Atomic uint64_t beat; /* ms of CLOCK_MONOTONIC when the thread last showed that it lives */
    uint64_t pad[7];
    _Atomic uint64_t value[(COUNTER_VALUES + 7) / 8 * 8];
};
_Static_assert(sizeof(struct counter_block) % 64 == 0, "no two threads share a cache line");

/* In the slot's shared page, one a thread. */
struct journal {
    _Atomic uint32_t armed;
    uint32_t count;
    struct { uint32_t index; uint32_t pad; uint64_t value; } item[JOURNAL_ITEMS];
};

struct staging { /* private: which item holds a counter */
    uint16_t place[COUNTER_VALUES];
};

size_t counters_size(unsigned slots);
struct counter_block *counters_block(void *base, unsigned slot, int miss);
/* Stages value[index] += n. */
void journal_add(struct journal *j, struct staging *s, const struct counter_block *b, unsigned index, uint64_t n);
/* Stores what is staged and leaves the journal armed: clear the marks, then journal_close(). */
void journal_store(struct journal *j, struct counter_block *b);
void journal_close(struct journal *j);
/* For counters that belong to no answer: one writer, so a load and a store do. */
static inline void counter_add(struct counter_block *b, unsigned index, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&b->value[index], memory_order_relaxed);
    atomic_store_explicit(&b->value[index], v + n, memory_order_relaxed);
}
static inline unsigned zone_counter(unsigned zone, enum zone_counter c) { return COUNTER_COUNT + zone * ZONE_COUNTER_COUNT + c; }
#endif
