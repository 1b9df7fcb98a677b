/* stream.c: TCP clients' messages, one at a time: the same rules as deal() in serve.c, without a lane. The kernel marks no octets of a
 * stream as sent, so an answer is counted when it is rendered. */
#include "serve.h"
#include "bytes.h"

/* Counts and keeps what is about to be written; its length. */
static size_t done(struct server *s, struct note n, const struct stream_query *q, const uint8_t *out, size_t octets)
{
    uint64_t now = clock_boottime_ns(), duration = now > q->taken ? now - q->taken : 0;
    n.proto = 1;
    count_answer(NULL, NULL, s->block[LANE_MISS], &n, octets, duration);
    if (s->sampler[LANE_MISS].ring && n.row != NO_ROW)
        sample_put(&s->sampler[LANE_MISS], &n, &q->client, q->peer.address, q->peer.port, out, octets, now, duration, 1);
    return octets;
}

static size_t error(struct server *s, enum verdict v, const struct stream_query *q, uint16_t ede, enum counter counter, uint8_t *out)
{
    size_t n = wire_error(v, &q->client, ede, out);
    if (n)
        return done(s, note_error(s, q->peer.sock, out, &q->client, counter, q->request), q, out, n);
    counter_add(s->block[LANE_MISS], counter, 1);
    return 0;
}

static size_t render(struct server *s, const uint8_t *blob, const struct stream_query *q, int miss, uint8_t *out)
{
    size_t n = wire_render(blob, &q->client, clock_boottime_ms(), STREAM_MAX, out);
    struct note note = note_entry(s, q->peer.sock, (const struct entry *)(const void *)blob, &q->client, q->request);
    note.how = miss ? HOW_MISS : note.how;
    return done(s, note, q, out, n);
}

size_t stream_render(struct server *s, const uint8_t *blob, const struct stream_query *q, uint8_t *out) { return render(s, blob, q, 1, out); }

int stream_answer(struct server *s, const uint8_t *p, size_t len, const struct peer *peer, struct question *q, struct stream_query *waits,
                  uint8_t *out, size_t *n)
{
    uint64_t now = clock_boottime_ms();
    memset(waits, 0, sizeof *waits); /* it goes to Python whole */
    server_read(s, p, len, 1, q);
    memcpy(&waits->client, &q->client, offsetof(struct client, question) + (q->verdict == QUERY_DROP ? 0 : q->client.question_len));
    waits->peer = *peer;
    waits->request = (uint32_t)len;
    waits->taken = clock_boottime_ns();
    if (q->verdict != QUERY_DROP && !server_allows(s, peer->address))
        *n = error(s, QUERY_REFUSED, waits, EDE_PROHIBITED, C_denied, out);
    else if (q->verdict != QUERY_DROP && !server_limits(s, peer->address, now))
        *n = error(s, QUERY_REFUSED, waits, EDE_PROHIBITED, C_limited, out);
    else if (q->verdict != QUERY_OK)
        *n = error(s, q->verdict, waits, WIRE_NO_EDE, VERDICT_COUNTER[q->verdict], out);
    else if (!server_get(s, q, now, s->late))
        return 0;
    else
        *n = render(s, s->late, waits, 0, out);
    return 1;
}
