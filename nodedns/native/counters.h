/* counters.h: /run/nodedns/counters. One block a thread: each has one writer for life, so a SIGKILL neither resets nor doubles.
 *
 *     header (4096): names of all counters | the parent's block | slot 0: hit block, miss block | slot 1: ... | ...
 *
 * A block is an array of u64: COUNTERS, then ROWS rows, then UPSTREAMS. A ROW is what one of our servers (a listen address) did
 * for one zone; which is which the parent keeps by name, so that a row means the same whatever a reload changes. An UPSTREAM is
 * one server that we ask.
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
    X(batch_1, "wake-ups of the hit loop that found one query")                                        \
    X(batch_2, "that found two")                                                                       \
    X(batch_4, "three or four")                                                                        \
    X(batch_8, "up to 8")                                                                              \
    X(batch_16, "up to 16")                                                                            \
    X(batch_32, "up to 32")                                                                            \
    X(batch_64, "up to 64")                                                                            \
    X(received, "UDP queries received")                                                                \
    X(silent, "packets no answer is due to: too short, or answers themselves")                         \
    X(formerr, "queries answered FORMERR by the parser")                                               \
    X(notimp, "queries with an opcode other than QUERY")                                               \
    X(badvers, "queries with an EDNS version above 0")                                                 \
    X(transfer, "AXFR and IXFR, refused")                                                              \
    X(any, "ANY over UDP, answered by HINFO")                                                          \
    X(invalid, "queries for names under invalid., answered NXDOMAIN")                                  \
    X(denied, "queries refused by `allow`")                                                            \
    X(limited, "queries dropped by `rate_limit`; over TCP refused")                                    \
    X(ring_full, "queries refused because too many were pending")                                      \
    X(send_failed, "answers the kernel did not take")                                                  \
    X(replayed, "queries taken over from a predecessor")                                               \
    X(given_up, "batches dropped after two workers died on them")                                      \
    X(joined, "misses that joined an equal question in flight")                                        \
    X(elsewhere, "misses that waited for another worker's answer to the same question")                \
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
    X(hedged, "questions asked of a second upstream before the first was late")                        \
    X(probes, "questions of our own to upstreams that were down")                                      \
    X(all_down, "questions of a zone all of whose upstreams were down")                                \
    X(loops, "upstreams found to lead back to us")                                                     \
    X(tls_errors, "TLS connections to upstreams that failed")                                          \
    X(exhausted, "questions given up after the last attempt")                                          \
    X(stale, "questions answered by an expired entry, since no server answered well")                  \
    X(stored, "entries stored")                                                                        \
    X(put_lost, "entries not stored: another writer held the slot")                                    \
    X(too_big, "entries not stored: longer than a large slot")                                         \
    X(evicted_success, "live answers that had to go")                                                  \
    X(evicted_denial, "live denials and failures that had to go")                                      \
    X(tcp_accepted, "TCP connections accepted")                                                        \
    X(tcp_refused, "TCP connections closed at once: over a limit, or not in `allow`")                  \
    X(tcp_idle, "TCP connections closed for idleness")

/* The parent's own and the monitor's, in one block: they outlive them, as the workers' outlive theirs. */
#define PARENT_COUNTERS(X)                                                                             \
    X(starts, "starts of the service")                                                                 \
    X(restarts, "workers that died or hung and were started again")                                    \
    X(hangs, "workers that hung")                                                                      \
    X(monitor_restarts, "the same of the monitor")                                                     \
    X(reloads_taken, "reloads that were taken")                                                        \
    X(reloads_refused, "reloads that were refused")                                                    \
    X(repairs, "times that link or rules were put right")                                              \
    X(adoptions, "sockets taken over from systemd's store")                                            \
    X(fail_opens, "times that queries began to go to the fallback")                                    \
    X(probe_failures, "seconds in which an address did not answer us")                                 \
    X(error_iptables, "changes of the rules that failed")                                              \
    X(error_iptables_lock, "changes of the rules that did not get the lock")                           \
    X(error_interface_add, "changes of the link that failed")                                          \
    X(error_interface_check, "addresses that were not on the link alone")                              \
    X(error_configmap, "looks at the ConfigMap that failed")                                           \
    X(querylog_lines, "lines of the query log")                                                        \
    X(querylog_dropped, "answers that should be in it: over `log.rate`, or the reader too slow")       \
    X(dnstap_sent, "messages that dnstap's receiver took")                                            \
    X(dnstap_dropped, "messages that it did not take in time")                                              \
    X(probe_1, "the monitor's questions to ourselves that took up to 0.25 ms")                         \
    X(probe_2, "up to 2.5 ms")                                                                         \
    X(probe_3, "up to 25 ms")                                                                          \
    X(probe_4, "up to 250 ms")                                                                         \
    X(probe_5, "up to 2.5 s")                                                                          \
    X(probe_6, "longer")                                                                               \
    X(probe_us, "what they took in all, in microseconds")                                              \
    X(probes_failed, "seconds in which an address did not answer the monitor")                         \
    X(scrapes, "times that the metrics were asked for")

