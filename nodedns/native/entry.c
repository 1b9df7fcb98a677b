/* entry.c: an upstream's reply -> entry. Every record is read to its end, every name expanded and compressed anew, so what is
 * stored is well-formed whatever came in, has no OPT, and no pointer of somebody else's. */
#include "names.h"

enum { TYPE_A = 1, TYPE_SOA = 6, TYPE_AAAA = 28, TYPE_NAPTR = 35, TYPE_OPT = 41, TYPE_TSIG = 250, TYPE_ANY = 255 };
enum {
    NO_SOA_LIFE = 5,    /* a denial without SOA may not be cached by RFC 2308 5; 5 s protect the upstream, as in CoreDNS */
    CLASS_IN = 1
};

/* Types whose RDATA holds names (RFC 3597 4 lists those that may arrive compressed). `compress`: may be sent compressed
 * (RFC 1035's own types only). tail: octets after the names, TAIL_ANY = as many as there are. */
enum { TAIL_ANY = -1 };
static const struct rdata { uint16_t type, skip; uint8_t names, compress; int tail; } RDATA[] = {
    {2, 0, 1, 1, 0},  {3, 0, 1, 1, 0},  {4, 0, 1, 1, 0},         {5, 0, 1, 1, 0},        {6, 0, 2, 1, 20}, {7, 0, 1, 1, 0},
    {8, 0, 1, 1, 0},  {9, 0, 1, 1, 0},  {12, 0, 1, 1, 0},        {14, 0, 2, 1, 0},       {15, 2, 1, 1, 0}, {17, 0, 2, 0, 0},
    {18, 2, 1, 0, 0}, {21, 2, 1, 0, 0}, {24, 18, 1, 0, TAIL_ANY}, {26, 2, 2, 0, 0},       {30, 0, 1, 0, TAIL_ANY},
    {33, 6, 1, 0, 0}, {36, 2, 1, 0, 0}, {39, 0, 1, 0, 0},
};

struct record { uint32_t ttl; uint16_t set; uint16_t ttl_at; uint8_t soa; };

struct builder {
    const uint8_t *in;
    size_t len, at;        /* read position */
    struct writer w;
    unsigned records, sets;
    int answered, opts, extended;
    uint32_t negative;     /* min(SOA TTL, SOA.minimum), UINT32_MAX without SOA */
    uint8_t ede[WIRE_EDE_MAX];
    size_t ede_len;
    uint8_t owner[WIRE_NAME_MAX]; /* of the record before, in lower case: records of one set stand together */
    size_t owner_len;
    uint16_t type, class;
    struct record record[WIRE_RR_MAX];
};

/* How RDATA p[0..len) of a type is made up; no names for a type without a row. */
static struct rdata rdata_of(uint16_t type, const uint8_t *p, size_t len)
{
    if (type == TYPE_NAPTR) { /* order, preference, three character-strings, a name (RFC 3403 4.1) */
        size_t at = 4;
        for (int i = 0; i < 3; i++)
            at += 1 + (at < len ? (size_t)p[at] : 0);
        return (struct rdata){type, (uint16_t)at, 1, 0, 0};
    }
    for (size_t i = 0; i < sizeof RDATA / sizeof *RDATA; i++)
        if (RDATA[i].type == type)
            return RDATA[i];
    return (struct rdata){type, 0, 0, 0, TAIL_ANY};
}

