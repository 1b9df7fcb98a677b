/* samples.c: see samples.h. */
#include "samples.h"
#include <string.h>

size_t samples_size(unsigned slots) { return SAMPLES_HEADER + (size_t)slots * 2 * sizeof(struct sample_ring); }
size_t wires_size(unsigned slots) { return (size_t)slots * 2 * SAMPLES * sizeof(sample_wire); }
_Atomic uint32_t *samples_every(void *base) { return base; }

struct sample_ring *samples_ring(void *base, unsigned ring)
{
    return (struct sample_ring *)(void *)((char *)base + SAMPLES_HEADER) + ring;
}

sample_wire *samples_wires(void *base, unsigned ring) { return (sample_wire *)base + (size_t)ring * SAMPLES; }

void sample_put(struct sampler *s, const struct note *n, const struct client *c, const uint8_t *client, uint16_t port, const uint8_t *wire,
                size_t size, uint64_t now, uint64_t duration, uint32_t weight)
{
    uint64_t number = atomic_load_explicit(&s->ring->head, memory_order_relaxed);
    struct sample *item = &s->ring->item[number % SAMPLES];
    uint16_t question = c->question_len <= WIRE_QUESTION_MAX ? c->question_len : 0;
    atomic_store_explicit(&item->sequence, 2 * number + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    item->when = now;
    item->duration = duration;
    item->weight = weight;
    item->size = (uint16_t)size;
    item->wire_len = s->wire && size <= SAMPLE_WIRE ? (uint16_t)size : 0;
    item->id = size >= WIRE_HEADER ? (uint16_t)(wire[0] << 8 | wire[1]) : 0;
    item->bits = size >= WIRE_HEADER ? (uint16_t)(wire[2] << 8 | wire[3]) : 0;
    item->udp_size = c->udp_size;
    item->note = *n;
    item->port = port;
    memcpy(item->client, client, sizeof item->client);
    item->question_len = question;
    memcpy(item->question, c->question, question);
    if (item->wire_len)
        memcpy(s->wire[number % SAMPLES], wire, size);
    atomic_store_explicit(&item->sequence, 2 * number + 2, memory_order_release);
    atomic_store_explicit(&s->ring->head, number + 1, memory_order_release);
}

int sample_get(const struct sample_ring *ring, const sample_wire *wires, uint64_t number, struct sample *out, uint8_t *wire)
{
    const struct sample *item = &ring->item[number % SAMPLES];
    if (atomic_load_explicit(&item->sequence, memory_order_acquire) != 2 * number + 2)
        return 0;
    memcpy(out, item, sizeof *out);
    if (wires && wire)
        memcpy(wire, wires[number % SAMPLES], SAMPLE_WIRE);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&item->sequence, memory_order_relaxed) == 2 * number + 2 && out->question_len <= WIRE_QUESTION_MAX &&
           out->wire_len <= SAMPLE_WIRE;
}
