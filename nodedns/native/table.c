/* table.c: the shared cache: layout and readers. table.h is the manual, table_put.c has the writers. */
#include "table_layout.h"

static const char MAGIC[8] = "nodedns";

/* Anything a reader relies on: another build with other numbers must not read this file. The last factor is the version. */
static uint64_t layout_hash(void)
{
    const uint64_t numbers[] = {TABLE_WAYS, TABLE_SUCCESS_WAYS, TABLE_SMALL, TABLE_LARGE, TABLE_LARGE_SHARE, TABLE_HEADER,
                                sizeof(struct entry), sizeof(struct bucket), WIRE_HEADER, TABLE_FIXED, 2};
    return wire_hash((const uint8_t *)numbers, sizeof numbers, 0);
}

static void sizes(uint64_t size, uint32_t buckets[2])
{
    uint64_t room = size - TABLE_FIXED, large = room / TABLE_LARGE_SHARE;
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
    t->marks = (_Atomic uint64_t *)(void *)at;
    t->limits = t->marks + TABLE_MARKS;
}

uint64_t table_slots(const struct table *t) { return TABLE_WAYS * ((uint64_t)t->buckets[SMALL] + t->buckets[LARGE]); }

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

static uint8_t note_hit(struct bucket *b, int way)
{
    if (!atomic_load_explicit(&b->referenced[way], memory_order_relaxed))
        atomic_store_explicit(&b->referenced[way], 1, memory_order_relaxed);
    uint8_t hits = atomic_load_explicit(&b->hits[way], memory_order_relaxed);
    if (hits != 255)
        atomic_store_explicit(&b->hits[way], ++hits, memory_order_relaxed);
    return hits;
}

void table_prefetch(const struct table *t, uint64_t hash)
{
    const struct bucket *b = &t->heads[SMALL][bucket_of(t, SMALL, hash)];
    __builtin_prefetch(b->tag);
    __builtin_prefetch(b->control);
    __builtin_prefetch(&b->control[8]);
    __builtin_prefetch(b->referenced);
}

void table_prefetch_slot(const struct table *t, uint64_t hash)
{
    uint32_t index = bucket_of(t, SMALL, hash), tag = tag_of(hash);
    const struct bucket *b = &t->heads[SMALL][index];
    for (int way = 0; way < TABLE_WAYS; way++)
        if (atomic_load_explicit(&b->tag[way], memory_order_relaxed) == tag) {
            const uint8_t *slot = slot_at(t, SMALL, index, way);
            for (int line = 0; line < 4; line++) /* header, question, an answer or two */
                __builtin_prefetch(slot + 64 * line);
            return;
        }
}

/* The entry of `key` for which `fit` holds at `now`; inline, so that a hit has no call through a pointer. */
static inline size_t find(const struct table *t, const uint8_t *key, size_t key_len, uint64_t hash, uint64_t now,
                   int (*fit)(const struct entry *, uint64_t), uint8_t *out)
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
            if (len && key_equals(out, key, key_len) && fit(e, now) && e->inserted > flushed && own_row(t, out)) {
                ((struct entry *)(void *)out)->hits = note_hit(b, way);
                return len;
            }
        }
    }
    return 0;
}

static int is_live(const struct entry *e, uint64_t now) { return e->expires > now; }

static int is_usable(const struct entry *e, uint64_t now) { return e->stale_until > now && e->kind != KIND_FAILURE; }

size_t table_get(const struct table *t, const uint8_t *key, size_t key_len, uint64_t hash, uint64_t now, uint8_t *out)
{
    return find(t, key, key_len, hash, now, is_live, out);
}

size_t table_get_stale(const struct table *t, const uint8_t *key, size_t key_len, uint64_t hash, uint64_t now, uint8_t *out)
{
    return find(t, key, key_len, hash, now, is_usable, out);
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
    size_t len = copy_out(&t->heads[class][bucket], way, slot_at(t, class, bucket, way), SLOT_SIZE[class], out);
    return ((const struct entry *)(const void *)out)->wire_len ? len : 0; /* 0: wiped */
}
