/* table.h: the shared cache, and its manual.
 *
 * One flat file on tmpfs, mapped by every worker, without pointers, readable by fixed offsets (an in-kernel reader of the same
 * slots is planned). It outlives every process.
 *
 *     header (4096) | small buckets' heads | large buckets' heads | small slots (512 B each) | large slots (16 KiB each) | marks | limits
 *
 * A bucket is 16 ways: ways 0-9 hold answers, 10-15 denials and failures, so a flood of NXDOMAINs cannot push answers out. Its
 * head is four cache lines: two of control words, one of tags, one of the rest. A slot holds one entry (wire.h). Sixteen, because
 * names fall on buckets by chance: 20,000 names in 32 MiB overflowed 8 % of them with 5 + 3 ways, and below 1 % with 10 + 6.
 *
 * THE CONTROL WORD of a slot is one 64-bit atomic: sequence (32 bits, odd = being written) | writer's slot number (8) | epoch (24).
 *   who            may do                                             how
 *   reader         copy a slot out                                    read word; odd = miss; copy; read again; changed = miss. Never
 *                                                                     spins, never waits, writes only the reference bit and hit count.
 *   writer         claim a slot                                       CAS even word -> odd with its own number and epoch. Lost = not stored:
 *                                                                     a cache may forget.
 *   writer         steal a claim                                      CAS, when the claimant's epoch is not the current epoch of its slot
 *                                                                     number: the parent raises it only after reaping, so the claimant is dead.
 *   writer         publish                                            store odd + 1, release
 *   parent         raise an epoch                                     after waitpid() of that worker and before the next fork
 * Any process may be killed at any instruction: a claimed slot is then unreadable (a miss) until the next writer that wants
 * this bucket steals it. Nobody scans.
 *
 * Worked example, a writer killed between claim and publish: word = {seq 7, slot 2, epoch 5}. Readers see odd: miss. The parent reaps
 * worker 2, sets epochs[2] = 6. The next writer that picks this way sees 5 != 6 and replaces the word by {seq 9, own slot, own epoch}
 * (still odd), fills, and publishes seq 10.
 *
 * MARKS say which worker asks for a key just now, so that the others wait for its entry instead of asking too. A mark is lossy: two keys
 * that fall on one place do not join, and nobody waits beyond its deadline or for a dead owner. It is taken away right after the entry
 * was stored; who finds it gone and no entry was told "done, not stored" and asks for itself. LIMITS are clients' accounts.
 *
 * Eviction inside the share of a bucket: the same key first, then never used, dead, claimed by a dead writer, then CLOCK over the
 * reference bits. The memcpy of a slot under the sequence check is a data race in C11's words; the re-check discards what it may
 * have torn, and tests/native/stress.c shows that the check is needed and is enough. */
#ifndef NODEDNS_TABLE_H
#define NODEDNS_TABLE_H
#include "wire.h"
#include <stdatomic.h>

enum {
    TABLE_WAYS = 16,
    TABLE_SUCCESS_WAYS = 10,
    TABLE_SMALL = 512,       /* a cluster name's answer is 150-350 bytes with its header */
    TABLE_LARGE = 16384,     /* a 500-endpoint headless Service: 8 KiB of A records, 1 KiB of TTL offsets */
    TABLE_LARGE_SHARE = 4,   /* one byte in four goes to the large class */
    TABLE_WRITERS = 256,     /* slot numbers fit the control word's 8 bits */
    TABLE_TAGS = 64,         /* zones a configuration may have */
    TABLE_MARKS = 8192,      /* all workers' questions in flight to slow upstreams are some hundreds; 64 KiB */
    TABLE_LIMITS = 4096,     /* a node has some hundred pods; 32 KiB */
    TABLE_HEADER = 4096,
    TABLE_FIXED = TABLE_HEADER + 8 * (TABLE_MARKS + TABLE_LIMITS)
};

struct table_header { /* written once by the formatter, except epochs and flushed */
    char magic[8];         /* "nodedns" */
    uint64_t layout;       /* hash of every number a reader relies on */
    uint64_t size;
    uint64_t seed;         /* secret of wire_hash: random per file */
    uint32_t buckets[2];   /* small, large: index = low half of the hash x count >> 32 */
    _Atomic uint64_t flushed; /* ms of CLOCK_BOOTTIME: entries inserted at or before it are dead */
    uint8_t pad[4096 - 48 - 4 * TABLE_WRITERS];
    _Atomic uint32_t epochs[TABLE_WRITERS];
};
_Static_assert(sizeof(struct table_header) == TABLE_HEADER, "the header is one page");

