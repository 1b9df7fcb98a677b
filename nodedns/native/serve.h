/* serve.h: a worker's two loops over its sockets. serve.c is the hit loop, which runs without Python; miss.c is the other half,
 * called by the miss loop. They share: a ring of pending queries (hit -> miss), a ring of free ones (miss -> hit), the page. */
#ifndef NODEDNS_SERVE_H
#define NODEDNS_SERVE_H
#include "samples.h"
#include "slot.h"
#include "table.h"

enum {
    SOCKETS_MAX = 16,  /* listen addresses */
    ACL_MAX = 64,
    LIVELINESS_MS = 250, /* the hit loop wakes this often to beat: four times in the second after which it counts as hung */
    EDE_PROHIBITED = 18, /* RFC 8914 4.19 */
    EDE_NOT_READY = 14
};

_Static_assert((int)MAX_ZONES == (int)TABLE_TAGS, "a row for each tag");

struct acl { uint8_t address[16]; unsigned bits; };
struct zone {
    uint8_t name[WIRE_NAME_MAX];
    uint16_t len;
    uint8_t prefetch_hits, prefetch_percent; /* a hit asks anew from so many hits on, in so much of an entry's life; 0: never */
};

/* A query as the cache takes it. */
struct question {
    enum verdict verdict;
    size_t key_len; /* set with QUERY_OK, as are key and hash */
    uint64_t hash;
    struct client client;
    uint8_t key[WIRE_KEY_MAX];
};

/* Single producer, single consumer. */
struct ring { _Atomic uint32_t head, tail; uint32_t item[MISSES]; };

struct server {
    struct table table;
    struct slot_page *page;
    struct counter_block *block[2]; /* by lane */
    struct staging staging[2];
    unsigned sockets, acls, zones, rate; /* rate: queries a second from one client, 0: any */
    uint32_t epoch; /* of this process as a writer of the table */
    uint8_t writer;
    int socket[SOCKETS_MAX];
    struct acl acl[ACL_MAX];
    struct zone zone[MAX_ZONES];
    uint16_t row[SOCKETS_MAX][MAX_ZONES + 1]; /* of the counters; the last is for what no zone took */
    struct sampler sampler[2];                /* by lane */
    int epoll, wake, stop; /* wake: to the miss loop; stop: to the hit loop */
    struct ring pending, freed;
    uint32_t spare[MISSES]; /* the hit loop's stack of free records: last freed first used, so few pages are touched */
    unsigned spares;
    uint64_t now, now_ns;   /* of the batch in hand */
    struct question question[BATCH];
    _Alignas(64) uint8_t entry[TABLE_LARGE]; /* the hit loop's copy */
    _Alignas(64) uint8_t late[TABLE_LARGE];  /* the miss loop's */
};

uint64_t clock_boottime_ms(void);
uint64_t clock_boottime_ns(void);
uint64_t clock_monotonic_ms(void);

/* --- serve.c --- */
/* Readies the page for this process: counts what a dead predecessor had sent, queues what it left pending. 0, or -1 with errno. */
int server_open(struct server *s);
void server_close(struct server *s);
/* The hit loop, until the stop eventfd is written. Returns 0, or -1 with errno when epoll fails. */
int server_run(struct server *s);
/* --- question.c --- */
/* May `address` (16 octets, v4 mapped) ask? An empty list lets everyone. */
int server_allows(const struct server *s, const uint8_t *address);
/* May it ask now, at its rate? Who speaks from loopback is of this node, and is never limited. */
int server_limits(struct server *s, const uint8_t *address, uint64_t now);
/* Row of the longest zone that holds the name; the root zone is always there. */
unsigned server_zone(const struct server *s, const uint8_t *key, size_t key_len);
void server_ask(const struct server *s, struct question *q); /* key and hash of q->client */
/* Live entry of the key made under the present configuration, into out (TABLE_LARGE, 8-aligned); 0 = miss. */
size_t server_get(const struct server *s, const struct question *q, uint64_t now, uint8_t *out);
/* Parses a packet, and when it asks something of the cache, makes key and hash and sends for the bucket. */
void server_read(const struct server *s, const uint8_t *packet, size_t len, int tcp, struct question *q);
/* Notes for a query of `request` octets that came by socket `sock`: answered from an entry, or with `data` and for `counter`. */
struct note note_entry(const struct server *s, unsigned sock, const struct entry *e, const struct client *c, size_t request);
struct note note_error(const struct server *s, unsigned sock, const uint8_t *data, const struct client *c, enum counter counter, size_t request);
/* 16 octets of address, v4 mapped. */
void address_of(const struct sockaddr_in6 *from, uint8_t *address);

/* What a parser's verdict counts as. */
extern const uint8_t VERDICT_COUNTER[];

/* --- stream.c --- */
enum { STREAM_MAX = 65535 };
struct peer { uint8_t address[16]; uint16_t port, sock; }; /* v4 mapped; the number of the address it came to */
struct stream_query { /* a TCP client's, while it waits; Python keeps it as octets */
    struct client client;
    struct peer peer;
    uint32_t request; /* octets */
    uint64_t taken;   /* ns of CLOCK_BOOTTIME */
};
/* A TCP client's message: 1 with *n octets of answer in out (STREAM_MAX; 0 = silence), or 0 for a miss, q and waits filled. */
int stream_answer(struct server *s, const uint8_t *p, size_t len, const struct peer *peer, struct question *q, struct stream_query *waits,
                  uint8_t *out, size_t *n);
/* A miss's answer for a TCP client, counted. */
size_t stream_render(struct server *s, const uint8_t *blob, const struct stream_query *q, uint8_t *out);

/* --- lane.c --- */
void lane_open(struct lane *lane);
/* Sends what is queued through fd, counts it and frees its refs. */
void lane_send(struct server *s, int which, int fd);
/* After a predecessor: counts and frees what the kernel had sent. */
void lane_recover(struct server *s, int which);
/* Queues data[count] of `len` octets. The caller has rendered into lane->data[lane->count]. */
void lane_queue(struct lane *lane, size_t len, void *to, uint32_t ref, struct note note);
/* Frees what a ref of a lane stands for. */
void lane_release(struct server *s, int which, uint32_t ref);
void ring_put(struct ring *r, uint32_t item);
int ring_take(struct ring *r, uint32_t *item);

/* --- miss.c --- */
/* Takes the next pending query the table cannot answer by now. Returns its ref, -1 when there is none; fills q's client, key and hash. */
int64_t miss_next(struct server *s, struct question *q, uint64_t *taken);
/* Queues the answer of a ref from an entry; sends when the lane is full. A ref that is not pending is ignored. */
void miss_answer(struct server *s, uint32_t ref, const uint8_t *entry, uint64_t now);
void miss_flush(struct server *s);
#endif
