/* stress.c: many processes on one small table while the parent kills writers at random. Plain C over table.c, no Python.
 *
 *     stress KILLS MILLISECONDS SEED    -> one line "name=value ..." on stdout; exit code 0 when the run came to its end
 *
 * Every octet of an entry follows from its key and its generation, so a reader can tell any mixture of two writes. The table
 * is so small that keys meet in every bucket; kind and length follow from the generation, so a key moves between size
 * classes and shares all the time, which is when table_put takes its other entries away.
 * Built with TABLE_NO_RECHECK the readers skip the re-check of the control word: that run must see torn entries. */
#include "../../nodedns/native/table.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WRITERS = 3,
    READERS = 2,
    SMALL_BUCKETS = 4,
    KEYS = 2 * TABLE_WAYS * SMALL_BUCKETS, /* twice as many as there are small slots, and one bucket of large ones */
    SIZE = TABLE_FIXED + (SMALL_BUCKETS + 1) * sizeof(struct bucket) + TABLE_WAYS * (SMALL_BUCKETS * TABLE_SMALL + TABLE_LARGE),
    QUESTION = 14, /* \x08 and eight digits, root, type, class */
    FINAL = 200    /* the number of the writer that tries every slot at the end */
};
static const uint64_t NOW = 1000, FOR_EVER = 1ull << 40;

struct shared {
    _Atomic int stop;
    _Atomic unsigned long checked, torn, stored, lost;
};

static struct table table;
static struct shared *shared;

