/* serve.c: the hit loop. See serve.h, slot.h. */
#include "serve.h"
#include "bytes.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS = 8,       /* full batches from one socket before the others get their turn */
    PREFETCH_MS = 5000, /* a refresh that fails leaves its mark: the servers are not asked again for so long (RFC 9520) */
    NS_PER_S = 1000000000,
    NS_PER_MS = 1000000,
    SLICE_NS = 100000 /* the least the kernel takes; a batch of hits is done in less */
};

static uint64_t clock_ns(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_boottime_ns(void) { return clock_ns(CLOCK_BOOTTIME); }
uint64_t clock_boottime_ms(void) { return clock_ns(CLOCK_BOOTTIME) / NS_PER_MS; }
uint64_t clock_monotonic_ms(void) { return clock_ns(CLOCK_MONOTONIC) / NS_PER_MS; }

/* A record for a question, which is not in the ring yet; -1 when all are in use. */
static int64_t take_record(struct server *s, unsigned sock, const struct client *client)
{
    if (s->spares == 0)
        while (s->spares < MISSES && ring_take(&s->freed, &s->spare[s->spares]))
            s->spares++;
    if (s->spares == 0)
        return -1;
    uint32_t ref = s->spare[--s->spares];
    struct miss *m = &s->page->miss[ref];
    m->sock = (uint16_t)sock;
    m->taken = s->now_ns;
    memcpy(&m->client, client, offsetof(struct client, question) + client->question_len);
    return ref;
}

/* Files a query that has to be asked for; 0 when too many are. */
static int file_miss(struct server *s, unsigned sock, uint32_t i, const struct client *client)
{
    int64_t taken = take_record(s, sock, client);
    if (taken < 0)
        return 0;
    uint32_t ref = (uint32_t)taken;
    struct miss *m = &s->page->miss[ref];
    m->from = s->page->from[i];
    m->length = (uint16_t)s->page->received[i].msg_len;
    atomic_store_explicit(&m->state, MISS_TAKEN, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* taken over before it is let go */
    s->page->received[i].msg_len = 0;
    ring_put(&s->pending, ref);
    return 1;
}

/* Has the entry asked for again when it is popular and near its end: once, whichever worker it is hit in (marks). 1 if so. */
static int prefetch(struct server *s, const struct question *q, const struct entry *e, unsigned row)
{
    const struct zone *z = &s->zone[e->zone < MAX_ZONES ? e->zone : 0];
    if (!z->prefetch_hits || e->hits < z->prefetch_hits || (e->expires - s->now) * 100 > (e->expires - e->inserted) * z->prefetch_percent)
        return 0;
    if (table_mark(&s->table, q->hash, s->writer, s->epoch, s->now, PREFETCH_MS) != MARK_NEW)
        return 0;
    int64_t ref = take_record(s, NO_SOCKET, &q->client);
    if (ref < 0)
        return 0;
    atomic_store_explicit(&s->page->miss[ref].state, MISS_TAKEN, memory_order_release);
    ring_put(&s->pending, (uint32_t)ref);
    counter_add(s->block[LANE_HIT], C_prefetched, 1);
    if (row < ROWS)
        counter_add(s->block[LANE_HIT], ROW_AT(row, prefetched), 1);
    return 1;
}

static void queue_error(struct server *s, uint32_t i, enum verdict verdict, uint16_t ede, enum counter counter)
{
    struct lane *lane = &s->page->lane[LANE_HIT];
    const struct client *client = &s->question[i].client;
    uint8_t *data = lane->data[lane->count];
    size_t len = wire_error(verdict, client, ede, data);
    struct note note = note_error(s, s->page->received_sock, data, client, counter, s->page->received[i].msg_len);
    lane_queue(lane, len, &s->page->from[i], i, note);
}

/* Deals with received[i], read into question[i]: an answer queued, a miss filed, or silence. Returns 1 for a miss. */
static int deal(struct server *s, unsigned sock, uint32_t i)
{
    struct slot_page *page = s->page;
    struct lane *lane = &page->lane[LANE_HIT];
    struct question *q = &s->question[i];
    uint8_t address[16];
    if (q->verdict == QUERY_DROP) {
        counter_add(s->block[LANE_HIT], C_silent, 1);
        page->received[i].msg_len = 0;
        return 0;
    }
    if (s->acls || s->rate) { /* before the cache: a client that may not ask must not learn what others asked */
        address_of(&page->from[i], address);
        if (!server_allows(s, address)) {
            queue_error(s, i, QUERY_REFUSED, EDE_PROHIBITED, C_denied);
            return 0;
        }
        if (!server_limits(s, address, s->now)) { /* silence: the address may be a victim's (RFC 5358) */
            counter_add(s->block[LANE_HIT], C_limited, 1);
            page->received[i].msg_len = 0;
            return 0;
        }
    }
    if (q->verdict != QUERY_OK) {
        queue_error(s, i, q->verdict, WIRE_NO_EDE, VERDICT_COUNTER[q->verdict]);
        return 0;
    }
    if (server_get(s, q, s->now, s->entry)) {
        size_t len = wire_render(s->entry, &q->client, s->now, q->client.udp_size, lane->data[lane->count]);
        const struct entry *e = (const struct entry *)(const void *)s->entry;
        struct note note = note_entry(s, sock, e, &q->client, page->received[i].msg_len);
        lane_queue(lane, len, &page->from[i], i, note);
        return prefetch(s, q, e, note.row);
    }
    if (file_miss(s, sock, i, &q->client))
        return 1;
    queue_error(s, i, QUERY_REFUSED, EDE_NOT_READY, C_ring_full);
    return 0;
}

/* Answers received[0..n), those with a length: all are read, then all looked for, so that memory is waited for once. */
static void batch(struct server *s, unsigned sock, uint32_t n)
{
    struct slot_page *page = s->page;
    int misses = 0;
    s->now_ns = page->lane[LANE_HIT].since = clock_boottime_ns();
    s->now = s->now_ns / NS_PER_MS;
    for (uint32_t i = 0; i < n; i++)
        if (page->received[i].msg_len)
            server_read(s, page->query[i], page->received[i].msg_len, 0, &s->question[i]);
    for (uint32_t i = 0; i < n; i++)
        if (page->received[i].msg_len && s->question[i].verdict == QUERY_OK)
            table_prefetch_slot(&s->table, s->question[i].hash);
    for (uint32_t i = 0; i < n; i++)
        if (page->received[i].msg_len)
            misses |= deal(s, sock, i);
    if (page->lane[LANE_HIT].count)
        lane_send(s, LANE_HIT, s->socket[sock]);
    for (uint32_t i = 0; i < n; i++)
        page->received[i].msg_hdr.msg_namelen = sizeof *page->from;
    if (misses)
        eventfd_write(s->wake, 1);
}

static void receive(struct server *s, unsigned sock)
{
    struct slot_page *page = s->page;
    page->received_sock = sock;
    atomic_signal_fence(memory_order_seq_cst);
    for (int round = 0; round < ROUNDS; round++) {
        int n = recvmmsg(s->socket[sock], page->received, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return;
        counter_add(s->block[LANE_HIT], (unsigned)(n > 1 ? C_batch_2 + 31 - __builtin_clz((unsigned)n - 1) : C_batch_1), 1);
        counter_add(s->block[LANE_HIT], C_received, (uint64_t)n);
        batch(s, sock, (uint32_t)n);
        if (n < BATCH)
            return;
    }
}

static void open_received(struct slot_page *page)
{
    for (int i = 0; i < BATCH; i++) {
        unsigned length = page->received[i].msg_len;
        page->received[i] = (struct mmsghdr){.msg_len = length <= QUERY_MAX ? length : 0};
        page->iov[i] = (struct iovec){page->query[i], QUERY_MAX};
        page->received[i].msg_hdr = (struct msghdr){.msg_name = &page->from[i], .msg_namelen = sizeof *page->from,
                                                    .msg_iov = &page->iov[i], .msg_iovlen = 1};
    }
}

/* This build's page for these sockets: a query must not be answered from another address than it came to. A journal's items are
 * counters by index, so the names count, in their order. */
static uint64_t slot_layout(const struct server *s)
{
#define NAMED(name, ...) #name " "
    static const char counters[] = COUNTERS(NAMED) ROW_FIELDS(NAMED) UPSTREAM_FIELDS(NAMED);
#undef NAMED
    uint64_t h = wire_hash((const uint8_t *)"slot2", 5, sizeof(struct slot_page));
    h = wire_hash((const uint8_t *)counters, sizeof counters, wire_hash((const uint8_t *)&(uint64_t){COUNTER_VALUES}, sizeof(uint64_t), h));
    for (unsigned i = 0; i < s->sockets; i++) {
        struct sockaddr_in6 name = {0};
        socklen_t len = sizeof name;
        getsockname(s->socket[i], (struct sockaddr *)&name, &len);
        h = wire_hash((const uint8_t *)&name, len < sizeof name ? len : sizeof name, h);
    }
    return h;
}

int server_open(struct server *s)
{
    struct slot_page *page = s->page;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = SOCKETS_MAX};
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->stop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->epoll < 0 || s->wake < 0 || s->stop < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->stop, &e) < 0)
        return -1;
    for (e.data.u32 = 0; e.data.u32 < s->sockets; e.data.u32++)
        if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->socket[e.data.u32], &e) < 0)
            return -1;
    uint64_t layout = slot_layout(s);
    if (page->layout == layout) {
        lane_recover(s, LANE_HIT);
        lane_recover(s, LANE_MISS);
    } else {
        memset(page, 0, sizeof *page);
        page->layout = layout;
    }
    lane_open(&page->lane[LANE_HIT]);
    lane_open(&page->lane[LANE_MISS]);
    open_received(page);
    atomic_store(&s->freed.tail, atomic_load(&s->freed.head)); /* recovery freed some: they are found below */
    for (uint32_t i = MISSES; i-- > 0;) /* backwards: low records end on top of the stack */
        if (atomic_load(&page->miss[i].state) == MISS_TAKEN && page->miss[i].sock < s->sockets && page->miss[i].client.question_len >= 5)
            ring_put(&s->pending, i);
        else {
            atomic_store(&page->miss[i].state, MISS_FREE);
            s->spare[s->spares++] = i;
        }
    uint32_t left = atomic_load(&s->pending.head);
    counter_add(s->block[LANE_HIT], C_replayed, left);
    return left ? eventfd_write(s->wake, 1) : 0;
}

