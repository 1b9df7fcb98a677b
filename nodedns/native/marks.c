/* marks.c: which worker asks the upstreams for a key just now, and how fast a client may go on asking (table.h). */
#include "table_layout.h"

/* A mark: tag of the key's hash (32 bits) | owner's slot number (8) | low bits of its epoch (8) | deadline (16, units of 16 ms).
 * A deadline is compared modulo 17 minutes, which no question lives for; a mark left by a dead owner is told by its epoch. */
enum { UNIT_MS = 16 };

static _Atomic uint64_t *mark_at(const struct table *t, uint64_t hash) { return &t->marks[(hash & 0xffffffffu) % TABLE_MARKS]; }

static int is_held(const struct table *t, uint64_t word, uint64_t now)
{
    uint16_t left = (uint16_t)((uint16_t)word - (uint16_t)(now / UNIT_MS));
    return word && (uint8_t)(word >> 16) == (uint8_t)table_epoch(t, (uint8_t)(word >> 24)) && left != 0 && left < 0x8000;
}

static int is_of(uint64_t word, uint64_t hash, uint8_t writer)
{
    return (uint32_t)(word >> 32) == tag_of(hash) && (uint8_t)(word >> 24) == writer;
}

enum mark table_mark(struct table *t, uint64_t hash, uint8_t writer, uint32_t epoch, uint64_t now, uint64_t ms)
{
    _Atomic uint64_t *mark = mark_at(t, hash);
    uint64_t old = atomic_load_explicit(mark, memory_order_acquire);
    uint64_t mine = (uint64_t)tag_of(hash) << 32 | (uint64_t)writer << 24 | (uint64_t)(epoch & 0xff) << 16 |
                    (uint16_t)((now + ms) / UNIT_MS + 1);
    if (is_held(t, old, now)) {
        if ((uint32_t)(old >> 32) != tag_of(hash))
            return MARK_NONE;
        return is_of(old, hash, writer) ? MARK_OWN : MARK_OTHER;
    }
    if (atomic_compare_exchange_strong(mark, &old, mine))
        return MARK_NEW;
    return (uint32_t)(old >> 32) != tag_of(hash) ? MARK_NONE : is_of(old, hash, writer) ? MARK_OWN : MARK_OTHER;
}

int table_marked(const struct table *t, uint64_t hash, uint8_t writer, uint64_t now)
{
    uint64_t word = atomic_load_explicit(mark_at(t, hash), memory_order_acquire);
    return (uint32_t)(word >> 32) == tag_of(hash) && (uint8_t)(word >> 24) != writer && is_held(t, word, now);
}

void table_unmark(struct table *t, uint64_t hash, uint8_t writer)
{
    _Atomic uint64_t *mark = mark_at(t, hash);
    uint64_t word = atomic_load_explicit(mark, memory_order_relaxed);
    if (is_of(word, hash, writer)) /* release: whoever finds it gone finds what was stored before */
        atomic_compare_exchange_strong_explicit(mark, &word, 0, memory_order_release, memory_order_relaxed);
}

/* A client's account is one word, by the generic cell rate algorithm (ITU-T I.371): tag of the address (24 bits) | theoretical
 * arrival time of the next query (40, microseconds). Who falls on another's cell takes it over with a clean account. */
int table_limit(struct table *t, const uint8_t *address, uint32_t rate, uint64_t now)
{
    const uint64_t mask = (1ull << 40) - 1, second = 1000000, at = now * 1000 & mask;
    uint64_t hash = wire_hash(address, 16, t->seed);
    _Atomic uint64_t *cell = &t->limits[(hash & 0xffffffffu) % TABLE_LIMITS];
    uint64_t old = atomic_load_explicit(cell, memory_order_relaxed);
    for (int tries = 0; tries < 8; tries++) { /* eight writers in a row got in between: let it pass */
        uint64_t ahead = ((old & mask) - at) & mask;
        if (old >> 40 != hash >> 40 || ahead > second)
            ahead = 0; /* another client's, or in the past */
        ahead += second / rate;
        if (ahead > second)
            return 0;
        if (atomic_compare_exchange_weak_explicit(cell, &old, (hash >> 40) << 40 | ((at + ahead) & mask), memory_order_relaxed,
                                                  memory_order_relaxed))
            return 1;
    }
    return 1;
}