/* Copies RDATA in[at..stop), names written anew. */
static enum reply_verdict put_rdata(struct builder *b, uint16_t type, uint16_t class, size_t at, size_t stop)
{
    struct rdata r = rdata_of(type, b->in + at, stop - at);
    if (class == CLASS_IN && ((type == TYPE_A && stop - at != 4) || (type == TYPE_AAAA && stop - at != 16)))
        return REPLY_MALFORMED;
    if (at + r.skip > stop)
        return REPLY_MALFORMED;
    if (!put_octets(&b->w, b->in + at, r.skip))
        return REPLY_TOO_LONG;
    at += r.skip;
    for (int i = 0; i < r.names; i++) {
        uint8_t name[WIRE_NAME_MAX];
        size_t n = name_expand(b->in, stop, at, name, &at);
        if (!n)
            return REPLY_MALFORMED;
        if (!put_name(&b->w, name, n, r.compress))
            return REPLY_TOO_LONG;
    }
    if (r.tail != TAIL_ANY && stop - at != (size_t)r.tail)
        return REPLY_MALFORMED;
    return put_octets(&b->w, b->in + at, stop - at) ? REPLY_OK : REPLY_TOO_LONG;
}

/* An OPT's upper rcode bits and its Extended DNS Error. */
static int take_opt(struct builder *b, uint32_t ttl, size_t at, size_t stop)
{
    if (b->opts++)
        return 0;
    b->extended = (int)(ttl >> 24);
    while (at < stop) {
        if (at + 4 > stop || at + 4 + get16(b->in + at + 2) > stop)
            return 0;
        size_t n = get16(b->in + at + 2);
        if (get16(b->in + at) == 15 && n >= 2 && !b->ede_len) {
            b->ede_len = n > WIRE_EDE_MAX ? WIRE_EDE_MAX : n;
            if (n > WIRE_EDE_MAX) /* cut between characters of the UTF-8 text */
                while (b->ede_len > 2 && (b->in[at + 4 + b->ede_len] & 0xc0) == 0x80)
                    b->ede_len--;
            memcpy(b->ede, b->in + at + 4, b->ede_len);
        }
        at += 4 + n;
    }
    return 1;
}

/* Notes what the TTL rules need of the record whose TTL stands at out[ttl_at]. */
static void note_record(struct builder *b, const uint8_t *owner, size_t n, uint16_t type, uint16_t class, uint32_t ttl, size_t ttl_at)
{
    uint8_t lower[WIRE_NAME_MAX];
    name_lower(lower, owner, n);
    if (b->records == 0 || type != b->type || class != b->class || n != b->owner_len || memcmp(lower, b->owner, n) != 0) {
        b->sets++;
        memcpy(b->owner, lower, n);
        b->owner_len = n;
        b->type = type;
        b->class = class;
    }
    b->record[b->records++] = (struct record){ttl, (uint16_t)b->sets, (uint16_t)ttl_at, type == TYPE_SOA};
}

/* One record of `section` (0 answer, 1 authority, 2 additional). *kept becomes 0 for OPT and TSIG, which are hop-by-hop. */
static enum reply_verdict put_record(struct builder *b, int section, uint16_t qtype, int *kept)
{
    uint8_t owner[WIRE_NAME_MAX];
    size_t at, n = name_expand(b->in, b->len, b->at, owner, &at);
    if (!n || at + 10 > b->len || at + 10 + get16(b->in + at + 8) > b->len)
        return REPLY_MALFORMED;
    uint16_t type = get16(b->in + at), class = get16(b->in + at + 2);
    uint32_t ttl = get32(b->in + at + 4);
    size_t data = at + 10, stop = data + get16(b->in + at + 8);
    b->at = stop;
    *kept = 0;
    if (type == TYPE_OPT)
        return section == 2 && n == 1 && take_opt(b, ttl, data, stop) ? REPLY_OK : REPLY_MALFORMED;
    if (type == TYPE_TSIG)
        return section == 2 ? REPLY_OK : REPLY_MALFORMED;
    *kept = 1;
    if (b->records == WIRE_RR_MAX || !put_name(&b->w, owner, n, 1) || !put_octets(&b->w, b->in + at, 10))
        return REPLY_TOO_LONG;
    size_t ttl_at = b->w.end - 6;
    note_record(b, owner, n, type, class, ttl, ttl_at);
    enum reply_verdict v = put_rdata(b, type, class, data, stop);
    if (v != REPLY_OK)
        return v;
    put16(b->w.out + ttl_at + 4, (unsigned)(b->w.end - ttl_at - 6));
    if (section == 0 && (type == qtype || qtype == TYPE_ANY))
        b->answered = 1;
    if (section == 1 && type == TYPE_SOA && b->negative == UINT32_MAX) {
        uint32_t minimum = get32(b->in + stop - 4);
        b->negative = ttl < minimum ? ttl : minimum;
    }
    return REPLY_OK;
}

