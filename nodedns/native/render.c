/* render.c: entry -> a client's answer, and answers without records. */
#include "bytes.h"

enum { FLAG_TC = 0x02 };

int wire_entry_ok(const uint8_t *blob, size_t len)
{
    struct entry e;
    if (len < sizeof e + WIRE_HEADER + 5)
        return 0;
    memcpy(&e, blob, sizeof e);
    if (ENTRY_LEN(&e) != len || e.question_len < 5 || e.question_len > WIRE_QUESTION_MAX || e.ede_len > WIRE_EDE_MAX || e.ede_len == 1 ||
        e.wire_len < WIRE_HEADER + e.question_len || e.kind > KIND_FAILURE || e.rr_count > WIRE_RR_MAX ||
        e.section[0] + e.section[1] + e.section[2] != e.rr_count)
        return 0;
    const uint8_t *ttls = blob + ENTRY_TTLS(&e);
    size_t end = WIRE_HEADER + (size_t)e.question_len;
    for (unsigned i = 0; i < e.rr_count; i++) { /* records follow one another: owner >= 1, type, class, TTL, RDLENGTH, RDATA */
        size_t ttl_at = (size_t)ttls[2 * i] | (size_t)ttls[2 * i + 1] << 8;
        if (ttl_at < end + 5 || ttl_at + 6 > e.wire_len)
            return 0;
        end = ttl_at + 6 + get16(blob + sizeof e + ttl_at + 4);
        if (end > e.wire_len)
            return 0;
    }
    return end == e.wire_len;
}

static void put_flags(uint8_t *out, const struct client *client, int tc, int ad, uint8_t rcode)
{
    memcpy(out, &client->id, 2);
    out[2] = (uint8_t)(0x80 | client->opcode << 3 | (tc ? FLAG_TC : 0) | (client->flags & CLIENT_RD ? 1 : 0));
    /* RA always; AD only for a client that asked with DO or AD (RFC 6840 5.7); CD is copied (RFC 4035 3.1.6) */
    out[3] = (uint8_t)(0x80 | (ad && (client->flags & (CLIENT_DO | CLIENT_AD)) ? 0x20 : 0) | (client->flags & CLIENT_CD ? 0x10 : 0) | (rcode & 15));
}

/* Records that fit `room`; returns their end in the wire, sets counts, and *tc when an answer or authority record is left out. */
static size_t cut(const struct entry *e, const uint8_t *blob, size_t room, uint16_t *count, int *tc)
{
    const uint8_t *wire = blob + sizeof *e, *ttls = blob + ENTRY_TTLS(e);
    size_t end = WIRE_HEADER + (size_t)e->question_len;
    unsigned i = 0;
    memset(count, 0, 3 * sizeof *count);
    for (int s = 0; s < 3; s++) {
        for (unsigned k = 0; k < e->section[s]; k++, i++) {
            size_t ttl_at = (size_t)ttls[2 * i] | (size_t)ttls[2 * i + 1] << 8;
            size_t stop = ttl_at + 6 + get16(wire + ttl_at + 4);
            if (stop > room) {
                *tc = s < 2;
                return end;
            }
            end = stop;
            count[s]++;
        }
    }
    return end;
}

/* Turns the data of neighbouring addresses of one owner by the client's id, among the first `count` records. Owner, type, class and
 * TTL are the same for all of them, so data is all there is to move. */
static void rotate(const struct entry *e, const uint8_t *blob, unsigned count, uint16_t by, uint8_t *out)
{
    const uint8_t *wire = blob + sizeof *e, *ttls = blob + ENTRY_TTLS(e);
    size_t start = WIRE_HEADER + (size_t)e->question_len, from = 0, size = 0;
    unsigned first = 0;
    for (unsigned i = 0; i <= count; i++) {
        size_t at = i < count ? (size_t)ttls[2 * i] | (size_t)ttls[2 * i + 1] << 8 : 0;
        size_t stop = i < count ? at + 6 + get16(wire + at + 4) : 0;
        int address = i < count && (get16(wire + at - 4) == 1 || get16(wire + at - 4) == 28);
        if (i > first && (!address || stop - start != size || memcmp(wire + from, wire + start, at - start) != 0)) {
            for (unsigned n = i - first, k = 0; k < n; k++) { /* a run has ended: records of `size` octets, data at their end */
                size_t data = get16(wire + (size_t)(ttls[2 * first] | ttls[2 * first + 1] << 8) + 4);
                memcpy(out + from + (k + 1) * size - data, wire + from + ((k + by) % n + 1) * size - data, data);
            }
            first = i;
        }
        if (i == first) {
            from = start, size = stop - start;
            first += !address;
        }
        start = stop;
    }
}

