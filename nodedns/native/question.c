/* question.c: what a query asks of the cache, who may ask it, and in which zone (serve.h). */
#include "serve.h"
#include "bytes.h"

const uint8_t VERDICT_COUNTER[] = {[QUERY_DROP] = C_silent,     [QUERY_FORMERR] = C_formerr,  [QUERY_NOTIMP] = C_notimp,
                                          [QUERY_BADVERS] = C_badvers, [QUERY_REFUSED] = C_transfer, [QUERY_ANY] = C_any,
                                          [QUERY_INVALID] = C_invalid};

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

int server_limits(struct server *s, const uint8_t *address, uint64_t now)
{
    static const uint8_t loopback4[13] = {[10] = 0xff, [11] = 0xff, [12] = 127}, loopback6[16] = {[15] = 1};
    if (!s->rate || memcmp(address, loopback4, sizeof loopback4) == 0 || memcmp(address, loopback6, sizeof loopback6) == 0)
        return 1;
    return table_limit(&s->table, address, s->rate, now);
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

void server_ask(const struct server *s, struct question *q)
{
    q->key_len = wire_key(&q->client, q->key);
    q->hash = wire_hash(q->key, q->key_len, s->table.seed);
}

void server_read(const struct server *s, const uint8_t *packet, size_t len, int tcp, struct question *q)
{
    q->verdict = wire_parse_query(packet, len, tcp, &q->client);
    if (q->verdict != QUERY_OK)
        return;
    server_ask(s, q);
    table_prefetch(&s->table, q->hash);
}

size_t server_get(const struct server *s, const struct question *q, uint64_t now, uint8_t *out)
{
    size_t len = table_get(&s->table, q->key, q->key_len, q->hash, now, out);
    return len && wire_entry_ok(out, len) ? len : 0;
}

void address_of(const struct sockaddr_in6 *from, uint8_t *address)
{
    if (from->sin6_family == AF_INET6) {
        memcpy(address, &from->sin6_addr, 16);
        return;
    }
    memset(address, 0, 10);
    memset(address + 10, 0xff, 2);
    memcpy(address + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
}

static struct note note_of(const struct server *s, unsigned sock, unsigned zone, const struct client *c, size_t request)
{
    uint16_t type = c->question_len >= 5 ? get16(c->question + c->question_len - 4) : 0;
    return (struct note){.row = s->row[sock < SOCKETS_MAX ? sock : 0][zone < MAX_ZONES ? zone : MAX_ZONES],
                         .type = (uint8_t)class_of_type(type),
                         .flags = c->flags & CLIENT_DO ? NOTE_DO : 0,
                         .request = (uint16_t)request};
}

struct note note_entry(const struct server *s, unsigned sock, const struct entry *e, const struct client *c, size_t request)
{
    static const uint8_t how[] = {[KIND_SUCCESS] = HOW_SUCCESS, [KIND_DENIAL] = HOW_DENIAL, [KIND_FAILURE] = HOW_FAILURE};
    struct note n = note_of(s, sock, e->zone, c, request);
    n.counter = COUNTER_COUNT;
    n.rcode = e->rcode;
    n.how = how[e->kind];
    n.flags |= e->stale ? NOTE_STALE : 0;
    return n;
}

/* The self-probe's name. Its answers count among all, and in no row: an idle node's figures would be nothing else. */
static int is_probe(const struct client *c)
{
    static const uint8_t name[] = "\7nodedns\7invalid"; /* and the root's 0 */
    uint8_t lower[sizeof name];
    if (c->question_len != sizeof name + 4)
        return 0;
    name_lower(lower, c->question, sizeof name);
    return memcmp(lower, name, sizeof name) == 0;
}

struct note note_error(const struct server *s, unsigned sock, const uint8_t *data, const struct client *c, enum counter counter, size_t request)
{
    struct note n = note_of(s, sock, MAX_ZONES, c, request);
    n.counter = (uint8_t)counter;
    n.rcode = counter == C_badvers ? 16 : data[3] & 15; /* RFC 6891 9: its upper half is in the OPT record */
    n.how = HOWS;
    if (counter == C_invalid && is_probe(c))
        n.row = NO_ROW;
    return n;
}
