"""What a running service tells of its upstreams: once for all workers, with zones and servers and nobody's name."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dnslib

from tests.ports import free_port
from tests.service.service import DEADLINE, Authority, Service


@contextmanager
def asking(service: Service) -> Iterator[None]:
    """A hundred clients' questions for names that nobody has asked for; nobody waits for answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", service.port))
        for n in range(100):
            sock.send(bytes(dnslib.DNSRecord.question(f"secret{n}.test", "A").pack()))
        yield


def told(service: Service, words: str) -> int:
    return service.tail().count(words)


def test_an_upstream_that_falls_silent(tmp_path: Path) -> None:
    """It is told of once, its zone's SERVFAILs three times a worker and then as a number, and its return once."""
    port = free_port()
    at = f"127.0.0.1:{port}"
    with Service(tmp_path, port) as service:
        with asking(service):
            service.await_(lambda: told(service, f"{at} does not answer") == 1, "telling that it is down")
            service.await_(lambda: told(service, "no_answer (.): "), "consolidating")
        assert 3 <= told(service, "no server of zone . answered a question: SERVFAIL") <= 6
        with Authority(port=port):
            service.await_(lambda: told(service, f"{at} answers again") == 1, "telling that it is back")
        assert told(service, f"{at} does not answer") == 1
        assert "secret" not in service.tail()


def test_stale_serving(tmp_path: Path) -> None:
    """A zone that gives what has expired says so, once its servers have had their time."""
    extra = 'serve_stale = { max = "1h" }\n'
    with Authority() as upstream, Service(tmp_path, upstream.port, extra=extra) as service:
        service.config.write_text(service.config.read_text().replace("max_ttl = 600", "max_ttl = 1, min_ttl = 1"))
        assert service.reload()["ok"], service.tail()
        query = bytes(dnslib.DNSRecord.question("a.test", "A").pack())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", service.port))
            sock.settimeout(DEADLINE)

            def stale() -> bool:
                sock.send(query)
                with suppress(TimeoutError):
                    sock.recv(512)
                return "gives a good answer in time: one that has expired is given" in service.tail()

            sock.send(query)
            assert sock.recv(512)
            assert not stale()
            sock.settimeout(0.2)
            upstream.process.kill()
            service.await_(stale, "telling of a stale answer")
