/* table.c: the shared cache. table.h is the manual. */
#include "table.h"
#include <string.h>

enum { SMALL = 0, LARGE = 1 };
static const uint32_t SLOT_SIZE[2] = {TABLE_SMALL, TABLE_LARGE};
static const char MAGIC[8] = "nodedns";

/* Anything a reader relies on: another build with other numbers must not read this file. The last factor is the version. */
static uint64_t layout_hash(void)
{
    const uint64_t numbers[] = {TABLE_WAYS, TABLE_SUCCESS_WAYS, TABLE_SMALL, TABLE_LARGE, TABLE_LARGE_SHARE, TABLE_HEADER,
                                sizeof(struct entry), sizeof(struct bucket), WIRE_HEADER, 1};
    return wire_hash((const uint8_t *)numbers, sizeof numbers, 0);
}

static void sizes(uint64_t size, uint32_t buckets[2])
{
    uint64_t room = size - TABLE_HEADER, large = room / TABLE_LARGE_SHARE;
    buckets[LARGE] = (uint32_t)(large / (sizeof(struct bucket) + (uint64_t)TABLE_WAYS * TABLE_LARGE));
    if (buckets[LARGE] == 0)
        buckets[LARGE] = 1;
    room -= buckets[LARGE] * (sizeof(struct bucket) + (uint64_t)TABLE_WAYS * TABLE_LARGE);
    buckets[SMALL] = (uint32_t)(room / (sizeof(struct bucket) + (uint64_t)TABLE_WAYS * TABLE_SMALL));
}

void table_format(void *base, uint64_t size, uint64_t seed)
{
    struct table_header *h = base;
    h->layout = layout_hash();
    h->size = size;
    h->seed = seed;
    sizes(size, h->buckets);
    for (int i = 0; i < TABLE_WRITERS; i++)
        atomic_store(&h->epochs[i], 1);
    atomic_thread_fence(memory_order_release);
    memcpy(h->magic, MAGIC, sizeof MAGIC); /* last: a formatter killed half-way leaves a file that no one accepts */
}

const char *table_check(const void *base, uint64_t size)
{
    const struct table_header *h = base;
    if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0)
        return "not a nodedns cache";
    if (h->layout != layout_hash())
        return "written by a build with another layout";
    return h->size == size ? NULL : "of another size";
}

void table_open(struct table *t, void *base, uint64_t size)
{
    sizes(size, t->buckets);
    t->base = base;
    t->header = base;
    t->seed = t->header->seed;
    uint8_t *at = t->base + TABLE_HEADER;
    for (int c = SMALL; c <= LARGE; c++) {
        t->heads[c] = (struct bucket *)at;
        at += t->buckets[c] * sizeof(struct bucket);
    }
    for (int c = SMALL; c <= LARGE; c++) {
        t->slots[c] = at;
        at += (uint64_t)t->buckets[c] * TABLE_WAYS * SLOT_SIZE[c];
    }
}

uint64_t table_slots(const struct table *t) { return TABLE_WAYS * ((uint64_t)t->buckets[SMALL] + t->buckets[LARGE]); }

/* Which bucket: the low half of the hash scaled to the count; the high half is the tag, so the two are independent. */
static uint32_t bucket_of(const struct table *t, int class, uint64_t hash)
{
    return (uint32_t)((hash & 0xffffffffu) * t->buckets[class] >> 32);
}

static uint32_t tag_of(uint64_t hash) { return (uint32_t)(hash >> 32) | 1; } /* 0 = never used */

static uint8_t *slot_at(const struct table *t, int class, uint32_t bucket, int way)
{
    return t->slots[class] + ((uint64_t)bucket * TABLE_WAYS + (unsigned)way) * SLOT_SIZE[class];
}

/* Copies a slot by the readers' rule. Returns the entry's length, 0 when it was being written or is not whole. */
static size_t copy_out(const struct bucket *b, int way, const uint8_t *slot, uint32_t cap, uint8_t *out)
{
    uint64_t before = atomic_load_explicit(&b->control[way], memory_order_acquire);
    if ((before & 1) || before == 0)
        return 0;
    struct entry e;
    memcpy(&e, slot, sizeof e);
    size_t len = ENTRY_LEN(&e);
    if (len > cap)
        return 0;
    memcpy(out, slot, len);
    atomic_thread_fence(memory_order_acquire);
#ifndef TABLE_NO_RECHECK /* the stress test's control run: proves that its detector sees torn entries */
    if (atomic_load_explicit(&b->control[way], memory_order_relaxed) != before)
        return 0;
    memcpy(&e, out, sizeof e); /* what was copied, not what was peeked at, must fit */
#endif
    return ENTRY_LEN(&e) == len ? len : 0;
}

