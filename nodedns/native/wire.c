/* wire.c: a client's query: parse, key, hash; and the query an upstream gets. */
#include "wire.h"
#include "bytes.h"
#include <string.h>

enum { TYPE_OPT = 41, TYPE_TKEY = 249, TYPE_IXFR = 251, TYPE_AXFR = 252, TYPE_ANY = 255 };

/* One record behind the question at *at: an OPT fills client, anything else (a TSIG we do not check) is stepped over. */
static enum verdict parse_record(const uint8_t *p, size_t len, size_t *at, struct client *client, int *version)
{
    uint8_t name[WIRE_NAME_MAX];
    size_t next, n = name_expand(p, len, *at, name, &next);
    if (!n || next + 10 > len)
        return QUERY_FORMERR;
    uint16_t type = get16(p + next), size = get16(p + next + 2), rdlen = get16(p + next + 8);
    uint32_t ttl = get32(p + next + 4);
    if (next + 10 + rdlen > len)
        return QUERY_FORMERR;
    *at = next + 10 + rdlen;
    if (type != TYPE_OPT)
        return QUERY_OK;
    if (n != 1 || (client->flags & CLIENT_EDNS))
        return QUERY_FORMERR; /* RFC 6891 6.1.1: root name, at most one */
    client->flags |= CLIENT_EDNS | ((ttl & 0x8000) ? CLIENT_DO : 0);
    client->udp_size = size < WIRE_UDP_PLAIN ? WIRE_UDP_PLAIN : size > WIRE_UDP_MAX ? WIRE_UDP_MAX : size;
    *version = (int)(ttl >> 16 & 0xff);
    /* Options are hop-by-hop and none is ours: only their framing is checked. */
    for (size_t o = next + 10; o < *at;) {
        if (o + 4 > *at || o + 4 + get16(p + o + 2) > *at)
            return QUERY_FORMERR;
        o += 4 + (size_t)get16(p + o + 2);
    }
    return QUERY_OK;
}

static enum verdict verdict_of_type(uint16_t type, int tcp)
{
    if (type == TYPE_AXFR || type == TYPE_IXFR)
        return QUERY_REFUSED;
    if (type == 0 || type == TYPE_OPT || (type >= TYPE_TKEY && type < TYPE_IXFR))
        return QUERY_FORMERR; /* not question types: reserved, OPT, TKEY, TSIG */
    return type == TYPE_ANY && !tcp ? QUERY_ANY : QUERY_OK;
}

/* `name` is "invalid." or below it. Labels are walked only when the octets say so: one label may hold another's length. */
static int is_invalid(const uint8_t *name, size_t len)
{
    static const uint8_t top[] = "\7invalid";
    uint8_t tail[sizeof top];
    if (len < sizeof top || name[len - sizeof top] != top[0])
        return 0;
    name_lower(tail, name + len - sizeof top, sizeof top);
    if (memcmp(tail, top, sizeof top) != 0)
        return 0;
    size_t at = 0;
    while (at + sizeof top < len)
        at += 1 + (size_t)name[at];
    return at + sizeof top == len;
}

enum verdict wire_parse_query(const uint8_t *p, size_t len, int tcp, struct client *client)
{
    if (len < WIRE_HEADER || (p[2] & 0x80))
        return QUERY_DROP;
    memcpy(&client->id, p, 2);
    client->udp_size = WIRE_UDP_PLAIN;
    client->opcode = p[2] >> 3 & 15;
    client->flags = (uint8_t)((p[2] & 1 ? CLIENT_RD : 0) | (p[3] & 0x10 ? CLIENT_CD : 0) | (p[3] & 0x20 ? CLIENT_AD : 0));
    client->question_len = 0;
    if (client->opcode != 0)
        return QUERY_NOTIMP;
    if (get16(p + 4) != 1)
        return QUERY_FORMERR;
    size_t n = name_skip_plain(p, len, WIRE_HEADER), at = WIRE_HEADER + n + 4;
    if (!n || at > len)
        return QUERY_FORMERR;
    memcpy(client->question, p + WIRE_HEADER, n + 4);
    client->question_len = (uint16_t)(n + 4);
    enum verdict by_type = verdict_of_type(get16(p + at - 4), tcp);
    /* An IXFR carries its SOA in the authority section (RFC 1995 3); no other query has records there. */
    if (get16(p + 6) || (get16(p + 8) && by_type != QUERY_REFUSED))
        return QUERY_FORMERR;
    int version = 0;
    for (unsigned i = get16(p + 8) + get16(p + 10); i > 0; i--) /* all of them: even a refusal answers an OPT with an OPT */
        if (parse_record(p, len, &at, client, &version) != QUERY_OK)
            return QUERY_FORMERR;
    if (at != len)
        return QUERY_FORMERR;
    if (version || by_type != QUERY_OK)
        return version ? QUERY_BADVERS : by_type;
    return is_invalid(client->question, n) ? QUERY_INVALID : QUERY_OK;
}

size_t wire_key(const struct client *client, uint8_t *key)
{
    size_t n = client->question_len;
    name_lower(key, client->question, n - 4); /* the name only: type 65 is 'A' */
    memcpy(key + n - 4, client->question + n - 4, 4);
    key[n] = (uint8_t)((client->flags & CLIENT_DO ? KEY_DO : 0) | (client->flags & CLIENT_CD ? KEY_CD : 0));
    return n + 1;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t wire_hash(const uint8_t *key, size_t len, uint64_t seed)
{
    const uint64_t k = 0xa0761d6478bd642fu; /* wyhash's first secret: odd, as many ones as zeros */
    uint64_t h = seed ^ len;
    for (; len >= 8; len -= 8, key += 8)
        h = fold(h ^ le64(key), k) + seed;
    uint8_t last[8] = {0};
    memcpy(last, key, len);
    return fold(fold(h ^ le64(last), k) + seed, k);
}

size_t wire_make_query(const uint8_t *key, size_t key_len, uint16_t id, uint8_t *out)
{
    size_t question = key_len - 1;
    uint8_t flags = key[question];
    static const uint8_t counts[8] = {0, 1, 0, 0, 0, 0, 0, 1};
    put16(out, id);
    out[2] = 0x01;                                   /* RD */
    out[3] = (uint8_t)(0x20 | (flags & KEY_CD ? 0x10 : 0)); /* AD, CD */
    memcpy(out + 4, counts, 8);
    memcpy(out + WIRE_HEADER, key, question);
    return WIRE_HEADER + question + put_opt(out + WIRE_HEADER + question, 0, flags & KEY_DO, NULL, 0);
}
