/* walk.h: is a message well formed? Written apart from names.c and entry.c, to judge what they make. */
#ifndef NODEDNS_WALK_H
#define NODEDNS_WALK_H
#include <stddef.h>
#include <stdint.h>

/* Offset behind the name at m[at..len), 0 when malformed. A pointer must lead before itself. */
static size_t walk_name(const uint8_t *m, size_t len, size_t at)
{
    size_t behind = 0, octets = 0;
    for (;;) {
        if (at >= len)
            return 0;
        if (m[at] >= 0xc0) {
            size_t to = at + 1 < len ? (size_t)(m[at] & 0x3f) << 8 | m[at + 1] : len;
            if (to >= at)
                return 0;
            behind = behind ? behind : at + 2;
            at = to;
            continue;
        }
        octets += 1 + (size_t)m[at];
        if (m[at] > 63 || octets > 255)
            return 0;
        if (m[at] == 0)
            return behind ? behind : at + 1;
        at += 1 + (size_t)m[at];
    }
}

/* True when the header's counts and every length lead exactly to len. */
static int walk_message(const uint8_t *m, size_t len)
{
    if (len < 12 || m[4] != 0 || m[5] != 1)
        return 0;
    size_t at = walk_name(m, len, 12);
    if (at == 0 || at + 4 > len)
        return 0;
    at += 4;
    unsigned long records = 0;
    for (int i = 6; i < 12; i += 2)
        records += (unsigned long)m[i] << 8 | m[i + 1];
    for (; records > 0; records--) {
        at = walk_name(m, len, at);
        if (at == 0 || at + 10 > len)
            return 0;
        at += 10 + ((size_t)m[at + 8] << 8 | m[at + 9]);
        if (at > len)
            return 0;
    }
    return at == len;
}
#endif