/* What is, in the same block; the parent alone writes it. */
#define PARENT_GAUGES(X)                                                                               \
    X(state, "of core/service.py, by its place there")                                                 \
    X(workers, "worker slots")                                                                         \
    X(serving, "the slots that serve, a bit each")                                                     \
    X(fail_open, "queries go to the fallback")                                                         \
    X(reload_failed, "the last reload was refused")                                                    \
    X(fallback, "servers that queries can go to while we do not answer")                               \
    X(started_ms, "when the parent started, ms since 1970")                                            \
    X(cpu_us, "of the parent and all its children, dead ones too")                                     \
    X(resident, "octets of all of them, what they share counted once")                                 \
    X(open_fds, "of the parent")                                                                       \
    X(max_fds, "of the parent")

/* The types CoreDNS names in its `type` label; what is none of them is "other", which comes last. */
#define TYPES(X)                                                                                       \
    X(A, 1) X(AAAA, 28) X(ANY, 255) X(AXFR, 252) X(CNAME, 5) X(DNSKEY, 48) X(DS, 43) X(HTTPS, 65) X(IXFR, 251) X(MX, 15) \
    X(NS, 2) X(NSEC, 47) X(NSEC3, 50) X(PTR, 12) X(RRSIG, 46) X(SOA, 6) X(SRV, 33) X(TXT, 16)

enum {
    PROTOS = 2,        /* udp, tcp */
    WAYS = 3,          /* to an upstream: udp, tcp, tls */
    TYPE_CLASSES = 19,
    RCODES = 17,       /* 0 to 15, and BADVERS */
    HOWS = 4,          /* enum how */
    DURATIONS = 17,    /* CoreDNS's bounds: 0.25 ms * 2^k, k from 0 to 15, and what took longer */
    SIZES = 15,        /* CoreDNS's bounds (count.c), and what is longer */
    REPLY_RCODES = 7   /* NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, others */
};
enum how { HOW_SUCCESS, HOW_DENIAL, HOW_FAILURE, HOW_MISS }; /* hits by the kind of entry, and what had to be asked for */

/* Histograms hold each value in one bucket; the reader sums them up. */
#define ROW_FIELDS(X)                                                                                  \
    X(requests, PROTOS * TYPE_CLASSES) X(dnssec_ok, 1) X(rcodes, RCODES) X(hows, HOWS) X(stale, 1) X(prefetched, 1) \
    X(durations, DURATIONS) X(duration_ns, 1) X(request_sizes, PROTOS * SIZES) X(request_octets, PROTOS)             \
    X(response_sizes, PROTOS * SIZES) X(response_octets, PROTOS)
/* The last three are gauges: this worker's view, not summed. `state`: 0 nobody was asked yet, 1 answers, 2 down, 3 leads back to us. */
#define UPSTREAM_FIELDS(X)                                                                             \
    X(sent, WAYS) X(reused, WAYS) X(opened, WAYS) X(replies, REPLY_RCODES * DURATIONS) X(reply_ns, REPLY_RCODES) X(timeouts, 1)      \
    X(errors, 1) X(probe_failures, 1) X(state, 1) X(rtt_ns, 1) X(sockets, 1)

