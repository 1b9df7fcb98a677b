/* names.c: owner names (RFC 1035 3.1, 4.1.4). */
#include "wire.h"
#include <string.h>

size_t name_skip_plain(const uint8_t *p, size_t len, size_t at)
{
    size_t start = at;
    while (at < len) {
        uint8_t n = p[at];
        if (n == 0)
            return at + 1 - start <= WIRE_NAME_MAX ? at + 1 - start : 0;
        if (n > 63 || at + 1 - start + n > WIRE_NAME_MAX)
            return 0;
        at += 1 + (size_t)n;
    }
    return 0;
}

/* A name has at most 127 labels, and a compressor puts at least one label between two pointers. Without the bound a reply
 * of 4,000 owners that all lead into one chain of 8,000 bare pointers costs 32 million steps. */
enum { JUMPS_MAX = 127 };

size_t name_expand(const uint8_t *p, size_t len, size_t at, uint8_t *out, size_t *next)
{
    size_t written = 0, lowest = at;
    int jumps = 0;
    while (at < len) {
        uint8_t n = p[at];
        if (n < 64) {
            if (written + 1 + n > WIRE_NAME_MAX || at + 1 + n > len)
                return 0;
            memcpy(out + written, p + at, 1 + (size_t)n);
            written += 1 + (size_t)n;
            at += 1 + (size_t)n;
            if (n == 0) {
                if (!jumps)
                    *next = at;
                return written;
            }
        } else {
            if (n < 0xc0 || at + 2 > len)
                return 0;
            size_t target = ((size_t)(n & 0x3f) << 8) | p[at + 1];
            if (!jumps)
                *next = at + 2;
            /* Strictly downwards from the lowest place seen: a loop is impossible. */
            if (target >= lowest || target < WIRE_HEADER || ++jumps > JUMPS_MAX)
                return 0;
            lowest = at = target;
        }
    }
    return 0;
}

void name_lower(uint8_t *out, const uint8_t *name, size_t len)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8) { /* eight at a time: add so that only A-Z carry into bit 7, then turn that bit into 0x20 */
        uint64_t w, low7;
        memcpy(&w, name + i, 8);
        low7 = w & 0x7f7f7f7f7f7f7f7fu;
        uint64_t upper = (low7 + 0x3f3f3f3f3f3f3f3fu) & ~(low7 + 0x2525252525252525u) & ~w & 0x8080808080808080u;
        w |= upper >> 2;
        memcpy(out + i, &w, 8);
    }
    for (; i < len; i++)
        out[i] = (uint8_t)(name[i] + ((uint8_t)(name[i] - 'A') < 26 ? 32 : 0));
}
