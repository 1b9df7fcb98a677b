"""/metrics of a running service: what was asked is what is counted, whatever dies."""

import fcntl
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from prometheus_client import parser as exposition
from prometheus_client.openmetrics import parser as openmetrics

from tests.service.scraper import Samples, get, samples
from tests.service.service import DEADLINE, Authority, Load, Service
from tests.service.test_upstreams import ask, ask_tcp

CORP = '[[zone]]\nname = "corp.test"\nforward = ["127.0.0.1:{0}"]\n'


def test_a_scrape(service: Service) -> None:
    """promtool finds nothing to say, and Prometheus's own parsers read both formats."""
    for n in range(5):
        ask(service, f"a{n}.test")
        ask(service, f"a{n}.test")
    row = f'server="dns://127.0.0.1:{service.port}",zone=".",view=""'
    answered = f'coredns_dns_responses_total{{{row},rcode="NOERROR",plugin="cache"}} 10\n'
    # what workers note once a second, and the monitor with its second look; an answer is counted behind its sending
    late = ("nodedns_upstream_rtt_seconds", "coredns_cache_entries", answered)
    service.await_(lambda: all(text in get(service)[1] for text in late), "through with a second")
    status, text = get(service)
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    plain = {family.name for family in exposition.text_string_to_metric_families(text)}
    open_text = get(service, accept="application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.3")[1]
    assert open_text.endswith("\n# EOF\n")
    assert plain == {family.name for family in openmetrics.text_string_to_metric_families(open_text)}
    assert answered in text
    assert f'coredns_dns_request_duration_seconds_bucket{{{row},le="8.192"}} 10\n' in text
    assert f'coredns_dns_request_size_bytes_bucket{{{row},proto="udp",le="16000"}} 10\n' in text


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum over a name's samples with those labels."""
    wanted = set(labels.items())
    return sum(value for (sample, having), value in found.items() if sample == name and wanted <= set(having))


class Watch:
    """Scrapes, and sees that nothing that counts falls or goes."""

    def __init__(self, service: Service) -> None:
        self.service, self.last = service, samples(service)
        self.fallen: list[str] = []

    def look(self) -> Samples:
        """The samples now."""
        now = samples(self.service)
        counts = re.compile(r"_total$|_bucket$|_count$|_sum$")
        for (name, labels), value in self.last.items():
            restarted = name.startswith("process_")
            if counts.search(name) and not restarted and not now.get((name, labels), -1.0) >= value:
                self.fallen.append(f"{name} {labels}: {value} {now.get((name, labels))}")
        self.last = now
        return now


def kill_worker(service: Service, slot: int) -> None:
    """SIGKILL; waits for the slot's next holder."""
    service.await_(lambda: slot in service.pids(), "whole")
    pid = service.pids()[slot]
    os.kill(pid, signal.SIGKILL)
    service.await_(lambda: service.pids().get(slot, pid) != pid, "whole again")


def kill_monitor(service: Service) -> None:
    """The same of the monitor."""

    def holder() -> int | None:
        monitor = service.status().get("monitor", {})
        return monitor["pid"] if monitor.get("state") == "SERVING" else None

    service.await_(holder, "looked after")
    pid = holder()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    service.await_(lambda: holder() not in (None, pid), "looked after again")


def test_exact_whatever_dies(tmp_path: Path, authority: Authority) -> None:
    """SIGKILL of workers and of the monitor under load, a reload that adds a zone and one that takes it away, SIGKILL
    of the parent: every query is counted once, under its protocol, and no counter ever falls."""
    with Service(tmp_path, authority.port) as service:
        watch, asked_tcp = Watch(service), 0
        with Load(service.port, 2000, unique=50) as load:
            for turn in range(6):
                kill_worker(service, turn % 2)
                watch.look()
                kill_monitor(service)
                watch.look()
            service.write(authority.port, CORP.format(authority.port))
            assert service.reload()["ok"]
            ask(service, "a.corp.test")
            watch.look()
            service.write(authority.port)
            assert service.reload()["ok"]
            ask(service, "b.corp.test")
            verdict = load.verdict()
        for n in range(20):
            ask_tcp(service, f"t{n % 7}.test")
            asked_tcp += 1
        udp = verdict["answered"] + verdict["duplicates"] + 2
        assert (verdict["lost"], verdict["wrong"]) == (0, 0)
        check(watch, udp, asked_tcp)
        service.process.kill()
        service.process.wait(DEADLINE)
        await_orphans(service)
        service.restart()
        for n in range(10):
            ask(service, f"u{n}.test")
        found = check(watch, udp + 10, asked_tcp)
        assert total(found, "coredns_dns_requests_total", zone="corp.test.") == 1
        assert total(found, "nodedns_starts_total") == 2
        # a starved machine has those that hang for a second, too
        hung = total(found, "nodedns_worker_hangs_total")
        assert total(found, "nodedns_worker_restarts_total") - hung == 6
        hung = len(re.findall(r"monitor \(pid \d+\) hangs: SIGKILL", (tmp_path / "log").read_text()))
        assert total(found, "nodedns_monitor_restarts_total") - hung == 6
        assert total(found, "nodedns_reloads_total", verdict="taken") == 2


