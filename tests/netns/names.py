"""Answers whatever comes with its own name and who asked: python -m tests.netns.names ADDRESS PORT NAME

Over UDP a datagram, over TCP the first octets of a connection. Prints "on"; ends with stdin.
"""

import select
import socket
import sys

IP_FREEBIND = 15
"""include/uapi/linux/in.h; Python knows no name for it."""


def main(address: str, port: int, name: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
    for sock in (udp, tcp):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        sock.bind((address, port))
    tcp.listen()
    print("on", flush=True)
    while sys.stdin not in (ready := select.select([udp, tcp, sys.stdin], [], [])[0]):
        if udp in ready:
            _, who = udp.recvfrom(512)
            udp.sendto(f"{name} {who[0]}".encode(), who)
        if tcp in ready:
            client, who = tcp.accept()
            with client:
                client.recv(512)
                client.sendall(f"{name} {who[0]}".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
