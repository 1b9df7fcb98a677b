/* wire.h: DNS bytes, in and out. Pure functions over buffers: no memory is allocated, no clock read, no system call made.
 * Four files stand behind it: names.c (owner names), wire.c (a client's query), entry.c (an upstream's reply -> entry),
 * render.c (entry -> a client's answer). core/message.py is their slow twin: the same tests run on both.
 *
 * THE ENTRY is what a cache slot holds and what answers a miss too, so that a hit and a miss give the same bytes:
 *
 *     struct entry (64 bytes) | wire: a reply without OPT, id 0 | u16 ttl_at[rr_count] (little endian, at ENTRY_TTLS) | EDE option data
 *
 * `wire` starts with the 12-byte header (only the counts are meaningful, flags are in the struct) and the question in lower
 * case, so question + key flags is the key and needs no copy of its own. Every name was re-compressed by entry.c, hence
 * nothing of an upstream's pointers is left in it. ttl_at[i] is the offset in `wire` of record i's TTL, which also gives the
 * record boundaries: record i ends at ttl_at[i] + 6 + RDLENGTH.
 *
 * Worked example, a hit:
 *     struct query q;  if (wire_parse_query(packet, len, &q) != QUERY_OK) -> wire_error(...)
 *     wire_key(packet, &q, key)                -> table_get(...) copies the entry out
 *     wire_render(entry, entry_len, &client, now, limit, out)   -> bytes to send
 */
#ifndef NODEDNS_WIRE_H
#define NODEDNS_WIRE_H
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_HEADER = 12,
    WIRE_NAME_MAX = 255,                    /* RFC 1035 2.3.4 */
    WIRE_QUESTION_MAX = WIRE_NAME_MAX + 4,  /* + type and class */
    WIRE_KEY_MAX = WIRE_QUESTION_MAX + 1,   /* + key flags */
    WIRE_OPT = 11,                          /* an OPT record without options */
    WIRE_UDP_PLAIN = 512,                   /* RFC 1035 4.2.1: the limit without EDNS */
    WIRE_UDP_MAX = 1232,                    /* DNS Flag Day 2020; below RFC 9715's 1400 */
    WIRE_EDE_MAX = 2 + 96,                  /* INFO-CODE and as much EXTRA-TEXT as a person reads in a log line */
    WIRE_NO_EDE = 0xffff,
    WIRE_ENTRY_MAX = 64 + 65535 + 2 * 6000 + WIRE_EDE_MAX, /* 65535 / 11 bytes a record < 6000 records */
    WIRE_RR_MAX = 6000
};

/* Key flags: what must not be shared between questions of the same name, type and class. */
enum { KEY_DO = 1, KEY_CD = 2 };

/* What a client's query asks of us. Everything but QUERY_OK is answered by wire_error(), or not at all. */
enum verdict {
    QUERY_OK,
    QUERY_DROP,    /* shorter than a header, or QR=1: answering could loop (RFC 1035 4.1.1, RFC 8906) */
    QUERY_FORMERR, /* RFC 9619 (QDCOUNT), RFC 6891 6.1.1 (two OPT), lying counts, bad names, trailing bytes */
    QUERY_NOTIMP,  /* an opcode other than QUERY */
    QUERY_BADVERS, /* EDNS version above 0 (RFC 6891 6.1.3) */
    QUERY_REFUSED, /* AXFR, IXFR: a cache has no zone to transfer */
    QUERY_ANY,     /* ANY over UDP: a synthesised HINFO (RFC 8482 4.2) */
    QUERY_INVALID  /* a name under invalid.: NXDOMAIN without asking anybody (RFC 6761 6.4). The self-probe's question */
};

/* Client flags, kept to write the answer. */
enum { CLIENT_RD = 1, CLIENT_CD = 2, CLIENT_AD = 4, CLIENT_DO = 8, CLIENT_EDNS = 16 };

/* What is kept of a query until its answer is written; 268 octets, lives in shared memory for misses. */
struct client {
    uint16_t id;        /* network order, copied as it came */
    uint16_t udp_size;  /* what the client can take over UDP: 512 without EDNS, else its size clamped to [512, 1232] */
    uint8_t flags;      /* CLIENT_* */
    uint8_t opcode;
    uint16_t question_len; /* 0 when no question could be parsed */
    uint8_t question[WIRE_QUESTION_MAX]; /* name, type, class as the client wrote them (0x20 case kept) */
};

enum kind { KIND_SUCCESS = 0, KIND_DENIAL = 1, KIND_FAILURE = 2 };

struct entry {
    uint64_t hash;        /* wire_hash() of the key */
    uint64_t inserted;    /* ms of CLOCK_BOOTTIME, as are the next two */
    uint64_t expires;
    uint64_t stale_until; /* >= expires; until then it may be given when no server answers (RFC 8767) */
    uint32_t zone_tag;    /* which configuration of the zone made it: an entry of another tag is a miss */
    uint16_t zone;        /* row of the zone in the configuration */
    uint16_t wire_len;
    uint16_t rr_count;
    uint16_t section[3];  /* ANCOUNT, NSCOUNT, ARCOUNT; their sum is rr_count */
    uint16_t question_len;
    uint16_t ede_len;     /* 0: none; else INFO-CODE (network order) and EXTRA-TEXT */
    uint8_t kind;         /* enum kind */
    uint8_t key_flags;    /* KEY_* */
    uint8_t rcode;
    uint8_t ad;           /* the upstream's AD bit */
    uint32_t hits;        /* of a copy out of the table: how often it was hit, up to 255 */
    uint8_t rotate;       /* addresses in turn: which is first follows from the client's id */
    uint8_t stale;        /* its life was over when it was given again (RFC 8767) */
    uint8_t reserved[2];
};
_Static_assert(sizeof(struct entry) == 64, "the entry header is one cache line; core/message.py reads it by offset");
#define ENTRY_TTLS(e) (sizeof(struct entry) + (((size_t)(e)->wire_len + 1) & ~(size_t)1))
#define ENTRY_LEN(e) (ENTRY_TTLS(e) + 2 * (size_t)(e)->rr_count + (e)->ede_len)