def await_orphans(service: Service) -> None:
    """Waits until the children of a killed parent have left: they hold a lock."""
    ends = time.monotonic() + DEADLINE
    with (service.run_dir / "alive").open() as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            assert time.monotonic() < ends, "children outlive their parent"
            os.sched_yield()


def test_as_dnsperf_counts(tmp_path: Path, service: Service) -> None:
    """Under its load and SIGKILLs of workers: what it saw completed is what was counted. A query that a worker's
    successor answers again is an answer more, and dnsperf says so."""
    names = tmp_path / "names"
    names.write_text("".join(f"p{number}.test A\n" for number in range(300)))
    options = ["-s", "127.0.0.1", "-p", str(service.port), "-d", str(names), "-l", "4", "-Q", "5000", "-c", "8"]
    with subprocess.Popen(["dnsperf", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        service.await_(lambda: sum(sum(row["requests"]) for row in service.rows()) > 100, "under load")
        for turn in range(6):
            kill_worker(service, turn % 2)
        said, _ = run.communicate(timeout=30)
    completed, lost = (int(re.search(rf"Queries {word}: +(\d+)", said)[1]) for word in ("completed", "lost"))  # type: ignore[index]
    again = len(re.findall(r"unexpected .*id", said))
    service.await_(lambda: responses(service) >= completed + again, "through with counting")
    counted = responses(service)
    print(f"dnsperf: {completed} completed, {lost} lost, {again} answered again; {counted:.0f} counted")
    assert lost == 0
    assert counted == completed + again


def responses(service: Service) -> float:
    """Answers, as /metrics has them."""
    return total(samples(service), "coredns_dns_responses_total")


def check(watch: Watch, udp: float, tcp: float) -> Samples:
    """What was asked is what all generations and histograms say."""
    watch.service.await_(
        lambda: total(watch.look(), "coredns_dns_requests_total") >= udp + tcp, "through with counting"
    )
    found = watch.look()
    print(f"asked {udp:.0f} over UDP and {tcp:.0f} over TCP; {total(found, 'coredns_dns_requests_total'):.0f} counted")
    for proto, asked in (("udp", udp), ("tcp", tcp)):
        for name in (
            "coredns_dns_requests_total",
            "coredns_dns_request_count_total",
            "coredns_dns_request_size_bytes_count",
            "coredns_dns_response_size_bytes_count",
        ):
            assert total(found, name, proto=proto) == asked, name
    for name in (
        "coredns_dns_request_type_count_total",
        "coredns_dns_responses_total",
        "coredns_dns_response_rcode_count_total",
        "coredns_dns_request_duration_seconds_count",
        "coredns_cache_requests_total",
    ):
        assert total(found, name) == udp + tcp, name
    assert total(found, "coredns_cache_hits_total") + total(found, "coredns_cache_misses_total") == udp + tcp
    assert watch.fallen == []
    return found


def test_the_process_is_all_of_them(service: Service) -> None:
    """CPU of dead workers stays counted, memory is of all, descriptors of the parent."""
    service.await_(lambda: total(samples(service), "process_cpu_seconds_total") > 0.1, "counted")
    before = samples(service)
    used = total(before, "process_cpu_seconds_total")
    assert 20 << 20 < total(before, "process_resident_memory_bytes") < 200 << 20
    assert 10 < total(before, "process_open_fds") < total(before, "process_max_fds")
    for slot in (0, 1):
        kill_worker(service, slot)
    service.await_(lambda: total(samples(service), "process_cpu_seconds_total") > used + 0.05, "counted")


def test_one_generation(tmp_path: Path, authority: Authority) -> None:
    """Only the names that were asked for, and none of CoreDNS's."""
    for text, old, new in (('["1.6"]', True, False), ('"1.11"', False, True), ('"none"', False, False)):
        with Service(tmp_path, authority.port, metrics=f"coredns = {text}\n") as service:
            ask(service, "a.test")
            if old or new:
                service.await_(
                    lambda of=service: "request_duration_seconds_bucket" in get(of)[1], "through with counting"
                )
            names = {name for name, _ in samples(service)}
            assert ("coredns_dns_request_count_total" in names) is old
            assert ("coredns_dns_requests_total" in names) is new
            assert "nodedns_answers_total" in names
            assert not {name for name in names if name.startswith("coredns_")} or old or new
