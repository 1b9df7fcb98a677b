/* miss.c: the miss loop's half of a server: pending queries out, answers in. */
#include "serve.h"
#include "bytes.h"

int64_t miss_next(struct server *s, struct question *q, uint64_t *taken)
{
    uint32_t ref;
    uint64_t now = clock_boottime_ms();
    while (ring_take(&s->pending, &ref)) {
        struct miss *m = &s->page->miss[ref];
        q->client = m->client;
        server_ask(s, q);
        if (m->sock != NO_SOCKET && server_get(s, q, now, s->late)) { /* its twin was answered while it waited in the ring */
            counter_add(s->block[LANE_MISS], C_late_hits, 1);
            miss_answer(s, ref, s->late, now);
            continue;
        }
        *taken = m->taken / 1000000;
        return ref;
    }
    return -1;
}

void miss_answer(struct server *s, uint32_t ref, const uint8_t *entry, uint64_t now)
{
    if (ref >= MISSES || atomic_load_explicit(&s->page->miss[ref].state, memory_order_relaxed) != MISS_TAKEN)
        return;
    struct lane *lane = &s->page->lane[LANE_MISS];
    struct miss *m = &s->page->miss[ref];
    if (m->sock == NO_SOCKET) {
        lane_release(s, LANE_MISS, ref);
        return;
    }
    if (lane->count == BATCH || (lane->count && s->page->miss[lane->ref[0]].sock != m->sock))
        miss_flush(s);
    struct note note = note_entry(s, m->sock, (const struct entry *)(const void *)entry, &m->client, m->length);
    note.how = HOW_MISS;
    size_t len = wire_render(entry, &m->client, now, m->client.udp_size, lane->data[lane->count]);
    lane_queue(lane, len, &m->from, ref, note);
}

void miss_flush(struct server *s)
{
    struct lane *lane = &s->page->lane[LANE_MISS];
    if (lane->count)
        lane_send(s, LANE_MISS, s->socket[s->page->miss[lane->ref[0]].sock]);
}
