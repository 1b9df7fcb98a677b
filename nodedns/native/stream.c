/* stream.c: TCP clients' messages, one at a time: the same rules as deal() in serve.c, without a lane. The kernel marks no octets of a
 * stream as sent, so an answer is counted when it is rendered. */
#include "serve.h"
#include "bytes.h"

static void count(struct server *s, const struct entry *e, int miss, const uint8_t *peer)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct counter_block *b = s->block[LANE_MISS];
    counter_add(b, C_answers, 1);
    if (e->zone >= MAX_ZONES)
        return;
    counter_add(b, zone_counter(e->zone, memcmp(peer, mapped, sizeof mapped) == 0 ? Z_tcp4 : Z_tcp6), 1);
    counter_add(b, zone_counter(e->zone, miss ? Z_miss : note_hit_of(e, 0).how), 1);
    counter_add(b, zone_counter(e->zone, rcode_counter(e->rcode)), 1);
}

static size_t error(struct server *s, enum verdict v, const struct client *client, uint16_t ede, enum counter counter, uint8_t *out)
{
    counter_add(s->block[LANE_MISS], counter, 1);
    counter_add(s->block[LANE_MISS], C_answers, v != QUERY_DROP);
    return wire_error(v, client, ede, out);
}

size_t stream_render(struct server *s, const uint8_t *blob, const struct client *client, const uint8_t *peer, int miss, uint64_t now,
                     uint8_t *out)
{
    count(s, (const struct entry *)(const void *)blob, miss, peer);
    return wire_render(blob, client, now, STREAM_MAX, out);
}

int stream_answer(struct server *s, const uint8_t *p, size_t len, const uint8_t *peer, struct question *q, uint8_t *out, size_t *n)
{
    uint64_t now = clock_boottime_ms();
    memset(&q->client, 0, sizeof q->client); /* it goes to Python whole */
    server_read(s, p, len, 1, q);
    if (q->verdict != QUERY_DROP && !server_allows(s, peer))
        *n = error(s, QUERY_REFUSED, &q->client, EDE_PROHIBITED, C_denied, out);
    else if (q->verdict != QUERY_DROP && !server_limits(s, peer, now))
        *n = error(s, QUERY_REFUSED, &q->client, EDE_PROHIBITED, C_limited, out);
    else if (q->verdict != QUERY_OK)
        *n = error(s, q->verdict, &q->client, WIRE_NO_EDE, VERDICT_COUNTER[q->verdict], out);
    else if (!server_get(s, q, now, s->late))
        return 0;
    else
        *n = stream_render(s, s->late, &q->client, peer, 0, now, out);
    return 1;
}
