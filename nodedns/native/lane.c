/* lane.c: answers on their way out, each sent, counted and freed as one act as far as a successor can tell (slot.h, counters.h). */
#include "serve.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { FULL_WAIT_MS = 5 }; /* a full device queue drains in well under this; waiting longer would delay hits behind it */

enum zone_counter rcode_counter(uint8_t rcode)
{
    switch (rcode) {
    case 0: return Z_noerror;
    case 2: return Z_servfail;
    case 3: return Z_nxdomain;
    case 5: return Z_refused;
    default: return Z_other;
    }
}

void lane_open(struct lane *lane)
{
    memset(lane->head, 0, sizeof lane->head);
    for (int i = 0; i < BATCH; i++) {
        lane->iov[i].iov_base = lane->data[i];
        lane->head[i].msg_hdr.msg_iov = &lane->iov[i];
        lane->head[i].msg_hdr.msg_iovlen = 1;
    }
    lane->count = 0;
    lane->journal.count = 0;
}

void lane_queue(struct lane *lane, size_t len, void *to, uint32_t ref, struct note note)
{
    uint32_t k = lane->count;
    lane->iov[k].iov_len = len;
    lane->head[k].msg_hdr.msg_name = to;
    lane->head[k].msg_hdr.msg_namelen = ((struct sockaddr *)to)->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    lane->ref[k] = ref;
    lane->note[k] = note;
    atomic_signal_fence(memory_order_seq_cst); /* a successor must not meet a count without its ref */
    lane->count = k + 1;
}

static void count(struct server *s, int which, const struct note *n)
{
    struct journal *j = &s->page->lane[which].journal;
    struct staging *st = &s->staging[which];
    const struct counter_block *b = s->block[which];
    journal_add(j, st, b, C_answers, 1);
    if (n->zone >= MAX_ZONES) {
        if (n->counter < COUNTER_COUNT)
            journal_add(j, st, b, n->counter, 1);
        return;
    }
    journal_add(j, st, b, zone_counter(n->zone, n->v6 ? Z_udp6 : Z_udp4), 1);
    journal_add(j, st, b, zone_counter(n->zone, n->how < ZONE_COUNTER_COUNT ? n->how : Z_miss), 1);
    journal_add(j, st, b, zone_counter(n->zone, rcode_counter(n->rcode)), 1);
}

void lane_release(struct server *s, int which, uint32_t ref)
{
    if (which == LANE_HIT) {
        if (ref < BATCH)
            s->page->received[ref].msg_len = 0;
    } else if (ref < MISSES && atomic_load_explicit(&s->page->miss[ref].state, memory_order_relaxed) == MISS_TAKEN) {
        atomic_store_explicit(&s->page->miss[ref].state, MISS_FREE, memory_order_release);
        ring_put(&s->freed, ref);
    }
}

/* Counts what was sent, then frees: what was sent, or with `all` also what the kernel refused. */
static void settle(struct server *s, int which, int all)
{
    struct lane *lane = &s->page->lane[which];
    uint32_t failed = 0, n = lane->count < BATCH ? lane->count : BATCH;
    for (uint32_t i = 0; i < n; i++)
        if (lane->head[i].msg_len)
            count(s, which, &lane->note[i]);
        else if (all)
            failed++;
    if (failed)
        journal_add(&lane->journal, &s->staging[which], s->block[which], C_send_failed, failed);
    journal_store(&lane->journal, s->block[which]);
    for (uint32_t i = 0; i < n; i++)
        if (lane->head[i].msg_len || all) {
            lane_release(s, which, lane->ref[i]);
            lane->head[i].msg_len = 0;
        }
    lane->count = 0;
    journal_close(&lane->journal);
}

void lane_send(struct server *s, int which, int fd)
{
    struct lane *lane = &s->page->lane[which];
    int waited = 0;
    for (uint32_t sent = 0; sent < lane->count;) {
        int n = sendmmsg(fd, lane->head + sent, lane->count - sent, 0);
        if (n > 0) {
            sent += (uint32_t)n;
        } else if (errno == EAGAIN && !waited) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, FULL_WAIT_MS);
            waited = 1;
        } else if (errno != EINTR) {
            sent++; /* refused for this one (no route, EPERM of a firewall): the others are not to blame */
        }
    }
    settle(s, which, 1);
}

void lane_recover(struct server *s, int which)
{
    struct lane *lane = &s->page->lane[which];
    if (!atomic_load(&lane->journal.armed)) {
        lane->journal.count = 0;
        settle(s, which, 0);
        return;
    }
    journal_store(&lane->journal, s->block[which]);
    for (uint32_t i = 0; i < lane->count && i < BATCH; i++)
        if (lane->head[i].msg_len)
            lane_release(s, which, lane->ref[i]);
    lane->count = 0;
    journal_close(&lane->journal);
}

void ring_put(struct ring *r, uint32_t item)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    r->item[head % MISSES] = item;
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

int ring_take(struct ring *r, uint32_t *item)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
        return 0;
    *item = r->item[tail % MISSES];
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return 1;
}
