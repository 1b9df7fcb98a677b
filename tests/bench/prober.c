/* A paced client: asks at a steady rate and reports how long each answer took.
 *
 *     prober ADDRESS PORT RATE SECONDS FILE        FILE: one "name A" per line, as dnsperf reads it
 *
 * Prints one line: "sent N answered N p50_us X p99_us X max_us X".
 * The end of a measurement is the kernel's own receive time (SO_TIMESTAMPNS), taken in the server's send, so the
 * prober may share its CPU with a load generator without its own waiting being counted as the server's. Where it may
 * (root) it also runs before everything else on its CPU: a late prober would ask in bursts and then measure those.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    NAMES = 32768,   /* more than the 20,000 names of the largest mix's head */
    QUERY = 300,     /* 12 bytes header + 255 name + 4 type and class, RFC 1035 section 2.3.4 */
    IDS = 65536,     /* at 5,000/s an id comes round after 13 s, far beyond any answer */
    LINGER_MS = 200, /* answers later than this after the last question count as lost */
};
static const int64_t SECOND = 1000000000;

static struct { uint8_t wire[QUERY]; size_t length; } queries[NAMES];
static int64_t sent_at[IDS];
static uint32_t *took; /* nanoseconds, one for each answer */
static long answered;

static void die(const char *what) {
    fprintf(stderr, "prober: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The receive stamps are CLOCK_REALTIME (socket(7)), so everything here is. */
static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static size_t write_query(uint8_t *wire, char *name) {
    static const uint8_t header[12] = {0, 0, 1, 0, 0, 1}; /* RD, one question */
    static const uint8_t tail[5] = {0, 0, 1, 0, 1};       /* root label, A, IN */
    size_t at = sizeof header;
    memcpy(wire, header, sizeof header);
    for (char *label = strtok(name, "."); label; label = strtok(NULL, ".")) {
        size_t length = strlen(label);
        if (length > 63 || at + length + 1 + sizeof tail > QUERY) {
            fprintf(stderr, "prober: FILE: name too long at label \"%s\"\n", label);
            exit(2);
        }
        wire[at] = (uint8_t)length;
        memcpy(wire + at + 1, label, length);
        at += length + 1;
    }
    memcpy(wire + at, tail, sizeof tail);
    return at + sizeof tail;
}

static long read_queries(const char *path) {
    char line[512], name[256];
    long count = 0;
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    while (count < NAMES && fgets(line, sizeof line, file))
        if (sscanf(line, "%255s", name) == 1) {
            queries[count].length = write_query(queries[count].wire, name);
            count++;
        }
    fclose(file);
    return count;
}

static int connect_to(const char *address, int port) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &there.sin_addr) != 1) die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0) die("SO_TIMESTAMPNS");
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0) die("connect");
    return fd;
}

static int64_t received_at(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            return t.tv_sec * SECOND + t.tv_nsec;
        }
    return now();
}

static void drain(int fd) {
    uint8_t answer[4096];
    char control[128];
    for (;;) {
        struct iovec part = {answer, sizeof answer};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        if (recvmsg(fd, &message, 0) < 2) return;
        int id = answer[0] << 8 | answer[1];
        if (!sent_at[id]) continue; /* a duplicate: the first answer is the client's */
        took[answered++] = (uint32_t)(received_at(&message) - sent_at[id]);
        sent_at[id] = 0;
    }
}

static void wait_until(int fd, int64_t when) {
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    for (int64_t left; (left = when - now()) > 0;) {
        struct timespec span = {left / SECOND, left % SECOND};
        if (ppoll(&waited, 1, &span, NULL) > 0) drain(fd);
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(int percent) {
    return answered ? took[(answered - 1) * percent / 100] / 1000.0 : 0.0;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: prober ADDRESS PORT RATE SECONDS FILE\n");
        return 2;
    }
    long rate = atol(argv[3]), total = (long)((double)rate * atof(argv[4])), names = read_queries(argv[5]);
    int fd = connect_to(argv[1], atoi(argv[2]));
    (void)!sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}); /* EPERM: as good as it gets */
    took = calloc((size_t)total + 1, sizeof *took);
    if (!took || names == 0 || rate <= 0) die("nothing to ask");
    int64_t start = now();
    for (long i = 0; i < total; i++) {
        wait_until(fd, start + i * SECOND / rate);
        uint8_t *wire = queries[i % names].wire;
        wire[0] = (uint8_t)(i >> 8), wire[1] = (uint8_t)i;
        sent_at[i % IDS] = now();
        (void)!send(fd, wire, queries[i % names].length, 0); /* a refused send is a lost question, counted as such */
    }
    wait_until(fd, now() + LINGER_MS * (SECOND / 1000));
    qsort(took, (size_t)answered, sizeof *took, by_size);
    printf("sent %ld answered %ld p50_us %.1f p99_us %.1f max_us %.1f\n", total, answered, percentile_us(50),
           percentile_us(99), percentile_us(100));
    return 0;
}