void server_close(struct server *s)
{
    int fds[] = {s->epoll, s->wake, s->stop};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Answers what a predecessor had received, unless that is what ends workers. */
static void replay(struct server *s)
{
    struct slot_page *page = s->page;
    if (page->received_sock >= s->sockets)
        return;
    if (page->replays >= REPLAYS) {
        counter_add(s->block[LANE_HIT], C_given_up, 1);
        for (int i = 0; i < BATCH; i++)
            page->received[i].msg_len = 0;
    }
    page->replays++;
    atomic_signal_fence(memory_order_seq_cst);
    batch(s, page->received_sock, BATCH);
    atomic_signal_fence(memory_order_seq_cst);
    page->replays = 0;
}

/* A short slice (sched_setattr(2), kernel 6.12 and later; without effect before): the scheduler then lets this thread take the CPU
 * from the miss loop when a query comes, instead of at the end of the miss loop's slice of some 3 ms. */
static void ask_for_short_slice(void)
{
    struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; } attr = {0};
    attr.size = sizeof attr;
    attr.runtime = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attr, 0);
}

int server_run(struct server *s)
{
    sigset_t all;
    sigfillset(&all); /* signals are the miss loop's */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    ask_for_short_slice();
    replay(s);
    for (;;) {
        struct epoll_event ready[SOCKETS_MAX + 1];
        atomic_store_explicit(&s->block[LANE_HIT]->beat, clock_monotonic_ms(), memory_order_relaxed);
        int n = epoll_wait(s->epoll, ready, SOCKETS_MAX + 1, LIVELINESS_MS);
        if (n < 0 && errno != EINTR)
            return -1;
        for (int i = 0; i < n; i++) {
            if (ready[i].data.u32 == SOCKETS_MAX)
                return 0;
            receive(s, ready[i].data.u32);
        }
    }
}
