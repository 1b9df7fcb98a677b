/* slot.h: one worker slot's shared page, /run/nodedns/slots[number]. It outlives the worker: what was taken from a socket and not yet
 * answered stands here, so that the next worker in this slot answers it. A duplicate answer is harmless, a lost query is not.
 *
 * Two lanes send answers, the hit thread's and the miss loop's; each has one writer.
 *   received[i]     head.msg_len > 0: the kernel filled it, it is not dealt with. The kernel itself writes msg_len, so a worker killed
 *                   right behind recvmmsg() has lost nothing. 0: free.
 *   lane.head[k]    msg_len > 0: the kernel has sent it and it is not counted yet, again written by the kernel. 0: not sent.
 *   miss[r].state   MISS_TAKEN: a query waits for its answer. It is copied here before its received[i] is freed.
 * Walk of a hit:  recvmmsg -> received[i] -> answer rendered into lane.data[k], lane.ref[k] = i -> sendmmsg sets lane.head[k].msg_len ->
 *                 journal armed: counters stored, received[i] freed, lane.head[k] freed -> journal closed.
 * A new worker:   an armed journal is stored again; what was sent is counted and freed; what was received and not sent is answered;
 *                 what waits in miss[] is asked again. A batch whose replay died twice is dropped and counted: a query that
 *                 crashes a worker must not crash every successor.
 * The iovecs and headers hold addresses of a mapping, so a new worker writes them anew; only msg_len is read from before. */
#ifndef NODEDNS_SLOT_H
#define NODEDNS_SLOT_H
#include "counters.h"
#include "wire.h"
#include <netinet/in.h>
#include <sys/socket.h>

enum {
    BATCH = 64,            /* beyond this the cost per datagram no longer falls (dnsdist, kresd and our echo use the same) */
    QUERY_MAX = 2048,      /* a padded query with cookies stays below 600; what is longer is cut and answered FORMERR */
    MISSES = 8192,         /* pending queries a worker: at 4.5 s each, 1,800/s of queries that no upstream answers; 2.6 MiB */
    REPLAYS = 2,           /* a batch that two workers in a row died on is given up: it may be what kills them */
    MISS_FREE = 0,
    MISS_TAKEN = 1,
    NO_SOCKET = 0xffff     /* nobody waits: an entry is to be had again before its end */
};

struct lane {
    uint32_t count;
    uint64_t since;        /* ns of CLOCK_BOOTTIME: when the batch in hand was received */
    uint32_t ref[BATCH];   /* index into received[] or miss[] */
    struct note note[BATCH];
    struct mmsghdr head[BATCH];
    struct iovec iov[BATCH];
    struct journal journal;
    uint8_t data[BATCH][WIRE_UDP_MAX + 48]; /* + 48: a multiple of 64, so that no two answers share a cache line */
};

struct miss {
    _Atomic uint32_t state;
    uint32_t sock;      /* index of the socket it came by */
    uint64_t taken;     /* ns of CLOCK_BOOTTIME */
    uint16_t length;    /* of the query, octets */
    struct sockaddr_in6 from; /* or sockaddr_in */
    struct client client;
};

struct slot_page {
    uint64_t layout;        /* slot_layout(): of another build, or other sockets = nothing of use in it */
    uint32_t received_sock; /* where received[] came from */
    uint32_t replays;       /* times the batch in hand was taken over; back to 0 when it is dealt with */
    struct mmsghdr received[BATCH];
    struct iovec iov[BATCH];
    struct sockaddr_in6 from[BATCH];
    struct lane lane[2];    /* LANE_HIT, LANE_MISS */
    uint8_t query[BATCH][QUERY_MAX];
    struct miss miss[MISSES];
};
enum { LANE_HIT = 0, LANE_MISS = 1 };
#define SLOT_SIZE_BYTES ((sizeof(struct slot_page) + 4095) & ~(size_t)4095)
#endif