struct bucket {
    _Atomic uint64_t control[TABLE_WAYS];
    _Atomic uint32_t tag[TABLE_WAYS];      /* high half of the hash: a hint, the key is compared in full */
    _Atomic uint8_t referenced[TABLE_WAYS];
    _Atomic uint8_t hits[TABLE_WAYS];      /* saturates at 255, so a hot entry's line is soon only read */
    _Atomic uint8_t hand[2];               /* CLOCK hands: answers, denials */
    uint8_t pad[30];
};
_Static_assert(sizeof(struct bucket) == 256, "four cache lines");

struct table { /* one process's view */
    uint8_t *base;
    struct table_header *header;
    uint32_t buckets[2];   /* from the configured size, never from the header: a worker may have written there */
    struct bucket *heads[2];
    uint8_t *slots[2];
    _Atomic uint64_t *marks, *limits;
    uint64_t seed;
    uint32_t tag[TABLE_TAGS]; /* what this process serves: zone tags by row */
    unsigned tags;            /* 0: any entry will do (the CLI) */
};

enum mark {
    MARK_NEW,  /* now ours */
    MARK_OWN,  /* ours already */
    MARK_OTHER,/* a live worker's: wait for its entry */
    MARK_NONE  /* its place is in use for another key */
};

enum put {
    PUT_STORED,
    PUT_LOST,    /* another writer holds the slot */
    PUT_TOO_BIG, /* longer than a large slot */
    PUT_DEAD     /* its life is over: a TTL of 0 */
};

/* Lays out a zeroed file of `size` bytes. Call under an exclusive lock. */
void table_format(void *base, uint64_t size, uint64_t seed);
/* NULL when the file is what this build and `size` expect, else the reason in words. */
const char *table_check(const void *base, uint64_t size);
/* A view of a checked mapping. */
void table_open(struct table *t, void *base, uint64_t size);
/* Two hints for a batch, each to be given to all its keys before the next step: fetch the bucket's head; then, tags at hand, the
 * slot that may match. A hit of a cold name waits for memory some seven times in a row otherwise. */
void table_prefetch(const struct table *t, uint64_t hash);
void table_prefetch_slot(const struct table *t, uint64_t hash);
/* Copies the live entry of `key` made under one of t->tag into out (TABLE_LARGE bytes), its zone = the row of that tag here.
 * Returns its length, 0 = miss. Entries of one key and different tags live side by side: while a reload goes from worker to
 * worker, old and new must not take each other's entries away. */
size_t table_get(const struct table *t, const uint8_t *key, size_t key_len, uint64_t hash, uint64_t now, uint8_t *out);
/* The same for an answer or a denial that may be given although it has expired (RFC 8767); a live one will do, too. */
size_t table_get_stale(const struct table *t, const uint8_t *key, size_t key_len, uint64_t hash, uint64_t now, uint8_t *out);
/* Stores an entry made by entry.c. *evicted becomes 1 when a live entry of another key had to go. */
enum put table_put(struct table *t, const uint8_t *blob, size_t len, uint8_t writer, uint32_t epoch, uint64_t now, int *evicted);
/* Copies slot number `index` (0 .. table_slots()-1) into out; 0 = empty, being written, or damaged. *hits gets its hit count. */
size_t table_read(const struct table *t, uint64_t index, uint8_t *out, unsigned *hits);
uint64_t table_slots(const struct table *t);
/* --- marks.c --- */
/* Marks a key as asked for by `writer` for the next `ms`. */
enum mark table_mark(struct table *t, uint64_t hash, uint8_t writer, uint32_t epoch, uint64_t now, uint64_t ms);
/* Does another live worker ask for it? */
int table_marked(const struct table *t, uint64_t hash, uint8_t writer, uint64_t now);
/* Takes the writer's own mark away; after the entry is stored. */
void table_unmark(struct table *t, uint64_t hash, uint8_t writer);
/* May the client at `address` (16 octets) ask now, at `rate` queries a second with a second's worth at once? */
int table_limit(struct table *t, const uint8_t *address, uint32_t rate, uint64_t now);
/* --- table_put.c --- */
uint32_t table_epoch(const struct table *t, uint8_t writer);
void table_raise_epoch(struct table *t, uint8_t writer);
void table_flush(struct table *t, uint64_t now);
#endif
