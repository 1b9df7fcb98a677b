/* fuzz_entry.c: any blob, as from a damaged slot -> wire_entry_ok -> wire_render, which must neither read nor write beyond.
 * Input: one octet of client flags | two octets that choose the limit | the blob. */
#include "../../nodedns/native/wire.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t limit = ((size_t)data[1] << 8 | data[2]) | 512, len = size - 3;
    uint8_t *blob = malloc(len), *out = malloc(limit);
    if (!blob || !out)
        abort();
    memcpy(blob, data + 3, len);
    struct client client = {.id = 1, .udp_size = 512, .flags = data[0]};
    if (wire_entry_ok(blob, len)) {
        struct entry e;
        memcpy(&e, blob, sizeof e);
        client.question_len = e.question_len;
        if (wire_render(blob, &client, 1u << 20, limit, out) > limit)
            abort();
    }
    free(blob);
    free(out);
    return 0;
}