static uint32_t clamp(uint32_t v, uint32_t low, uint32_t high) { return v > high ? high : v < low ? low : v; }

/* Writes the TTLs by the rules at the head of wire_make_entry. Returns the entry's life in seconds. */
static uint32_t set_ttls(struct builder *b, const struct policy *p, int denial)
{
    uint32_t low = denial ? p->denial_min : p->success_min, high = denial ? p->denial_max : p->success_max;
    uint32_t none = clamp(NO_SOA_LIFE, 0, high), soa = b->negative == UINT32_MAX ? none : clamp(b->negative, low, high);
    uint32_t life = denial ? soa : high;
    for (unsigned i = 0; i < b->records;) {
        unsigned next = i;
        uint32_t ttl = UINT32_MAX;
        for (; next < b->records && b->record[next].set == b->record[i].set; next++)
            ttl = b->record[next].ttl < ttl ? b->record[next].ttl : ttl;
        ttl = clamp(ttl, low, high);
        if (denial && b->record[i].soa && ttl > soa)
            ttl = soa; /* RFC 2308 5: the SOA of a denial says how long the denial holds */
        life = ttl < life ? ttl : life;
        for (; i < next; i++)
            put32(b->w.out + b->record[i].ttl_at, ttl);
    }
    return life;
}

/* Header and question. REPLY_OK also for a failure that lost its question (some servers cut it from FORMERR). */
static enum reply_verdict check_head(const uint8_t *key, size_t key_len, const uint8_t *p, size_t len, size_t *at)
{
    if (len < WIRE_HEADER || !(p[2] & 0x80) || (p[2] >> 3 & 15))
        return REPLY_MISMATCH;
    uint8_t rcode = p[3] & 15;
    *at = WIRE_HEADER;
    if (get16(p + 4) == 0 && len == WIRE_HEADER && rcode != 0 && rcode != 3)
        return REPLY_OK;
    uint8_t lower[WIRE_NAME_MAX];
    size_t n = name_skip_plain(p, len, WIRE_HEADER);
    if (get16(p + 4) != 1 || !n || n + 5 != key_len || WIRE_HEADER + n + 4 > len)
        return REPLY_MISMATCH;
    name_lower(lower, p + WIRE_HEADER, n);
    if (memcmp(lower, key, n) != 0 || memcmp(p + WIRE_HEADER + n, key + n, 4) != 0)
        return REPLY_MISMATCH;
    *at = WIRE_HEADER + n + 4;
    return p[2] & 2 ? REPLY_TRUNCATED : REPLY_OK;
}

static enum reply_verdict put_records(struct builder *b, uint16_t qtype, uint16_t *section)
{
    for (int s = 0; s < 3; s++)
        for (unsigned i = get16(b->in + 6 + 2 * s); i > 0; i--) {
            int kept;
            enum reply_verdict v = put_record(b, s, qtype, &kept);
            if (v != REPLY_OK)
                return v;
            section[s] += (uint16_t)kept;
        }
    return b->at == b->len ? REPLY_OK : REPLY_MALFORMED;
}

