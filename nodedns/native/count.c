/* count.c: what an answer adds to the counters, and in which bucket (counters.h). */
#include "counters.h"

static const uint64_t SIZE_BOUNDS[SIZES - 1] = {0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000};
enum { DURATION_FIRST = 250000 }; /* ns */

enum type_class {
#define X(name, number) T_##name,
    TYPES(X)
#undef X
        T_other
};
_Static_assert((int)T_other + 1 == (int)TYPE_CLASSES, "every class has its place");

unsigned class_of_type(uint16_t type)
{
    switch (type) {
#define X(name, number) \
    case number:        \
        return T_##name;
        TYPES(X)
#undef X
    default:
        return T_other;
    }
}

unsigned class_of_reply(uint8_t rcode) { return rcode < REPLY_RCODES - 1 ? rcode : REPLY_RCODES - 1; }

unsigned duration_bucket(uint64_t ns)
{
    uint64_t over = ns ? (ns - 1) / DURATION_FIRST : 0;
    unsigned bucket = over ? 64 - (unsigned)__builtin_clzll(over) : 0;
    return bucket < DURATIONS ? bucket : DURATIONS - 1;
}

unsigned size_bucket(uint64_t octets)
{
    unsigned bucket = 0;
    while (bucket < SIZES - 1 && octets > SIZE_BOUNDS[bucket])
        bucket++;
    return bucket;
}

static inline void add(struct journal *j, struct staging *s, struct counter_block *b, size_t index, uint64_t n)
{
    if (j)
        journal_add(j, s, b, (unsigned)index, n);
    else
        counter_add(b, (unsigned)index, n);
}

void count_answer(struct journal *j, struct staging *s, struct counter_block *b, const struct note *n, uint64_t octets, uint64_t ns)
{
    add(j, s, b, C_answers, 1);
    if (n->counter < COUNTER_COUNT)
        add(j, s, b, n->counter, 1);
    if (n->row >= ROWS)
        return;
    size_t row = ROW_AT(n->row, requests);
    unsigned proto = n->proto < PROTOS ? n->proto : 0;
#define ADD(field, at, by) add(j, s, b, row + offsetof(struct row_shape, field) / 8 + (at), (by))
    ADD(requests, proto * TYPE_CLASSES + (n->type < TYPE_CLASSES ? n->type : T_other), 1);
    ADD(rcodes, n->rcode < RCODES ? n->rcode : RCODES - 2u, 1);
    ADD(durations, duration_bucket(ns), 1);
    ADD(duration_ns, 0, ns);
    ADD(request_sizes, proto * SIZES + size_bucket(n->request), 1);
    ADD(request_octets, proto, n->request);
    ADD(response_sizes, proto * SIZES + size_bucket(octets), 1);
    ADD(response_octets, proto, octets);
    if (n->how < HOWS) /* never together with a counter of its own, so ANSWER_ITEMS hold */
        ADD(hows, n->how, 1);
    if (n->flags & NOTE_DO)
        ADD(dnssec_ok, 0, 1);
    if (n->flags & NOTE_STALE)
        ADD(stale, 0, 1);
#undef ADD
}