/* Zone policy for entry.c: bounds of a TTL in seconds, see config's success, denial. */
struct policy {
    uint32_t success_max, success_min, denial_max, denial_min, failure;
    uint32_t zone_tag;
    uint16_t zone;
};

enum reply_verdict {
    REPLY_OK,
    REPLY_MALFORMED, /* does not parse to its end, counts lie, a record or name is cut */
    REPLY_MISMATCH,  /* QR=0, other opcode, or the question is not the key's (RFC 5452 9.1) */
    REPLY_TRUNCATED, /* TC=1: ask over TCP */
    REPLY_TOO_LONG   /* re-compressed it is longer than 65535 */
};

/* --- wire.c --- */
/* Parses a query of `len` bytes. Fills `client` as far as it got: id, flags and opcode always (len >= 12), question when it
 * parsed. `tcp` lifts the ANY rule: ANY over TCP is an ordinary question. */
enum verdict wire_parse_query(const uint8_t *p, size_t len, int tcp, struct client *client);
/* Key of a parsed client: question in lower case + KEY_* flags. Returns its length. `key` holds WIRE_KEY_MAX. */
size_t wire_key(const struct client *client, uint8_t *key);
/* Keyed 64-bit hash of a key (folded 64x64 multiply, as wyhash); `seed` is the table's secret. */
uint64_t wire_hash(const uint8_t *key, size_t len, uint64_t seed);
/* The question an upstream gets: RD=1, AD=1 (so one entry serves both, RFC 6840 5.7), CD from the key, our own OPT with
 * size 1232 and DO from the key. Returns its length; `out` holds WIRE_HEADER + WIRE_QUESTION_MAX + WIRE_OPT. */
size_t wire_make_query(const uint8_t *key, size_t key_len, uint16_t id, uint8_t *out);

/* --- names.c --- */
/* Length of the uncompressed name at p[at..len), or 0: compressed, cut or longer than 255. */
size_t name_skip_plain(const uint8_t *p, size_t len, size_t at);
/* Expands the name at p[at..len) into out[255]. Returns its length, 0 when malformed; *next = offset behind it in p. A
 * pointer must point before the name's own start, so a chain is finite and its cost linear. */
size_t name_expand(const uint8_t *p, size_t len, size_t at, uint8_t *out, size_t *next);
/* Lower case of an uncompressed name, A-Z only (RFC 4343). Length bytes are < 64, below 'A', so no label walk is needed. */
void name_lower(uint8_t *out, const uint8_t *name, size_t len);

/* --- entry.c --- */
/* Checks a reply against the key and makes an entry of it. `now` in ms of CLOCK_BOOTTIME. out holds WIRE_ENTRY_MAX.
 * TTLs are clamped to the policy, equal inside an RRset (RFC 2181 5.2); life is the least of them; a denial lives
 * min(SOA TTL, SOA.minimum) within the policy (RFC 2308 5), at most 5 s when it has no SOA; any rcode but NOERROR and
 * NXDOMAIN is a KIND_FAILURE without records. *out_len is set on REPLY_OK only. */
enum reply_verdict wire_make_entry(const uint8_t *key, size_t key_len, const uint8_t *reply, size_t len, uint64_t seed,
                                   const struct policy *policy, uint64_t now, uint8_t *out, size_t *out_len);
/* An entry of our own making without records: a failure (SERVFAIL) with an Extended DNS Error (RFC 8914), `ttl` seconds. */
size_t wire_failure_entry(const uint8_t *key, size_t key_len, uint64_t seed, uint8_t rcode, const uint8_t *ede, size_t ede_len,
                          uint32_t ttl, uint16_t zone, uint32_t zone_tag, uint64_t now, uint8_t *out);

/* --- render.c --- */
/* True when the blob's lengths and offsets are consistent: what stands between a damaged slot and an overrun. */
int wire_entry_ok(const uint8_t *blob, size_t len);
/* Writes the answer for `client` from an entry that passed wire_entry_ok. TTLs are aged by now - inserted. `limit` is 65535
 * for TCP, client->udp_size for UDP: what does not fit is dropped from the end, TC=1 only when an answer or authority
 * record was dropped (RFC 2181 9). Returns the length; `out` holds `limit` bytes, at least 512. */
size_t wire_render(const uint8_t *blob, const struct client *client, uint64_t now, size_t limit, uint8_t *out);
/* An answer without records: the verdicts above, an ACL's REFUSED, an overload. ede = WIRE_NO_EDE for none.
 * Returns 0 for QUERY_DROP. `out` holds 512. */
size_t wire_error(enum verdict verdict, const struct client *client, uint16_t ede, uint8_t *out);
#endif
