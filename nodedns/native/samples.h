/* samples.h: /run/nodedns/samples and, where dnstap is on, /run/nodedns/wires: what was lately asked and answered, for whoever looks.
 *
 *     header (4096): every | slot 0: ring of the hit thread, ring of the miss loop | slot 1: ...
 *
 * A ring has one writer and any number of readers that nobody knows of, hence nobody waits: a reader that is too slow finds
 * newer records in place of those it wanted, and sees by their numbers how many it has missed.
 *
 * The hit thread leaves one record a batch, with the batch's size as its weight: with few queries each of them, with many one
 * in up to 64, and the price stays below one percent of a hit. The miss loop leaves each. `every` is set by the parent while
 * something is on that wants all of them (a query log): then weights are 1. */
#ifndef NODEDNS_SAMPLES_H
#define NODEDNS_SAMPLES_H
#include "counters.h"
#include "wire.h"
#include <netinet/in.h>

enum {
    SAMPLES = 512,           /* a ring's: a reader that looks ten times a second misses none below 5,000 a second and thread */
    SAMPLES_HEADER = 4096,
    SAMPLE_WIRE = WIRE_UDP_MAX /* an answer that is longer came over TCP, and is kept without its octets */
};

/* `sequence` is odd while the record is written, and 2 * (number + 1) behind it; numbers begin with 0. */
struct sample {
    _Atomic uint64_t sequence;
    uint64_t when;      /* ns of CLOCK_BOOTTIME: when it was answered */
    uint64_t duration;  /* ns since it came */
    uint32_t weight;    /* answers it stands for */
    uint16_t size;      /* octets of the answer */
    uint16_t wire_len;  /* octets of it in `wires`; 0: none */
    uint16_t id, bits;  /* the answer's first two words (RFC 1035 4.1.1) */
    uint16_t udp_size;  /* struct client's */
    struct note note;
    uint16_t port;
    uint8_t client[16]; /* address, v4 mapped */
    uint16_t question_len;
    uint8_t question[WIRE_QUESTION_MAX]; /* name as the client wrote it, type, class */
};

struct sample_ring {
    _Atomic uint64_t head; /* numbers below it were written */
    uint64_t pad[7];
    struct sample item[SAMPLES];
};
typedef uint8_t sample_wire[SAMPLE_WIRE];

/* One writer's. */
struct sampler {
    const _Atomic uint32_t *every;
    struct sample_ring *ring; /* NULL: nothing is kept */
    sample_wire *wire;        /* SAMPLES of them, or NULL */
    unsigned turn;            /* which of a batch is kept next */
};

size_t samples_size(unsigned slots);
size_t wires_size(unsigned slots);
_Atomic uint32_t *samples_every(void *base);
struct sample_ring *samples_ring(void *base, unsigned ring);
sample_wire *samples_wires(void *base, unsigned ring);
/* Leaves a record. `wire` is the answer of `size` octets, `client` 16 octets of address. */
void sample_put(struct sampler *s, const struct note *n, const struct client *c, const uint8_t *client, uint16_t port, const uint8_t *wire,
                size_t size, uint64_t now, uint64_t duration, uint32_t weight);
/* Copies record `number` into out, and its wire when both are given; 0: it is not there any more, or not yet. */
int sample_get(const struct sample_ring *ring, const sample_wire *wires, uint64_t number, struct sample *out, uint8_t *wire);
#endif
