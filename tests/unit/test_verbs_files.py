"""What a config names on the machine: resolv.conf files, and whom they mean."""

from pathlib import Path

import pytest

from nodedns.config import ConfigError, Endpoint
from nodedns.verbs import files


@pytest.mark.parametrize(
    ("written", "resolved", "servers"),
    [
        ("nameserver 127.0.0.53\n", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n", ["192.0.2.1", "192.0.2.2"]),
        ("nameserver 192.0.2.9\n", "nameserver 192.0.2.1\n", ["192.0.2.9"]),
        ("nameserver 127.0.0.53\n", None, ["127.0.0.53"]),
        ("nameserver 127.0.0.53\n", "nameserver 169.254.20.10\nnameserver 192.0.2.1\n", ["192.0.2.1"]),
        ("nameserver 127.0.0.53\n", "nameserver 169.254.20.10\n", None),
    ],
)
def test_a_resolv_conf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, resolved: str | None, servers: list[str] | None
) -> None:
    """systemd-resolved's stub stands for its own list; we are on none of them."""
    monkeypatch.setattr(files, "RESOLVED", str(tmp_path / "resolved"))
    if resolved is not None:
        (tmp_path / "resolved").write_text(resolved)
    (tmp_path / "resolv.conf").write_text(written)
    file = tmp_path / "nodedns.toml"
    file.write_text(f'cluster.dns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = "{tmp_path}/resolv.conf"\n')
    source = files.Source(str(file))
    if servers is None:
        with pytest.raises(ConfigError, match="other than this service"):
            source.load()
        return
    root = next(zone for zone in source.load().zones if zone.name == ".")
    assert root.forward == tuple(Endpoint(server, 53) for server in servers)


def test_over_tls(tmp_path: Path) -> None:
    """The servers of a resolv.conf, too, where the zone's transport is TLS."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.9\n")
    file = tmp_path / "nodedns.toml"
    zone = f'name = "."\nforward = ["192.0.2.8", "{tmp_path}/resolv.conf"]\ntransport = "tls"'
    file.write_text(f'cluster.dns = "10.96.0.10"\n[[zone]]\n{zone}\n')
    root = next(zone for zone in files.Source(str(file)).load().zones if zone.name == ".")
    assert [str(at) for at in root.forward] == ["tls://192.0.2.8:853", "tls://192.0.2.9:853"]


@pytest.mark.parametrize(("text", "expected"), [(None, "a readable file"), ("nothing", "certificates in PEM")])
def test_authorities(tmp_path: Path, text: str | None, expected: str) -> None:
    """A file of them that is none is told before a worker meets it."""
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    file = tmp_path / "nodedns.toml"
    zone = f'name = "."\nforward = "tls://192.0.2.8"\ntls.ca = "{tmp_path}/ca.pem"'
    file.write_text(f'cluster.dns = "10.96.0.10"\n[[zone]]\n{zone}\n')
    with pytest.raises(ConfigError, match=f"ca.pem: expected {expected}"):
        files.Source(str(file)).load()
