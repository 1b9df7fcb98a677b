/* serve.c: the hit loop. See serve.h, slot.h. */
#include "serve.h"
#include "bytes.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 8 }; /* full batches from one socket before the others get their turn */

const uint8_t VERDICT_COUNTER[] = {[QUERY_DROP] = C_silent,     [QUERY_FORMERR] = C_formerr,  [QUERY_NOTIMP] = C_notimp,
                                          [QUERY_BADVERS] = C_badvers, [QUERY_REFUSED] = C_transfer, [QUERY_ANY] = C_any};

static uint64_t clock_ms(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t clock_boottime_ms(void) { return clock_ms(CLOCK_BOOTTIME); }
uint64_t clock_monotonic_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

int server_allows(const struct server *s, const uint8_t *address)
{
    for (unsigned i = 0; i < s->acls; i++) {
        unsigned bits = s->acl[i].bits, whole = bits / 8;
        if (memcmp(address, s->acl[i].address, whole) == 0 &&
            (bits % 8 == 0 || ((address[whole] ^ s->acl[i].address[whole]) & (0xff00 >> bits % 8) & 0xff) == 0))
            return 1;
    }
    return s->acls == 0;
}

static void address_of(const struct sockaddr_in6 *from, uint8_t *address)
{
    if (from->sin6_family == AF_INET6) {
        memcpy(address, &from->sin6_addr, 16);
        return;
    }
    memset(address, 0, 10);
    memset(address + 10, 0xff, 2);
    memcpy(address + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
}

unsigned server_zone(const struct server *s, const uint8_t *key, size_t key_len)
{
    size_t name = key_len - 5;
    for (size_t at = 0; at < name; at += 1 + (size_t)key[at])
        for (unsigned z = 0; z < s->zones; z++)
            if (s->zone[z].len == name - at && memcmp(s->zone[z].name, key + at, name - at) == 0)
                return z;
    return 0;
}

size_t server_get(const struct server *s, const uint8_t *key, size_t key_len, uint64_t now, uint8_t *out)
{
    size_t len = table_get(&s->table, key, key_len, wire_hash(key, key_len, s->table.seed), now, out);
    return len && wire_entry_ok(out, len) ? len : 0;
}

struct note note_hit_of(const struct entry *e, int v6)
{
    static const uint8_t how[] = {[KIND_SUCCESS] = Z_success, [KIND_DENIAL] = Z_denial, [KIND_FAILURE] = Z_failure};
    return (struct note){.zone = e->zone, .v6 = (uint8_t)v6, .rcode = e->rcode, .how = how[e->kind]};
}

/* A record for a query that has to be asked for; 0 when all are in use. */
static int file_miss(struct server *s, unsigned sock, uint32_t i, const struct client *client)
{
    if (s->spares == 0)
        while (s->spares < MISSES && ring_take(&s->freed, &s->spare[s->spares]))
            s->spares++;
    if (s->spares == 0)
        return 0;
    uint32_t ref = s->spare[--s->spares];
    struct miss *m = &s->page->miss[ref];
    m->sock = (uint16_t)sock;
    m->taken = s->now;
    m->from = s->page->from[i];
    memcpy(&m->client, client, offsetof(struct client, question) + client->question_len);
    atomic_store_explicit(&m->state, MISS_TAKEN, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* taken over before it is let go */
    s->page->received[i].msg_len = 0;
    ring_put(&s->pending, ref);
    return 1;
}

static void queue_error(struct server *s, uint32_t i, enum verdict verdict, const struct client *client, uint16_t ede, enum counter counter)
{
    struct lane *lane = &s->page->lane[LANE_HIT];
    size_t len = wire_error(verdict, client, ede, lane->data[lane->count]);
    lane_queue(lane, len, &s->page->from[i], i, (struct note){.zone = NO_ZONE, .counter = (uint8_t)counter});
}

/* Deals with received[i]: an answer queued, a miss filed, or silence. Returns 1 for a miss. */
static int deal(struct server *s, unsigned sock, uint32_t i)
{
    struct slot_page *page = s->page;
    struct lane *lane = &page->lane[LANE_HIT];
    struct client client;
    uint8_t key[WIRE_KEY_MAX], address[16];
    enum verdict verdict = wire_parse_query(page->query[i], page->received[i].msg_len, 0, &client);
    if (verdict == QUERY_DROP) {
        counter_add(s->block[LANE_HIT], C_silent, 1);
        page->received[i].msg_len = 0;
        return 0;
    }
    if (s->acls) { /* before the cache: a client that may not ask must not learn what others asked */
        address_of(&page->from[i], address);
        if (!server_allows(s, address)) {
            queue_error(s, i, QUERY_REFUSED, &client, EDE_PROHIBITED, C_denied);
            return 0;
        }
    }
    if (verdict != QUERY_OK) {
        queue_error(s, i, verdict, &client, WIRE_NO_EDE, VERDICT_COUNTER[verdict]);
        return 0;
    }
    size_t key_len = wire_key(&client, key);
    if (server_get(s, key, key_len, s->now, s->entry)) {
        size_t len = wire_render(s->entry, &client, s->now, client.udp_size, lane->data[lane->count]);
        lane_queue(lane, len, &page->from[i], i,
                   note_hit_of((const struct entry *)(const void *)s->entry, page->from[i].sin6_family == AF_INET6));
        return 0;
    }
    if (file_miss(s, sock, i, &client))
        return 1;
    queue_error(s, i, QUERY_REFUSED, &client, EDE_NOT_READY, C_ring_full);
    return 0;
}

/* Answers received[0..n), those with a length. */
static void batch(struct server *s, unsigned sock, uint32_t n)
{
    struct slot_page *page = s->page;
    int misses = 0;
    s->now = clock_boottime_ms();
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
        counter_add(s->block[LANE_HIT], C_batches, 1);
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

/* This build's page for these sockets: a query must not be answered from another address than it came to. */
static uint64_t slot_layout(const struct server *s)
{
    uint64_t h = wire_hash((const uint8_t *)"slot1", 5, sizeof(struct slot_page));
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

int server_run(struct server *s)
{
    sigset_t all;
    sigfillset(&all); /* signals are the miss loop's */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (s->page->received_sock < s->sockets)
        batch(s, s->page->received_sock, BATCH);
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
