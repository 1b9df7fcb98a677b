/* names.h: a message being written, names compressed against those already in it. Shared by names.c and entry.c. */
#ifndef NODEDNS_NAMES_H
#define NODEDNS_NAMES_H
#include "bytes.h"

enum {
    SUFFIXES = 384,     /* names remembered for compression: 4 labels each for the 80 names of a large answer */
    SUFFIX_SLOTS = 512, /* a power of two above SUFFIXES */
    POINTER_MAX = 0x4000
};

struct writer { /* zeroed but for out and end; out holds 65535 */
    uint8_t *out;
    size_t end;
    uint16_t suffix[SUFFIX_SLOTS]; /* open addressing: offsets in out of the name suffixes written so far, 0 = free */
    unsigned suffixes;
};

/* Appends an uncompressed name, as labels and a pointer where `compress` allows one. Its suffixes are remembered either way.
 * Returns 0 when uncompressed it would pass 65535. */
int put_name(struct writer *w, const uint8_t *name, size_t len, int compress);
/* Appends n octets. Returns 0 when the message would pass 65535. */
int put_octets(struct writer *w, const uint8_t *from, size_t n);
#endif
