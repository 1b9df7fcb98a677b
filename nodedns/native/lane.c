/* lane.c: answers on their way out, each sent, counted and freed as one act as far as a successor can tell (slot.h, counters.h). */
#include "serve.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { FULL_WAIT_MS = 5 }; /* a full device queue drains in well under this; waiting longer would delay hits behind it */

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

/* When the query behind an answer came, ns. */
static uint64_t came(const struct server *s, int which, uint32_t ref)
{
    return which == LANE_MISS && ref < MISSES ? s->page->miss[ref].taken : s->page->lane[which].since;
}

static void count(struct server *s, int which, uint32_t k, uint64_t now)
{
    struct lane *lane = &s->page->lane[which];
    uint64_t then = came(s, which, lane->ref[k]);
    count_answer(&lane->journal, &s->staging[which], s->block[which], &lane->note[k], lane->iov[k].iov_len, now > then ? now - then : 0);
}

static void sample(struct server *s, int which, uint32_t k, uint64_t now, uint32_t weight)
{
    struct lane *lane = &s->page->lane[which];
    if (lane->note[k].row == NO_ROW)
        return; /* our own question */
    uint32_t ref = lane->ref[k];
    const struct sockaddr_in6 *from = lane->head[k].msg_hdr.msg_name;
    const struct client *c = which == LANE_MISS ? &s->page->miss[ref].client : &s->question[ref].client;
    uint8_t address[16];
    address_of(from, address);
    sample_put(&s->sampler[which], &lane->note[k], c, address, ntohs(from->sin6_port), lane->data[k], lane->iov[k].iov_len, now,
               now - came(s, which, ref), weight);
}

/* Leaves records of what was sent (samples.h). */
static void keep_samples(struct server *s, int which, uint64_t now)
{
    struct lane *lane = &s->page->lane[which];
    struct sampler *sampler = &s->sampler[which];
    if (!sampler->ring || !lane->count)
        return;
    if (which == LANE_MISS || atomic_load_explicit(sampler->every, memory_order_relaxed)) {
        for (uint32_t k = 0; k < lane->count; k++)
            if (lane->head[k].msg_len)
                sample(s, which, k, now, 1);
        return;
    }
    uint32_t k = sampler->turn++ % lane->count;
    if (lane->head[k].msg_len)
        sample(s, which, k, now, lane->count);
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
    uint64_t now = clock_boottime_ns();
    for (uint32_t i = 0; i < n; i++)
        if (lane->head[i].msg_len)
            count(s, which, i, now);
        else if (all)
            failed++;
    if (failed)
        journal_add(&lane->journal, &s->staging[which], s->block[which], C_send_failed, failed);
    journal_store(&lane->journal, s->block[which]);
    if (all)
        keep_samples(s, which, now);
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
