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

void count_answer(struct journal *j, struct staging *s, struct counter_block *b, const struct note *n, uint64_t octets, uint64_t ns)
{
    struct { unsigned index; uint64_t n; } add[ANSWER_ITEMS];
    unsigned k = 0;
#define ADD(at, by) add[k].index = (unsigned)(at), add[k++].n = (by)
    ADD(C_answers, 1);
    if (n->counter < COUNTER_COUNT)
        ADD(n->counter, 1);
    if (n->row < ROWS) {
        unsigned proto = n->proto < PROTOS ? n->proto : 0;
        ADD(ROW_AT(n->row, requests) + proto * TYPE_CLASSES + (n->type < TYPE_CLASSES ? n->type : T_other), 1);
        ADD(ROW_AT(n->row, rcodes) + (n->rcode < RCODES ? n->rcode : RCODES - 2), 1);
        ADD(ROW_AT(n->row, durations) + duration_bucket(ns), 1);
        ADD(ROW_AT(n->row, duration_ns), ns);
        ADD(ROW_AT(n->row, request_sizes) + proto * SIZES + size_bucket(n->request), 1);
        ADD(ROW_AT(n->row, request_octets) + proto, n->request);
        ADD(ROW_AT(n->row, response_sizes) + proto * SIZES + size_bucket(octets), 1);
        ADD(ROW_AT(n->row, response_octets) + proto, octets);
        if (n->how < HOWS) /* never together with a counter of its own, so ANSWER_ITEMS hold */
            ADD(ROW_AT(n->row, hows) + n->how, 1);
        if (n->flags & NOTE_DO)
            ADD(ROW_AT(n->row, dnssec_ok), 1);
        if (n->flags & NOTE_STALE)
            ADD(ROW_AT(n->row, stale), 1);
    }
#undef ADD
    for (unsigned i = 0; i < k; i++)
        if (j)
            journal_add(j, s, b, add[i].index, add[i].n);
        else
            counter_add(b, add[i].index, add[i].n);
}
