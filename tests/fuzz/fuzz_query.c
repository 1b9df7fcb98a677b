/* fuzz_query.c: any packet -> wire_parse_query, and all that follows from its verdict. First octet: UDP or TCP. */
#include "../../nodedns/native/wire.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client client;
    uint8_t key[WIRE_KEY_MAX], out[512], query[WIRE_HEADER + WIRE_QUESTION_MAX + WIRE_OPT];
    if (size == 0)
        return 0;
    memset(&client, 0, sizeof client);
    enum verdict v = wire_parse_query(data + 1, size - 1, data[0] & 1, &client);
    size_t answer = wire_error(v, &client, 18, out);
    if ((answer == 0) != (v == QUERY_DROP) || answer > sizeof out)
        abort();
    if (!client.question_len)
        return 0;
    size_t n = wire_key(&client, key);
    if (n != client.question_len + 1u || name_skip_plain(key, n, 0) != n - 5)
        abort();
    wire_hash(key, n, 1);
    /* What we ask upstream must be a query that we would take ourselves. */
    size_t sent = wire_make_query(key, n, 1, query);
    struct client again;
    if (v == QUERY_OK && wire_parse_query(query, sent, 1, &again) != QUERY_OK)
        abort();
    return 0;
}
