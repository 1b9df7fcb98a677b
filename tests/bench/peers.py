"""Who is measured: one table. Each entry is how to find a server, configure it for one thread, and start it.

Templates know $home, $port, $upstream (the authority's port) and $transport (the peer's own words for it). Every cache
has room for the mix's names, every server one working thread, and none may call home: no root priming, no trust anchor
or version queries.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import nodedns

# Room for the 20,000 names of the Zipf mix with as much again, for caches whose buckets fill unevenly.
ENTRIES = 50_000
# Socket queue for the 300 queries dnsperf keeps in flight (768 bytes each), where a server has an option for it.
QUEUE = 1 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    """One server. `transports` maps "udp" and "tcp" to the peer's words for them; a missing one is not measured."""

    name: str
    command: str
    config: str = ""
    transports: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    file: str = "config"
    caches: bool = True

    def found(self) -> bool:
        """Whether its program is on PATH. What the harness brings itself ($-commands) always is."""
        program = shlex.split(self.command)[0]
        return program.startswith("$") or shutil.which(program) is not None

    def render(self, home: Path, port: int, upstream: int, transport: str, programs: Mapping[str, str]) -> list[str]:
        """Write its configuration to home/file (home is made here) and return its command line."""
        home.mkdir()
        ports = {"port": str(port), "upstream": str(upstream), "transport": self.transports.get(transport, "")}
        values = {"home": str(home), "entries": str(ENTRIES), "queue": str(QUEUE)} | ports
        (home / self.file).write_text(Template(self.config).substitute(values))
        return shlex.split(Template(self.command).substitute(values, **programs))


def version(command: str) -> str:
    """The first thing in a version command's output that looks like one: 1.17.1, 9.18.49-1~deb12u3-Debian."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[\w.~+-]*", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def versions(names: Collection[str]) -> dict[str, str]:
    """Name -> version of those peers, and of the tools that measure them."""
    commands = {peer.name: peer.version for peer in PEERS if peer.version and peer.name in names}
    ours = {"nodedns": nodedns.__version__} if "nodedns" in names else {}
    return ours | {name: version(command) for name, command in (commands | TOOLS).items()}


# The root and the cluster's zone alike; the authority's TTL of an hour is kept, so that nothing expires in a round.
# The cache is the default, 32 MiB: less than any peer gets here, and room for twice the names of a mix.
NODEDNS = """\
[cluster]
dns = "127.0.0.1:$upstream"
[node]
listen = ["127.0.0.1:$port"]
interface = "none"
netfilter = "none"
workers = 1
run_dir = "$home/run"
allow = ["127.0.0.0/8", "10.0.0.0/8"]
[metrics]
listen = "none"
[[zone]]
name = "cluster.local"
forward = ["127.0.0.1:$upstream"]
transport = "$transport"
success = { max_ttl = 3600, min_ttl = 5 }
denial = { max_ttl = 3600, min_ttl = 5 }
[[zone]]
name = "."
forward = ["127.0.0.1:$upstream"]
transport = "$transport"
success = { max_ttl = 3600, min_ttl = 5 }
denial = { max_ttl = 3600, min_ttl = 5 }
"""

# `test.` is a zone of its own in unbound (RFC 6761), answered NXDOMAIN unless released.
UNBOUND = """\
server:
    interface: 127.0.0.1@$port
    do-daemonize: no
    use-syslog: no
    verbosity: 0
    username: ""
    chroot: ""
    directory: "$home"
    pidfile: ""
    num-threads: 1
    so-reuseport: yes
    so-rcvbuf: $queue
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "test." nodefault
    msg-cache-size: 64m
    rrset-cache-size: 128m
    outgoing-range: 4096
    num-queries-per-thread: 4096
    $transport
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@$upstream
"""

DNSDIST = """\
setLocal("127.0.0.1:$port", {reusePort=true})
setACL({"127.0.0.0/8"})
setSecurityPollSuffix("")
setMaxUDPOutstanding(65535)
newServer({address="127.0.0.1:$upstream", healthCheckMode="up"$transport})
getPool(""):setCache(newPacketCache($entries, {maxTTL=86400, maxNegativeTTL=3600, numberOfShards=1}))
"""

RECURSOR = """\
local-address=127.0.0.1
local-port=$port
threads=1
pdns-distributes-queries=no
forward-zones-recurse=.=127.0.0.1:$upstream
dont-query=
dnssec=off
daemon=no
socket-dir=$home
hint-file=no
security-poll-suffix=
max-cache-entries=200000
max-packetcache-entries=200000
max-mthreads=4096
loglevel=2
quiet=yes
"""

# The modules taken away are those that ask the Internet by themselves.
KRESD = """\
net.listen('127.0.0.1', $port, { kind = 'dns' })
for _, name in ipairs({'priming', 'detect_time_skew', 'ta_update', 'ta_signal_query'}) do
    if modules[name] then modules.unload(name) end