size_t wire_render(const uint8_t *blob, const struct client *client, uint64_t now, size_t limit, uint8_t *out)
{
    struct entry e;
    memcpy(&e, blob, sizeof e);
    uint16_t count[3] = {e.section[0], e.section[1], e.section[2]};
    size_t ede = client->flags & CLIENT_EDNS ? e.ede_len : 0, end = e.wire_len;
    size_t opt = client->flags & CLIENT_EDNS ? WIRE_OPT + (ede ? 4 + ede : 0) : 0;
    int tc = 0;
    if (end + opt > limit && ede) { /* the explanation goes before any record does */
        ede = 0;
        opt = WIRE_OPT;
    }
    if (end + opt > limit)
        end = cut(&e, blob, limit - opt, count, &tc);
    memcpy(out, blob + sizeof e, end);
    put_flags(out, client, tc, e.ad, e.rcode);
    memcpy(out + WIRE_HEADER, client->question, e.question_len);
    if (e.rotate)
        rotate(&e, blob, count[0], get16((const uint8_t *)&client->id), out);
    uint64_t age = now > e.inserted ? (now - e.inserted) / 1000 : 0;
    const uint8_t *ttls = blob + ENTRY_TTLS(&e);
    for (unsigned i = count[0] + count[1] + count[2]; i > 0; i--, ttls += 2) {
        uint8_t *at = out + ((size_t)ttls[0] | (size_t)ttls[1] << 8);
        uint32_t ttl = get32(at);
        put32(at, ttl > age ? (uint32_t)(ttl - age) : 0);
    }
    put16(out + 4, 1);
    put16(out + 6, count[0]);
    put16(out + 8, count[1]);
    put16(out + 10, count[2] + (opt != 0));
    if (opt)
        end += put_opt(out + end, 0, client->flags & CLIENT_DO, blob + ENTRY_TTLS(&e) + 2 * (size_t)e.rr_count, ede);
    return end;
}

/* RFC 8482 4.2: one HINFO, CPU "RFC8482", OS empty. TTL as in the RFC's example. */
static size_t put_hinfo(uint8_t *out)
{
    static const uint8_t hinfo[] = {0xc0, 0x0c, 0, 13, 0, 1, 0, 0, 0x0e, 0x10, 0, 9, 7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
    memcpy(out, hinfo, sizeof hinfo);
    return sizeof hinfo;
}

size_t wire_error(enum verdict verdict, const struct client *client, uint16_t ede, uint8_t *out)
{
    static const uint8_t rcode[] = {[QUERY_OK] = 2, [QUERY_DROP] = 0, [QUERY_FORMERR] = 1, [QUERY_NOTIMP] = 4, [QUERY_BADVERS] = 0,
                                    [QUERY_REFUSED] = 5, [QUERY_ANY] = 0, [QUERY_INVALID] = 3};
    if (verdict == QUERY_DROP)
        return 0;
    memset(out, 0, WIRE_HEADER);
    put_flags(out, client, 0, 0, rcode[verdict]);
    size_t end = WIRE_HEADER;
    if (client->question_len) {
        out[5] = 1;
        memcpy(out + end, client->question, client->question_len);
        end += client->question_len;
    }
    if (verdict == QUERY_ANY) {
        out[7] = 1;
        size_t hinfo = put_hinfo(out + end);
        memcpy(out + end + 4, client->question + client->question_len - 2, 2); /* the asker's class */
        end += hinfo;
    }
    if (client->flags & CLIENT_EDNS) {
        uint8_t info[2] = {(uint8_t)(ede >> 8), (uint8_t)ede};
        out[11] = 1;
        end += put_opt(out + end, verdict == QUERY_BADVERS ? 1 : 0, client->flags & CLIENT_DO, info, ede == WIRE_NO_EDE ? 0 : 2);
    }
    return end;
}
