/* counters.c: see counters.h. */
#include "counters.h"

enum { BLOCKS_AT = COUNTERS_HEADER + PARENT_VALUES * sizeof(uint64_t) };

size_t counters_size(unsigned slots) { return BLOCKS_AT + (size_t)slots * 2 * sizeof(struct counter_block); }

struct counter_block *counters_block(void *base, unsigned slot, int miss)
{
    return (struct counter_block *)((char *)base + BLOCKS_AT) + 2 * slot + (miss ? 1 : 0);
}

_Atomic uint64_t *counters_parent(void *base) { return (_Atomic uint64_t *)(void *)((char *)base + COUNTERS_HEADER); }

/* The fences order stores for a later reader of a dead process's memory: the compiler must not move them, the CPU retires them
 * in program order before the process can be reaped. */
void journal_store(struct journal *j, struct counter_block *b)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&j->armed, 1, memory_order_release);
    for (uint32_t i = 0; i < j->count && i < JOURNAL_ITEMS; i++)
        if (j->item[i].index < JOURNALED)
            atomic_store_explicit(&b->value[j->item[i].index], j->item[i].value, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

void journal_close(struct journal *j)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&j->armed, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    j->count = 0;
}
