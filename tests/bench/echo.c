/* The floor of the benchmark: a UDP server that answers every datagram with itself, the QR bit turned on.
 *
 *     echo [--unbatched] ADDRESS PORT
 *
 * It waits as the hit path of a real server must (epoll, then a batch of reads and a batch of writes on one
 * SO_REUSEPORT socket) and does nothing else, so what a DNS server costs above it is the price of DNS.
 * --unbatched is the same with one recvfrom and one sendto per datagram. It runs until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 64,       /* as nodedns takes at a time: beyond it a system call's share of a datagram is under 1 % */
    DATAGRAM = 1232,  /* the EDNS size of DNS flag day 2020: nothing in the mixes is larger */
    DNS_HEADER = 12,  /* RFC 1035 section 4.1.1 */
    FLAGS = 2,
    QR = 0x80,
    QUEUE = 1 << 20, /* the 300 queries dnsperf keeps in flight cost 768 bytes each: the default 208 KiB would lose some */
};

static uint8_t packets[BATCH][DATAGRAM];
static struct sockaddr_in peers[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr batch[BATCH];

static void die(const char *what) {
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int listen_on(const char *address, int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, queue = QUEUE, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (inet_pton(AF_INET, address, &here.sin_addr) != 1) {
        fprintf(stderr, "echo: ADDRESS: expected an IPv4 address, got \"%s\"\n", address);
        exit(2);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) die("SO_REUSEPORT");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &queue, sizeof queue) < 0) die("SO_RCVBUF");
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) die("bind");
    return fd;
}

/* Returns after the queue is empty: a full batch may have left something behind, a short one has not. */
static void echo_batches(int fd) {
    int got;
    do {
        for (int i = 0; i < BATCH; i++) {
            parts[i].iov_len = DATAGRAM;
            batch[i].msg_hdr.msg_namelen = sizeof peers[i];
        }
        got = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
        if (got <= 0) return;
        for (int i = 0; i < got; i++) {
            parts[i].iov_len = batch[i].msg_len;
            if (batch[i].msg_len >= DNS_HEADER) packets[i][FLAGS] |= QR;
        }
        for (int sent = 0; sent < got;) {
            int n = sendmmsg(fd, batch + sent, (unsigned)(got - sent), 0);
            sent += n > 0 ? n : 1; /* one unreachable client must not hold up the others */
        }
    } while (got == BATCH);
}

static void echo_singly(int fd) {
    for (;;) {
        socklen_t length = sizeof peers[0];
        ssize_t got = recvfrom(fd, packets[0], DATAGRAM, MSG_DONTWAIT, (struct sockaddr *)&peers[0], &length);
        if (got < 0) return;
        if (got >= DNS_HEADER) packets[0][FLAGS] |= QR;
        (void)!sendto(fd, packets[0], (size_t)got, 0, (struct sockaddr *)&peers[0], length);
    }
}

int main(int argc, char **argv) {
    int unbatched = argc > 1 && strcmp(argv[1], "--unbatched") == 0;
    if (argc - unbatched != 3) {
        fprintf(stderr, "usage: echo [--unbatched] ADDRESS PORT\n");
        return 2;
    }
    for (int i = 0; i < BATCH; i++) {
        parts[i].iov_base = packets[i];
        batch[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int fd = listen_on(argv[unbatched + 1], atoi(argv[unbatched + 2]));
    int waiter = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wanted = {.events = EPOLLIN}, ready;
    if (waiter < 0 || epoll_ctl(waiter, EPOLL_CTL_ADD, fd, &wanted) < 0) die("epoll");
    for (;;) {
        if (epoll_wait(waiter, &ready, 1, -1) < 0 && errno != EINTR) die("epoll_wait");
        if (unbatched)
            echo_singly(fd);
        else
            echo_batches(fd);
    }
}