static uint64_t mix(uint64_t x) /* splitmix64: neighbours share no octet */
{
    x = (x + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t draw(uint64_t *dice) { return *dice = mix(*dice); }

static size_t make_key(unsigned number, uint8_t *key)
{
    char digits[9];
    snprintf(digits, sizeof digits, "%08u", number % 100000000u);
    key[0] = 8;
    memcpy(key + 1, digits, 8);
    memcpy(key + 9, "\0\0\1\0\1\0", 6);
    return QUESTION + 1;
}

/* The entry of a key and a generation. Returns its length. */
static size_t make_entry(unsigned number, uint64_t generation, uint8_t *out)
{
    uint8_t key[QUESTION + 1];
    size_t key_len = make_key(number, key);
    uint64_t x = mix(generation ^ (uint64_t)number << 40);
    struct entry e;
    memset(&e, 0, sizeof e);
    e.hash = wire_hash(key, key_len, table.seed);
    e.inserted = generation;
    e.expires = e.stale_until = FOR_EVER;
    e.zone_tag = 7; /* one for all: entries of different tags never meet */
    e.question_len = QUESTION;
    e.kind = x & 1 ? KIND_DENIAL : KIND_SUCCESS;
    size_t most = x & 6 ? TABLE_SMALL : TABLE_LARGE, least = sizeof e + WIRE_HEADER + QUESTION;
    e.wire_len = (uint16_t)((least + (x >> 3) % (most - least)) - sizeof e) & ~1u;
    memcpy(out, &e, sizeof e);
    uint8_t *wire = out + sizeof e;
    for (size_t at = 0; at < e.wire_len; at += 8) {
        uint64_t word = x + at * 0x9e3779b97f4a7c15u;
        memcpy(wire + at, &word, e.wire_len - at < 8 ? e.wire_len - at : 8);
    }
    memcpy(wire + WIRE_HEADER, key, QUESTION);
    return ENTRY_LEN(&e);
}

/* Is the copy exactly what some writer meant? */
static int whole(const uint8_t *copy, size_t len)
{
    static uint8_t meant[TABLE_LARGE + 8];
    struct entry e;
    memcpy(&e, copy, sizeof e);
    char digits[9] = {0};
    memcpy(digits, copy + sizeof e + WIRE_HEADER + 1, 8);
    return make_entry((unsigned)strtoul(digits, NULL, 10), e.inserted, meant) == len && memcmp(copy, meant, len) == 0;
}

static void check(const uint8_t *copy, size_t len)
{
    struct entry e;
    memcpy(&e, copy, sizeof e);
    if (len <= sizeof e && e.question_len == 0)
        return; /* taken away by table_put */
    atomic_fetch_add(&shared->checked, 1);
    if (!whole(copy, len))
        atomic_fetch_add(&shared->torn, 1);
}

static void read_for_ever(uint64_t dice)
{
    static _Alignas(8) uint8_t copy[TABLE_LARGE + 8];
    uint8_t key[QUESTION + 1];
    while (!atomic_load(&shared->stop)) {
        size_t key_len = make_key((unsigned)(draw(&dice) % KEYS), key);
        size_t len = table_get(&table, key, key_len, wire_hash(key, key_len, table.seed), NOW, copy);
        ((struct entry *)(void *)copy)->hits = 0; /* of the copy alone */
        if (len)
            check(copy, len);
        unsigned hits;
        len = table_read(&table, draw(&dice) % table_slots(&table), copy, &hits);
        if (len)
            check(copy, len);
    }
}

static void write_for_ever(uint8_t writer, uint64_t dice)
{
    static _Alignas(8) uint8_t entry[TABLE_LARGE + 8];
    uint32_t epoch = table_epoch(&table, writer);
    for (;;) {
        unsigned number = (unsigned)(draw(&dice) % KEYS);
        size_t len = make_entry(number, 1 + (draw(&dice) >> 32), entry);
        int evicted;
        enum put put = table_put(&table, entry, len, writer, epoch, NOW, &evicted);
        atomic_fetch_add(put == PUT_STORED ? &shared->stored : &shared->lost, 1);
    }
}

static pid_t start(int number, uint64_t dice)
{
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        exit(2);
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing of this test outlives it */
    if (getppid() != parent)
        _exit(0);
    if (number < WRITERS)
        write_for_ever((uint8_t)number, dice);
    read_for_ever(dice);
    _exit(0);
}

static void reap(pid_t child)
{
    kill(child, SIGKILL);
    if (waitpid(child, NULL, 0) != child)
        exit(2);
}

/* Slots claimed: those signed by a writer under its present epoch, or all for -1. */
static unsigned claims(int writer)
{
    unsigned found = 0;
    uint32_t signature = writer < 0 ? 0 : table_epoch(&table, (uint8_t)writer) << 8 | (uint8_t)writer;
    for (int c = 0; c < 2; c++)
        for (uint32_t b = 0; b < table.buckets[c]; b++)
            for (int way = 0; way < TABLE_WAYS; way++) {
                uint64_t word = atomic_load(&table.heads[c][b].control[way]);
                found += (word & 1) && (writer < 0 || word >> 32 == signature);
            }
    return found;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Kills one writer after another; *left counts the claims that died with them. Returns how many were killed. */
static int kill_at_random(int kills, double until, pid_t *writers, uint64_t *dice, unsigned *left)
{
    int killed = 0;
    for (; killed < kills && seconds() < until; killed++) {
        struct timespec moment = {0, (long)(draw(dice) % 8000000)}; /* any instruction, 4 ms from now on the average */
        nanosleep(&moment, NULL);
        int k = (int)(draw(dice) % WRITERS);
        reap(writers[k]);
        *left += claims(k);
        table_raise_epoch(&table, (uint8_t)k);
        writers[k] = start(k, draw(dice));
    }
    return killed;
}

/* With everyone dead, one writer stores until every slot had its turn. Returns how many puts failed or did not read back. */
static unsigned try_every_slot(void)
{
    static _Alignas(8) uint8_t entry[TABLE_LARGE + 8], copy[TABLE_LARGE + 8];
    uint8_t key[QUESTION + 1];
    unsigned failed = 0;
    for (unsigned n = 0; n < 40 * table_slots(&table); n++) {
        int evicted;
        size_t len = make_entry(KEYS + n, 1 + n, entry), key_len = make_key(KEYS + n, key);
        enum put put = table_put(&table, entry, len, FINAL, table_epoch(&table, FINAL), NOW, &evicted);
        size_t got = table_get(&table, key, key_len, wire_hash(key, key_len, table.seed), NOW, copy);
        ((struct entry *)(void *)copy)->hits = 0;
        failed += put != PUT_STORED || got != len || memcmp(copy, entry, len) != 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint64_t dice = strtoull(argv[3], NULL, 10);
    void *base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || shared == MAP_FAILED)
        return 2;
    table_format(base, SIZE, 1);
    table_open(&table, base, SIZE);
    pid_t children[WRITERS + READERS];
    for (int i = 0; i < WRITERS + READERS; i++)
        children[i] = start(i, draw(&dice));
    unsigned left = 0;
    int killed = kill_at_random(atoi(argv[1]), seconds() + atof(argv[2]) / 1000, children, &dice, &left);
    for (int i = 0; i < WRITERS; i++) {
        reap(children[i]);
        left += claims(i);
        table_raise_epoch(&table, (uint8_t)i);
    }
    atomic_store(&shared->stop, 1);
    for (int i = WRITERS; i < WRITERS + READERS; i++)
        waitpid(children[i], NULL, 0);
    unsigned failed = try_every_slot();
    printf("killed=%d claims_left=%u checked=%lu torn=%lu stored=%lu lost=%lu unusable=%u claims_at_end=%u\n", killed, left,
           shared->checked, shared->torn, shared->stored, shared->lost, failed, claims(-1));
    return 0;
}
