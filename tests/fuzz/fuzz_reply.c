/* fuzz_reply.c: any reply -> wire_make_entry; what it makes must hold together and render well formed at every limit.
 * Input: one octet of key flags | one octet: which key | the reply. */
#include "../../nodedns/native/wire.h"
#include "walk.h"
#include <stdlib.h>
#include <string.h>

/* www.a.b. with types A, SOA and ANY: the corpus asks these, so that mutations pass the check of the question. */
static const uint8_t NAME[] = "\3www\1a\1b";
static const uint8_t TYPES[] = {1, 6, 255, 28};

static size_t make_key(uint8_t which, uint8_t flags, uint8_t *key)
{
    memcpy(key, NAME, sizeof NAME);
    const uint8_t rest[] = {0, TYPES[which & 3], 0, 1, flags & 3};
    memcpy(key + sizeof NAME, rest, sizeof rest);
    return sizeof NAME + sizeof rest;
}

static void render(const uint8_t *blob, const struct client *client, uint64_t now, size_t limit)
{
    uint8_t *out = malloc(limit); /* exactly: one octet more is found */
    if (!out)
        abort();
    size_t n = wire_render(blob, client, now, limit, out);
    if (n > limit || !walk_message(out, n))
        abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct policy policy = {3600, 0, 1800, 0, 5, 7, 1};
    static const size_t limits[] = {512, 513, 700, 1232, 65535};
    static uint8_t out[WIRE_ENTRY_MAX];
    uint8_t key[WIRE_KEY_MAX];
    size_t len = 0;
    if (size < 2)
        return 0;
    size_t key_len = make_key(data[1], data[0], key);
    memset(out, 0x5a, sizeof out); /* an octet read before it is written is the same in every run, and no name's end */
    if (wire_make_entry(key, key_len, data + 2, size - 2, 1, &policy, 1000, out, &len) != REPLY_OK)
        return 0;
    uint8_t *blob = malloc(len);
    if (!blob || len > WIRE_ENTRY_MAX)
        abort();
    memcpy(blob, out, len);
    if (!wire_entry_ok(blob, len))
        abort();
    struct client client = {.id = 1, .udp_size = 512, .question_len = (uint16_t)(key_len - 1)};
    memcpy(client.question, key, key_len - 1);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (int edns = 0; edns < 2; edns++) {
            client.flags = edns ? CLIENT_EDNS | CLIENT_DO : 0;
            render(blob, &client, 2500, limits[i]);
        }
    free(blob);
    return 0;
}
