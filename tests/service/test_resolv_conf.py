"""A resolv.conf, and a hosts file, that change under a running service."""

import os
from pathlib import Path

from tests.service.service import Authority, Service
from tests.service.test_upstreams import ask


def put(path: Path, text: str) -> None:
    """Replaces it as resolvconf and systemd-resolved do: by rename."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def test_a_change_is_a_reload(tmp_path: Path, authority: Authority) -> None:
    """New servers are taken within seconds; a file that names none is refused and the old ones stay, until it is well
    again; what is not a change is no reload."""
    resolv_conf = tmp_path / "resolv.conf"
    put(resolv_conf, "nameserver 127.0.0.1\n")
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text(f'[[zone]]\nname = "corp.example"\nforward = "{resolv_conf}"\n')
    with Service(tmp_path, authority.port) as service:

        def forward() -> list[str]:
            zones = service.status()["forward"]
            return next(zone["forward"] for zone in zones if zone["name"] == "corp.example.")

        def reloads() -> tuple[int, bool]:
            return service.status()["reload"]["count"], service.status()["reload"]["ok"]

        assert (forward(), reloads()[0]) == (["127.0.0.1:53"], 0)
        put(resolv_conf, "nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
        service.await_(lambda: forward() == ["127.0.0.2:53", "127.0.0.3:53"], "on the new servers")
        put(resolv_conf, "# none\n")
        service.await_(lambda: reloads() == (2, False), "refusing")
        assert forward() == ["127.0.0.2:53", "127.0.0.3:53"]
        os.unlink(resolv_conf)
        service.await_(lambda: reloads() == (3, False), "refusing")
        put(resolv_conf, "nameserver 127.0.0.4\n")
        service.await_(lambda: forward() == ["127.0.0.4:53"], "on the new server")
        assert reloads() == (4, True)
        assert f"{resolv_conf} has changed" in service.tail()


def test_a_hosts_file(tmp_path: Path, authority: Authority) -> None:
    """Its names are answered from it; when it changes, what was cached of it is forgotten."""
    hosts = tmp_path / "hosts"
    put(hosts, "192.0.2.1 db.corp.example\n")
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text(f'[node]\nhosts = "{hosts}"\n')
    with Service(tmp_path, authority.port) as service:
        assert str(ask(service, "db.corp.example").rr[0].rdata) == "192.0.2.1"
        put(hosts, "192.0.2.2 db.corp.example\n")
        service.await_(lambda: str(ask(service, "db.corp.example").rr[0].rdata) == "192.0.2.2", "on the new address")
        assert authority.asked().get("db.corp.example", 0) == 0
