"""The drills: what dies or is replaced under load costs no query. Each prints sent, lost, slowest."""

import os
import random
import select
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from nodedns import native
from nodedns.worker.loop import FINISH
from tests.service.authority import answer
from tests.service.load import Query
from tests.service.service import ROOT, Authority, Load, Service, keeps_its_code

RATE = 20_000
RELOADED = 5_000
"""In drills that fork much: beside each fork's work, two slow cores answer no 20,000."""
KILLS = 300
CLIENTS, EACH = 16, 8
"""Of the drill of a stop; so many sources reach both workers."""


def unusable(service: Service) -> int:
    """Stores and reads back as many entries as there are slots; how many of them the table did not take."""
    memory = service.map("cache")
    table = native.Table(memory, writer=200)  # a number no worker has
    refused = 0
    for n in range(table.slots):
        query = b"\0\0" + Query(f"after{n}.load.test").packet
        _, key, _ = native.parse_query(query)
        assert key is not None
        now = native.now()
        entry = native.make_entry(key, answer(query), table.seed, (600, 5, 600, 5, 5, 0, 0), now)
        assert isinstance(entry, bytes)
        refused += table.put(entry, now) != native.STORED or table.get(key, now) is None
    return refused


def hangs(service: Service) -> int:
    """Workers that the parent has found without a beat for a second so far: a starved machine has them, too."""
    return native.read_parent(service.map("counters"))["hangs"]


def kill_one(service: Service) -> None:
    """SIGKILLs a random worker and waits until its successor serves."""
    service.await_(lambda: len(service.pids()) == service.workers, "whole")
    pids = service.pids()
    slot = random.choice(sorted(pids))
    os.kill(pids[slot], signal.SIGKILL)
    service.await_(lambda: service.pids().get(slot, pids[slot]) != pids[slot], "whole again")


def test_300_kills_lose_nothing(service: Service) -> None:
    """SIGKILL of random workers under 20,000 q/s, one in fifty a miss: no query, no answer and no count is lost."""
    with Load(service.port, RATE, unique=50) as load:
        began = time.monotonic()
        for _ in range(KILLS):
            kill_one(service)
        seconds = time.monotonic() - began
        verdict = load.verdict()
    counters = service.counters()
    print(f"{KILLS} kills, {seconds / KILLS * 1000:.0f} ms each until the next served, {counters['replayed']} replayed")
    assert verdict["lost"] == 0
    assert verdict["wrong"] == 0
    assert verdict["answered"] == verdict["sent"]

    def counted() -> int:
        """In the rows: the totals have our own questions in them."""
        return sum(sum(row["requests"]) for row in service.rows())

    sent = verdict["answered"] + verdict["duplicates"]
    service.await_(lambda: counted() >= sent, "through with counting")
    assert counted() == sent
    assert service.status()["state"] == "READY"
    assert unusable(service) == 0


def test_reloads_lose_nothing(service: Service, authority: Authority) -> None:
    """Ten reloads under load, a broken file between them: nothing lost, the cache kept, the file refused."""
    with Load(service.port, RELOADED) as load:
        service.await_(lambda: len(authority.asked()) == 200, "warm")
        warm = authority.asked()
        workers = service.pids()
        for n in range(10):
            service.write(
                authority.port, extra=f'[[zone]]\nname = "cluster.local"\nsuccess = {{ max_ttl = {n + 10} }}\n'
            )
            verdict = service.reload()
            assert verdict["ok"], verdict
            if n == 4:
                good, hung = service.pids(), hangs(service)
                service.config.write_text('[cluster]\ndns = "nowhere"\n[node]\nworkerz = 2\n')
                refused = service.reload()
                assert not refused["ok"]
                assert any("cluster.dns" in problem for problem in refused["problems"])
                assert any("node.workerz" in problem for problem in refused["problems"])
                assert service.pids() == good or hangs(service) > hung
        account = load.verdict()
    assert not set(workers.values()) & set(service.pids().values())
    assert account["lost"] == 0
    assert account["wrong"] == 0
    # who forgets asks for all 200 again; some were in flight while it became warm
    assert sum(n > warm[name] for name, n in authority.asked().items()) < 100


def test_only_the_zone_that_changed_forgets(tmp_path: Path, authority: Authority) -> None:
    """A new policy for "." makes its names be asked again, once by each configuration and not once a query."""
    with Service(tmp_path, authority.port) as service, Load(service.port, 5000) as load:
        service.await_(lambda: len(authority.asked()) == 200, "warm")
        before = sum(authority.asked().values())
        service.config.write_text(service.config.read_text().replace("max_ttl = 600", "max_ttl = 599"))
        assert service.reload()["ok"]
        service.await_(lambda: sum(authority.asked().values()) >= before + 200, "asking again")
        account = load.verdict()
        again, late = sum(authority.asked().values()) - before, service.counters()["upstream_timeouts"]
    assert account["lost"] == account["wrong"] == 0
    assert 200 <= again <= 400 + late  # two workers may both ask before either has stored


