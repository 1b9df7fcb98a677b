/* table_layout.h: where a hash leads in the table; for table.c and table_put.c alone. */
#ifndef NODEDNS_TABLE_LAYOUT_H
#define NODEDNS_TABLE_LAYOUT_H
#include "table.h"
#include <string.h>

enum { SMALL = 0, LARGE = 1 };
static const uint32_t SLOT_SIZE[2] = {TABLE_SMALL, TABLE_LARGE};

/* Which bucket: the low half of the hash scaled to the count; the high half is the tag, so the two are independent. */
static inline uint32_t bucket_of(const struct table *t, int class, uint64_t hash)
{
    return (uint32_t)((hash & 0xffffffffu) * t->buckets[class] >> 32);
}

static inline uint32_t tag_of(uint64_t hash) { return (uint32_t)(hash >> 32) | 1; } /* 0 = never used */

static inline uint8_t *slot_at(const struct table *t, int class, uint32_t bucket, int way)
{
    return t->slots[class] + ((uint64_t)bucket * TABLE_WAYS + (unsigned)way) * SLOT_SIZE[class];
}
#endif