/* Sets the entry's zone to the row its tag has in this process; 0 when it has none: another configuration made it. */
static int own_row(const struct table *t, uint8_t *blob)
{
    struct entry *e = (struct entry *)(void *)blob;
    if (t->tags == 0 || (e->zone < t->tags && t->tag[e->zone] == e->zone_tag))
        return 1;
    for (unsigned row = 0; row < t->tags; row++)
        if (t->tag[row] == e->zone_tag) {
            e->zone = (uint16_t)row;
            return 1;
        }
    return 0;
}

static int key_equals(const uint8_t *blob, const uint8_t *key, size_t key_len)
{
    struct entry e;
    memcpy(&e, blob, sizeof e);
    return e.question_len + 1u == key_len && e.key_flags == key[key_len - 1] &&
           memcmp(blob + sizeof e + WIRE_HEADER, key, key_len - 1) == 0;
}

static void note_hit(struct bucket *b, int way)
{
    if (!atomic_load_explicit(&b->referenced[way], memory_order_relaxed))
        atomic_store_explicit(&b->referenced[way], 1, memory_order_relaxed);
    uint8_t hits = atomic_load_explicit(&b->hits[way], memory_order_relaxed);
    if (hits != 255)
        atomic_store_explicit(&b->hits[way], (uint8_t)(hits + 1), memory_order_relaxed);
}

size_t table_get(const struct table *t, const uint8_t *key, size_t key_len, uint64_t hash, uint64_t now, uint8_t *out)
{
    uint64_t flushed = atomic_load_explicit(&t->header->flushed, memory_order_relaxed);
    uint32_t tag = tag_of(hash);
    for (int c = SMALL; c <= LARGE; c++) {
        uint32_t index = bucket_of(t, c, hash);
        struct bucket *b = &t->heads[c][index];
        for (int way = 0; way < TABLE_WAYS; way++) {
            if (atomic_load_explicit(&b->tag[way], memory_order_relaxed) != tag)
                continue;
            size_t len = copy_out(b, way, slot_at(t, c, index, way), SLOT_SIZE[c], out);
            const struct entry *e = (const struct entry *)(const void *)out;
            if (len && key_equals(out, key, key_len) && e->expires > now && e->inserted > flushed && own_row(t, out)) {
                note_hit(b, way);
                return len;
            }
        }
    }
    return 0;
}

size_t table_read(const struct table *t, uint64_t index, uint8_t *out, unsigned *hits)
{
    int class = index >= (uint64_t)t->buckets[SMALL] * TABLE_WAYS;
    if (class == LARGE)
        index -= (uint64_t)t->buckets[SMALL] * TABLE_WAYS;
    uint32_t bucket = (uint32_t)(index / TABLE_WAYS);
    int way = (int)(index % TABLE_WAYS);
    if (bucket >= t->buckets[class])
        return 0;
    *hits = atomic_load_explicit(&t->heads[class][bucket].hits[way], memory_order_relaxed);
    return copy_out(&t->heads[class][bucket], way, slot_at(t, class, bucket, way), SLOT_SIZE[class], out);
}

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
    return atomic_compare_exchange_strong_explicit(&b->control[way], &old, mine, memory_order_acquire, memory_order_relaxed) ? mine : 0;
}

/* The even word that ends a claim; never 0, which means never used. */
static void publish(struct bucket *b, int way, uint64_t mine)
{
    uint32_t sequence = (uint32_t)mine + 1;
    atomic_store_explicit(&b->control[way], (mine & ~0xffffffffull) | (sequence ? sequence : 2), memory_order_release);
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
            if (same_key(b, way, slot, blob, tag_of(hash))) { /* still, now that it is ours */
                atomic_store_explicit(&b->tag[way], 0, memory_order_relaxed);
                memset(slot, 0, sizeof(struct entry));
            }
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
    atomic_thread_fence(memory_order_release); /* the odd word is seen before any octet of the new entry */
    memcpy(slot, blob, len);
    atomic_store_explicit(&b->tag[way], tag_of(e.hash), memory_order_relaxed);
    atomic_store_explicit(&b->referenced[way], 0, memory_order_relaxed);
    atomic_store_explicit(&b->hits[way], 0, memory_order_relaxed);
    publish(b, way, mine);
    if (e.kind != KIND_FAILURE)
        drop_others(t, blob, e.hash, slot, writer, epoch);
    return PUT_STORED;
}
