/* table_put.c: the table's writers: claim, steal, evict, publish (table.h). */
#include "table_layout.h"

uint32_t table_epoch(const struct table *t, uint8_t writer) { return atomic_load(&t->header->epochs[writer]) & 0xffffff; }

void table_raise_epoch(struct table *t, uint8_t writer) { atomic_fetch_add(&t->header->epochs[writer], 1); }

void table_flush(struct table *t, uint64_t now) { atomic_store(&t->header->flushed, now); }

/* Claims a slot; returns its odd control word, 0 = lost to a live writer. */
static uint64_t claim(struct table *t, struct bucket *b, int way, uint8_t writer, uint32_t epoch)
{
    uint64_t old = atomic_load_explicit(&b->control[way], memory_order_relaxed);
    uint32_t sequence = (uint32_t)old;
    if (old & 1) {
        if ((uint32_t)(old >> 40) == table_epoch(t, (uint8_t)(old >> 32)))
            return 0;
        sequence += 1; /* the dead writer's odd number is passed over, so no reader can take old for new */
    }
    uint64_t mine = (uint64_t)(epoch & 0xffffff) << 40 | (uint64_t)writer << 32 | (uint32_t)(sequence + 1);
    if (!atomic_compare_exchange_strong_explicit(&b->control[way], &old, mine, memory_order_acquire, memory_order_relaxed))
        return 0;
    atomic_thread_fence(memory_order_release); /* the odd word is seen before any octet that is written under it */
    return mine;
}

/* The even word that ends a claim; never 0, which means never used. By CAS: should the claim have been stolen all the same, the
 * slot is the thief's. */
static void publish(struct bucket *b, int way, uint64_t mine)
{
    uint32_t sequence = (uint32_t)mine + 1;
    uint64_t whole = (mine & ~0xffffffffull) | (sequence ? sequence : 2);
    atomic_compare_exchange_strong_explicit(&b->control[way], &mine, whole, memory_order_release, memory_order_relaxed);
}

/* Is the slot's entry of no further use? Read without the sequence check: a guess that only steers eviction. */
static int useless(const struct table *t, const struct bucket *b, int way, const uint8_t *slot, uint64_t now)
{
    struct entry e;
    uint64_t word = atomic_load_explicit(&b->control[way], memory_order_relaxed);
    if (word == 0)
        return 1;
    if (word & 1)
        return (uint32_t)(word >> 40) != table_epoch(t, (uint8_t)(word >> 32));
    memcpy(&e, slot, sizeof e);
    return e.stale_until <= now || e.inserted <= atomic_load_explicit(&t->header->flushed, memory_order_relaxed);
}

static int same_key(const struct bucket *b, int way, const uint8_t *slot, const uint8_t *blob, uint32_t tag)
{
    struct entry have, want;
    memcpy(&want, blob, sizeof want);
    if (atomic_load_explicit(&b->tag[way], memory_order_relaxed) != tag)
        return 0;
    memcpy(&have, slot, sizeof have);
    return have.zone_tag == want.zone_tag && have.question_len == want.question_len && have.key_flags == want.key_flags &&
           memcmp(slot + sizeof have + WIRE_HEADER, blob + sizeof want + WIRE_HEADER, want.question_len) == 0;
}

/* The way a new entry takes inside its share: the same key, else a useless one, else the first unreferenced from the hand on. */
static int choose(const struct table *t, struct bucket *b, int class, uint32_t index, const uint8_t *blob, uint64_t hash, uint64_t now,
                  int *evicted)
{
    const struct entry *e = (const struct entry *)(const void *)blob;
    int denial = e->kind != KIND_SUCCESS, from = denial ? TABLE_SUCCESS_WAYS : 0, to = denial ? TABLE_WAYS : TABLE_SUCCESS_WAYS;
    int spare = -1;
    for (int way = from; way < to; way++) {
        const uint8_t *slot = slot_at(t, class, index, way);
        if (same_key(b, way, slot, blob, tag_of(hash)))
            return way;
        if (spare < 0 && useless(t, b, way, slot, now))
            spare = way;
    }
    if (spare >= 0)
        return spare;
    *evicted = 1;
    int hand = from + atomic_load_explicit(&b->hand[denial], memory_order_relaxed) % (to - from);
    for (int i = 0; i < to - from && atomic_load_explicit(&b->referenced[hand], memory_order_relaxed); i++) {
        atomic_store_explicit(&b->referenced[hand], 0, memory_order_relaxed);
        hand = hand + 1 == to ? from : hand + 1;
    }
    atomic_store_explicit(&b->hand[denial], (uint8_t)(hand - from + 1), memory_order_relaxed);
    return hand;
}

/* Takes away other entries of the key: the answer that was small, the denial that is none any more. */
static void drop_others(struct table *t, const uint8_t *blob, uint64_t hash, const uint8_t *kept, uint8_t writer, uint32_t epoch)
{
    for (int c = SMALL; c <= LARGE; c++) {
        uint32_t index = bucket_of(t, c, hash);
        struct bucket *b = &t->heads[c][index];
        for (int way = 0; way < TABLE_WAYS; way++) {
            uint8_t *slot = slot_at(t, c, index, way);
            if (slot == kept || !same_key(b, way, slot, blob, tag_of(hash)))
                continue;
            uint64_t mine = claim(t, b, way, writer, epoch);
            if (!mine)
                continue;
            /* Whatever it holds by now goes: a dead writer's half is worth nothing, and a cache may forget. */
            atomic_store_explicit(&b->tag[way], 0, memory_order_relaxed);
            memset(slot, 0, sizeof(struct entry));
            publish(b, way, mine);
        }
    }
}

enum put table_put(struct table *t, const uint8_t *blob, size_t len, uint8_t writer, uint32_t epoch, uint64_t now, int *evicted)
{
    struct entry e;
    memcpy(&e, blob, sizeof e);
    *evicted = 0;
    if (len > TABLE_LARGE)
        return PUT_TOO_BIG;
    if (e.expires <= now)
        return PUT_DEAD;
    int class = len > TABLE_SMALL;
    uint32_t index = bucket_of(t, class, e.hash);
    struct bucket *b = &t->heads[class][index];
    int way = choose(t, b, class, index, blob, e.hash, now, evicted);
    uint64_t mine = claim(t, b, way, writer, epoch);
    if (!mine)
        return PUT_LOST;
    uint8_t *slot = slot_at(t, class, index, way);
    memcpy(slot, blob, len);
    atomic_store_explicit(&b->tag[way], tag_of(e.hash), memory_order_relaxed);
    atomic_store_explicit(&b->referenced[way], 0, memory_order_relaxed);
    atomic_store_explicit(&b->hits[way], 0, memory_order_relaxed);
    publish(b, way, mine);
    if (e.kind != KIND_FAILURE)
        drop_others(t, blob, e.hash, slot, writer, epoch);
    return PUT_STORED;
}