EVERYTHING = [
    '[node]\nrecords = ["db.corp.example A 10.1.2.3"]\nrate_limit = 1000\nhosts = "/etc/hosts"\n',
    '[[zone]]\nname = "old.example"\nrewrite = "load.test"\n',
    '[[zone]]\nname = "cluster.local"\nnxdomain = ["**.com"]\nminimal = true\nrotate = true\nmax_concurrent = 100\n',
    '[[zone]]\nname = "tls.example"\nforward = "tls://127.0.0.1:1#a.example"\ntransport = "tls"\n',
    '[[zone]]\nname = "named.example"\nforward = "ns.load.test"\nexcept = "a.named.example"\ndns0x20 = true\n',
    '[[zone]]\nname = "stale.example"\nforward = "127.0.0.1:1"\nprefetch.hits = 2\n'
    'serve_stale = { max = "1h", mode = "immediate", prefer_positive = true }\n',
]


def test_every_key_is_reloaded(tmp_path: Path, authority: Authority) -> None:
    """One more kind of zone or data with each reload, under load: nothing lost."""
    (tmp_path / "nodedns.d").mkdir()
    with Service(tmp_path, authority.port) as service, Load(service.port, 5000) as load:
        for number, text in enumerate(EVERYTHING):
            (tmp_path / f"nodedns.d/{number}.toml").write_text(text)
            assert service.reload()["ok"], service.status()["reload"]
        account = load.verdict()
    assert account["lost"] == account["wrong"] == 0


def test_a_hung_worker_is_replaced(service: Service) -> None:
    """SIGSTOP of a worker under load: killed and forked anew, its queue answered, nothing lost. On a quiet machine that
    is within 2 s, on a busy one before a stub resolver asks again (5 s); test_core_beats.py has the exact limits."""
    with Load(service.port, 5000) as load:
        pid = service.pids()[0]
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        service.await_(lambda: service.pids().get(0, pid) != pid, "rid of the hung worker")
        took = time.monotonic() - began
        verdict = load.verdict()
    print(f"replaced after {took:.2f} s")
    assert took < 5
    assert verdict["lost"] == verdict["wrong"] == 0
    assert verdict["slowest"] < 5


def test_a_stop_answers_what_was_taken(tmp_path: Path, authority: Authority) -> None:
    """Replies that have come are answered when a worker has left, and for others it waits FINISH: its successor may be
    of a build that cannot read what it leaves behind."""
    with Service(tmp_path, authority.port) as service, ExitStack() as stack:
        counters = service.map("counters")
        names = [[f"slow{client}-{number}.test" for number in range(EACH)] for client in range(CLIENTS)]
        names.append(["silent.test"])
        for each in names:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.connect(("127.0.0.1", service.port))
            for name in each:
                sock.send(b"\0\1" + Query(name).packet)
        service.await_(lambda: set(chain(*names)) <= set(authority.asked()), "asking")
        workers = [*service.pids().values()]
        told_to_leave(service, workers)
        authority.asked("go")
        began = time.monotonic()
        go_on(*workers)
        took = time.monotonic() - began
        totals = native.read_counters(counters, service.workers + 1)
        service.process.send_signal(signal.SIGCONT)
    print(f"received {totals['received']}, answered {totals['answers']}; left after {took * 1000:.0f} ms")
    assert totals["answers"] >= totals["received"] - 1
    assert took >= FINISH


def told_to_leave(service: Service, workers: Sequence[int]) -> None:
    """Stops all, and sends each worker what its parent sends at a stop, which it finds when it goes on. The parent's
    patience would end: it sleeps on."""
    for pid in (service.process.pid, *workers):  # the parent first: it would replace them
        os.kill(pid, signal.SIGSTOP)
    for pid in workers:
        os.kill(pid, signal.SIGTERM)


def go_on(*workers: int) -> None:
    """Until all have left."""
    with ExitStack() as stack:
        fds = [stack.enter_context(os.fdopen(os.pidfd_open(pid))) for pid in workers]
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        for fd in fds:
            select.select([fd], [], [])


def test_code_that_is_replaced(tmp_path: Path, authority: Authority) -> None:
    """An upgrade has put other files in the place of ours and has not restarted us: who is born now is still ours."""
    shutil.copytree(ROOT / "nodedns", tmp_path / "code/nodedns")
    with Service(tmp_path, authority.port, code=tmp_path / "code") as service, Load(service.port, 1_000) as load:
        service.await_(lambda: keeps_its_code(Path(f"/proc/{service.process.pid}/fd")), "sure of its code")
        for name in ("worker/main.py", "monitor/main.py"):
            (tmp_path / "code/nodedns" / name).write_text("raise SystemExit(1)\n")
        for _ in range(4):
            kill_one(service)
        before = service.status()["monitor"]["pid"]
        os.kill(before, signal.SIGKILL)
        service.await_(lambda: service.status()["monitor"]["pid"] not in (None, before), "of a monitor")
        service.await_(lambda: service.status()["monitor"]["state"] == "SERVING", "of a monitor that serves")
        verdict = load.verdict()
    assert verdict["lost"] == verdict["wrong"] == 0