/* Fills what every entry has and puts TTL offsets and EDE behind the wire. */
static size_t finish(struct entry *e, const uint8_t *key, size_t key_len, uint64_t seed, uint64_t now, uint32_t life, uint8_t *out,
                     const struct record *record, const uint8_t *ede)
{
    e->hash = wire_hash(key, key_len, seed);
    e->inserted = now;
    e->stale_until = e->expires = now + 1000 * (uint64_t)life;
    e->question_len = (uint16_t)(key_len - 1);
    e->key_flags = key[key_len - 1];
    memcpy(out, e, sizeof *e);
    if (e->wire_len & 1)
        out[sizeof *e + e->wire_len] = 0;
    uint8_t *ttls = out + ENTRY_TTLS(e);
    for (unsigned i = 0; i < e->rr_count; i++, ttls += 2) {
        ttls[0] = (uint8_t)record[i].ttl_at;
        ttls[1] = (uint8_t)(record[i].ttl_at >> 8);
    }
    memcpy(ttls, ede, e->ede_len);
    return ENTRY_LEN(e);
}

static void put_head(uint8_t *wire, const uint8_t *key, size_t key_len, const uint16_t *section)
{
    memset(wire, 0, WIRE_HEADER);
    wire[5] = 1;
    for (int s = 0; s < 3; s++)
        put16(wire + 6 + 2 * s, section[s]);
    memcpy(wire + WIRE_HEADER, key, key_len - 1);
}

size_t wire_failure_entry(const uint8_t *key, size_t key_len, uint64_t seed, uint8_t rcode, const uint8_t *ede, size_t ede_len,
                          uint32_t ttl, uint16_t zone, uint32_t zone_tag, uint64_t now, uint8_t *out)
{
    struct entry e = {.kind = KIND_FAILURE, .rcode = rcode, .zone = zone, .zone_tag = zone_tag};
    e.wire_len = (uint16_t)(WIRE_HEADER + key_len - 1);
    e.ede_len = (uint16_t)(ede_len > WIRE_EDE_MAX ? WIRE_EDE_MAX : ede_len);
    put_head(out + sizeof e, key, key_len, e.section);
    return finish(&e, key, key_len, seed, now, ttl, out, NULL, ede);
}

enum reply_verdict wire_make_entry(const uint8_t *key, size_t key_len, const uint8_t *reply, size_t len, uint64_t seed,
                                   const struct policy *policy, uint64_t now, uint8_t *out, size_t *out_len)
{
    struct builder b;
    size_t at;
    enum reply_verdict v = check_head(key, key_len, reply, len, &at);
    if (v != REPLY_OK)
        return v;
    memset(&b, 0, offsetof(struct builder, ede));
    b.ede_len = 0;
    b.in = reply, b.len = len, b.at = at, b.w.out = out + sizeof(struct entry);
    b.negative = UINT32_MAX;
    b.w.end = WIRE_HEADER;
    put_name(&b.w, key, key_len - 5, 0);
    put_octets(&b.w, key + key_len - 5, 4);
    struct entry e = {.zone = policy->zone, .zone_tag = policy->zone_tag, .rcode = reply[3] & 15, .ad = reply[3] >> 5 & 1};
    v = put_records(&b, get16(key + key_len - 5), e.section);
    if (v != REPLY_OK)
        return v;
    if (b.extended || (e.rcode != 0 && e.rcode != 3)) {
        *out_len = wire_failure_entry(key, key_len, seed, b.extended ? 2 : e.rcode, b.ede, b.ede_len, policy->failure,
                                      policy->zone, policy->zone_tag, now, out);
        return REPLY_OK;
    }
    e.kind = e.rcode == 0 && b.answered ? KIND_SUCCESS : KIND_DENIAL;
    e.wire_len = (uint16_t)b.w.end;
    e.rr_count = (uint16_t)b.records;
    e.ede_len = (uint16_t)b.ede_len;
    uint32_t life = set_ttls(&b, policy, e.kind == KIND_DENIAL);
    put_head(b.w.out, key, key_len, e.section);
    *out_len = finish(&e, key, key_len, seed, now, life, out, b.record, b.ede);
    return REPLY_OK;
}
