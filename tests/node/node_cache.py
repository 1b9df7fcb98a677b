#!/usr/bin/python3
"""A stand-in for node-cache, as it is seen by its node: its link, its rules, its sockets, its end.

node-cache LOCALIPS UPSTREAM_PORT [IPTABLES]    (LOCALIPS as -localip: "169.254.20.10,10.96.0.10")

What it does, and in which order, is node-cache's (kubernetes/dns cmd/node-cache/app/cache_app.go): a link that is never
set up, addresses on it, twelve rules an address, each looked for with -C and put in front with -I; at SIGTERM the rules
are deleted, then the link, and last the sockets are closed. The answers are those of its upstream, kept for ever. It
runs on nothing but Python.
"""

import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading

LINK = "nodelocaldns"
SKIP, ALLOW = "NodeLocal DNS Cache: skip conntrack", "NodeLocal DNS Cache: allow DNS traffic"


def rules(ip: str) -> list[list[str]]:
    """Table, chain and match of each, in the order in which it makes them."""
    found = []
    for table, chain, ends, protos, target, comment in (
        ("raw", "PREROUTING", ("-d", "--dport", "53"), ("tcp", "udp"), "NOTRACK", SKIP),
        ("filter", "INPUT", ("-d", "--dport", "53"), ("tcp", "udp"), "ACCEPT", ALLOW),
        ("raw", "OUTPUT", ("-s", "--sport", "53"), ("tcp", "udp"), "NOTRACK", SKIP),
        ("filter", "OUTPUT", ("-s", "--sport", "53"), ("tcp", "udp"), "ACCEPT", ALLOW),
        ("raw", "OUTPUT", ("-d", "--dport", "53"), ("tcp", "udp"), "NOTRACK", SKIP),
        ("raw", "OUTPUT", ("-d", "--dport", "8080"), ("tcp",), "NOTRACK", SKIP),
        ("raw", "OUTPUT", ("-s", "--sport", "8080"), ("tcp",), "NOTRACK", SKIP),
    ):
        for proto in protos:
            match = ["-p", proto, ends[0], ip, *ends[1:], "-j", target, "-m", "comment", "--comment", comment]
            found.append(["-t", table, chain, *match])
    return found


class NodeCache:
    """One, serving when built."""

    def __init__(self, ips: list[str], upstream: int, iptables: str) -> None:
        self.ips, self.upstream, self.iptables = ips, upstream, iptables
        self.answers: dict[bytes, bytes] = {}
        self.selector = selectors.DefaultSelector()
        self.over = False
        self.set_up_link()
        for ip in ips:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                self.open(ip, kind)
        self.metrics = socket.create_server(("", 9253), family=socket.AF_INET6, reuse_port=True, dualstack_ipv6=True)
        for rule in (rule for ip in ips for rule in rules(ip)):
            if not self.rule("-C", rule):
                self.rule("-I", rule)

    def set_up_link(self) -> None:
        """A dummy, or a bridge where the kernel has none; an error is ignored, as there."""
        for kind in ("dummy", "bridge"):
            subprocess.run(["ip", "link", "add", LINK, "type", kind], check=False, stderr=subprocess.DEVNULL)
        for ip in self.ips:
            subprocess.run(["ip", "address", "add", f"{ip}/32", "dev", LINK], check=False, stderr=subprocess.DEVNULL)

    def rule(self, verb: str, rule: list[str]) -> bool:
        """One execution of iptables."""
        command = [self.iptables, "-w", "5", *rule[:2], verb, *rule[2:]]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def open(self, ip: str, kind: socket.SocketKind) -> None:
        """One of CoreDNS's sockets."""
        sock = socket.socket(socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE: what Python is too slow for is not the matter
        if kind == socket.SOCK_STREAM:  # as Go does by itself
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, 53))
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.listen(1024)
        self.selector.register(sock, selectors.EVENT_READ, self.datagrams if kind == socket.SOCK_DGRAM else self.accept)

    def datagrams(self, sock: socket.socket) -> None:
        """All that wait."""
        try:
            while True:
                query, client = sock.recvfrom(4096)
                sock.sendto(self.answer(query), client)
        except BlockingIOError:
            return

    def accept(self, sock: socket.socket) -> None:
        """A connection."""
        client, _ = sock.accept()
        self.selector.register(client, selectors.EVENT_READ, self.stream)

    def stream(self, client: socket.socket) -> None:
        """One question of a connection; its client sends one whole and waits."""
        try:
            data = client.recv(4096)
        except ConnectionError:
            data = b""
        if data:
            reply = self.answer(data[2:])
            client.sendall(struct.pack("!H", len(reply)) + reply)
        else:
            self.selector.unregister(client)
            client.close()

    def answer(self, query: bytes) -> bytes:
        """From the cache, or from the upstream."""
        if query[2:] not in self.answers:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(2)
                sock.connect(("127.0.0.1", self.upstream))
                sock.send(query)
                self.answers[query[2:]] = sock.recv(4096)[2:]
        return query[:2] + self.answers[query[2:]]

    def serve(self) -> None:
        """Until the teardown is done."""
        while not self.over:
            for key, _ in self.selector.select(0.05):
                key.data(key.fileobj)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()

    def tear_down(self) -> None:
        """While it serves on: each rule deleted until it is gone, which it learns by making it once more."""
        for rule in (rule for ip in self.ips for rule in rules(ip)):
            existed = True
            while existed:
                self.rule("-D", rule)
                existed = self.rule("-C", rule)
                if not existed:
                    self.rule("-I", rule)
            self.rule("-D", rule)
        subprocess.run(["ip", "link", "del", LINK], check=False)
        self.over = True


def main() -> None:
    """Until SIGTERM; SIGKILL leaves link and rules."""
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write("node-cache")
    cache = NodeCache(sys.argv[1].split(","), int(sys.argv[2]), (sys.argv[3:] or ["iptables"])[0])
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=cache.tear_down).start())
    print("on", flush=True)
    cache.serve()
    os._exit(0)


if __name__ == "__main__":
    main()