#define X(name, n) uint64_t name[n];
struct row_shape { ROW_FIELDS(X) };
struct upstream_shape { UPSTREAM_FIELDS(X) };
#undef X
enum counter {
#define X(name, help) C_##name,
    COUNTERS(X)
#undef X
        COUNTER_COUNT
};
enum parent_counter {
#define X(name, help) P_##name,
    PARENT_COUNTERS(X)
#undef X
        PARENT_COUNT
};
enum parent_gauge { /* their places are behind those of the counters */
#define X(name, help) G_##name,
    PARENT_GAUGES(X)
#undef X
        GAUGE_COUNT
};
enum {
    MAX_ZONES = 64,   /* the four zones everyone has, and as many stub zones as anyone was seen to run, four times over */
    ROWS = 256,       /* 50 zones at two addresses twice over, so that a reload finds free ones; 300 KiB a block */
    UPSTREAMS = 64,
    NO_ROW = 0xffff,  /* a canary's answers and those to our own questions are counted in no row */
    ROW_VALUES = sizeof(struct row_shape) / 8,
    UPSTREAM_VALUES = sizeof(struct upstream_shape) / 8,
    JOURNALED = COUNTER_COUNT + ROWS * ROW_VALUES, /* what answers add to */
    COUNTER_VALUES = JOURNALED + UPSTREAMS * UPSTREAM_VALUES,
    COUNTERS_HEADER = 4096,
    PARENT_VALUES = 64,
    ANSWER_ITEMS = 12, /* what count_answer() adds to at most */
    JOURNAL_ITEMS = 64 * ANSWER_ITEMS + 8 /* 64 answers, none of which shares a counter with another, and what a batch adds once */
};
_Static_assert((int)PARENT_COUNT + (int)GAUGE_COUNT <= (int)PARENT_VALUES, "the parent's block holds them");

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
    uint16_t place[JOURNALED];
};

/* What an answer adds to. */
struct note {
    uint16_t row;         /* NO_ROW: none */
    uint8_t rcode, proto; /* proto: 0 UDP, 1 TCP */
    uint8_t type;         /* class_of_type() */
    uint8_t how;          /* enum how; HOWS: neither hit nor miss */
    uint8_t flags;        /* NOTE_* */
    uint8_t counter;      /* enum counter, COUNTER_COUNT: none */
    uint16_t request;     /* octets */
};
enum { NOTE_DO = 1, NOTE_STALE = 2 };

size_t counters_size(unsigned slots);
struct counter_block *counters_block(void *base, unsigned slot, int miss);
_Atomic uint64_t *counters_parent(void *base);
/* Stages value[index] += n. Here, since each answer does it ten times. */
static inline void journal_add(struct journal *j, struct staging *s, const struct counter_block *b, unsigned index, uint64_t n)
{
    unsigned at = s->place[index];
    if (at < j->count && j->item[at].index == index) {
        j->item[at].value += n;
        return;
    }
    at = j->count++;
    s->place[index] = (uint16_t)at;
    j->item[at].index = index;
    j->item[at].value = atomic_load_explicit(&b->value[index], memory_order_relaxed) + n;
}
/* Stores what is staged and leaves the journal armed: clear the marks, then journal_close(). */
void journal_store(struct journal *j, struct counter_block *b);
void journal_close(struct journal *j);
/* For counters that belong to no answer: one writer, so a load and a store do. */
static inline void counter_add(struct counter_block *b, unsigned index, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&b->value[index], memory_order_relaxed);
    atomic_store_explicit(&b->value[index], v + n, memory_order_relaxed);
}
#define ROW_AT(row, field) (COUNTER_COUNT + (unsigned)(row) * ROW_VALUES + offsetof(struct row_shape, field) / 8)
#define UPSTREAM_AT(upstream, field) (JOURNALED + (unsigned)(upstream) * UPSTREAM_VALUES + offsetof(struct upstream_shape, field) / 8)

/* --- count.c --- */
unsigned class_of_type(uint16_t type);
unsigned class_of_reply(uint8_t rcode);
/* Bucket of a duration in ns, of a size in octets; the bound belongs to the bucket below it (Prometheus's `le`). */
unsigned duration_bucket(uint64_t ns);
unsigned size_bucket(uint64_t octets);
/* Adds what an answer of `octets`, given `ns` after its query came, adds: with a journal staged there, without at once. */
void count_answer(struct journal *j, struct staging *s, struct counter_block *b, const struct note *n, uint64_t octets, uint64_t ns);
#endif
