/* bytes.h: network-order loads and stores, and the OPT record, shared by the wire files. */
#ifndef NODEDNS_BYTES_H
#define NODEDNS_BYTES_H
#include "wire.h"
#include <string.h>

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline void put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }
static inline uint64_t le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* Our OPT (RFC 6891 6.1.2): size 1232, version 0, `extended` = upper 8 bits of the rcode. ede_len octets of Extended DNS
 * Error data follow when not 0 (RFC 8914). Returns the octets written. */
static inline size_t put_opt(uint8_t *p, unsigned extended, int dnssec_ok, const uint8_t *ede, size_t ede_len)
{
    p[0] = 0;
    put16(p + 1, 41);
    put16(p + 3, WIRE_UDP_MAX);
    put32(p + 5, extended << 24 | (dnssec_ok ? 0x8000u : 0u));
    put16(p + 9, ede_len ? (unsigned)ede_len + 4 : 0);
    if (!ede_len)
        return WIRE_OPT;
    put16(p + 11, 15);
    put16(p + 13, (unsigned)ede_len);
    memcpy(p + 15, ede, ede_len);
    return WIRE_OPT + 4 + ede_len;
}
#endif