end
trust_anchors.remove('.')
cache.open(256 * MB, 'lmdb://$home/cache')
policy.add(policy.all(policy.STUB('127.0.0.1@$upstream')))
"""

DNSMASQ = """\
keep-in-foreground
user=root
pid-file
no-resolv
no-hosts
listen-address=127.0.0.1
bind-interfaces
port=$port
server=127.0.0.1#$upstream
cache-size=$entries
dns-forward-max=4096
log-facility=-
"""

BIND = """\
options {
    directory "$home";
    pid-file none;
    session-keyfile none;
    lock-file none;
    listen-on port $port { 127.0.0.1; };
    listen-on-v6 { none; };
    allow-query { 127.0.0.0/8; };
    recursion yes;
    recursive-clients 10000;
    forward only;
    forwarders { 127.0.0.1 port $upstream; };
    dnssec-validation no;
    empty-zones-enable no;
    max-cache-size 256m;
};
controls { };
"""

COREFILE = """\
.:$port {
    bind 127.0.0.1
    cache {
        success $entries 3600
        denial $entries 3600
    }
    forward . 127.0.0.1:$upstream {
        $transport
    }
}
"""
COREDNS_TRANSPORTS = {"udp": "prefer_udp", "tcp": "force_tcp"}
TOOLS = {"knotd (authority)": "knotd --version", "dnsperf": "dnsperf -h"}
# Go makes as many worker threads as the machine has CPUs, not as many as it may use.
ONE_PROCESSOR = {"GOMAXPROCS": "1"}

ECHO = Peer("echo", "$echo 127.0.0.1 $port", caches=False)
PEERS = (
    ECHO,
    Peer("echo unbatched", "$echo --unbatched 127.0.0.1 $port", caches=False),
    Peer("nodedns", "$nodedns run --config $home/config", NODEDNS, {"udp": "udp", "tcp": "tcp"}),
    Peer("unbound", "unbound -d -c $home/config", UNBOUND, {"udp": "", "tcp": "tcp-upstream: yes"}, "unbound -V"),
    Peer(
        "dnsdist", "dnsdist --supervised --disable-syslog -C $home/config", DNSDIST,
        {"udp": "", "tcp": ", tcpOnly=true"}, "dnsdist --version",
    ),
    Peer(
        "pdns-recursor", "pdns_recursor --config-dir=$home", RECURSOR,
        {"udp": ""}, "pdns_recursor --version", file="recursor.conf",
    ),
    Peer("knot-resolver", "kresd -n -c $home/config $home", KRESD, {"udp": ""}, "kresd --version"),
    Peer("dnsmasq", "dnsmasq --conf-file=$home/config", DNSMASQ, {"udp": ""}, "dnsmasq --version"),
    Peer("bind9", "named -f -n 1 -c $home/config", BIND, {"udp": ""}, "named -v"),
    Peer(
        "node-cache",
        "node-cache -localip 127.0.0.1 -setupinterface=false -setupiptables=false -conf $home/config",
        COREFILE, COREDNS_TRANSPORTS, "node-cache -version", ONE_PROCESSOR,
    ),
    Peer("coredns", "coredns -conf $home/config", COREFILE, COREDNS_TRANSPORTS, "coredns -version", ONE_PROCESSOR),
)  # fmt: skip


def own_command(override: str | None) -> str:
    """The words that start nodedns: the bench's own interpreter runs the package, unless told otherwise."""
    return override or f"{shlex.quote(sys.executable)} -m nodedns"
