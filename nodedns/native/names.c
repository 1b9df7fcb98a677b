/* names.c: owner names, read and written (RFC 1035 3.1, 4.1.4). */
#include "names.h"

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

/* True when the name written at out[at], pointers followed, equals the lower-case plain name. */
static int name_at_equals(const uint8_t *out, size_t at, const uint8_t *name)
{
    for (;;) {
        while (out[at] >= 0xc0)
            at = (size_t)(out[at] & 0x3f) << 8 | out[at + 1];
        uint8_t n = out[at], low[64];
        if (n != *name)
            return 0;
        if (n == 0)
            return 1;
        name_lower(low, out + at + 1, n);
        if (memcmp(low, name + 1, n) != 0)
            return 0;
        at += 1 + (size_t)n;
        name += 1 + n;
    }
}

static unsigned suffix_slot(const uint8_t *lower, size_t len)
{
    uint32_t h = 2166136261u; /* FNV-1a: short keys, and the table lives for one message only */
    for (size_t i = 0; i < len; i++)
        h = (h ^ lower[i]) * 16777619u;
    return (h ^ h >> 15) & (SUFFIX_SLOTS - 1);
}

int put_octets(struct writer *w, const uint8_t *from, size_t n)
{
    if (w->end + n > 65535)
        return 0;
    memcpy(w->out + w->end, from, n);
    w->end += n;
    return 1;
}

int put_name(struct writer *w, const uint8_t *name, size_t len, int compress)
{
    uint8_t lower[WIRE_NAME_MAX];
    size_t start = w->end; /* what is remembered from here on is not yet whole: no match for the rest of this name */
    if (w->end + len > 65535)
        return 0;
    name_lower(lower, name, len);
    for (size_t i = 0; name[i] != 0; i += 1 + (size_t)name[i]) {
        unsigned slot = suffix_slot(lower + i, len - i);
        while (w->suffix[slot] && (w->suffix[slot] >= start || !name_at_equals(w->out, w->suffix[slot], lower + i)))
            slot = (slot + 1) & (SUFFIX_SLOTS - 1);
        if (w->suffix[slot] && !compress)
            return put_octets(w, name + i, len - i); /* its own suffixes are remembered as well, or there was no room */
        if (w->suffix[slot]) {
            put16(w->out + w->end, 0xc000u | w->suffix[slot]);
            w->end += 2;
            return 1;
        }
        if (w->suffixes < SUFFIXES && w->end < POINTER_MAX) {
            w->suffix[slot] = (uint16_t)w->end;
            w->suffixes++;
        }
        memcpy(w->out + w->end, name + i, 1 + (size_t)name[i]);
        w->end += 1 + (size_t)name[i];
    }
    w->out[w->end++] = 0;
    return 1;
}
