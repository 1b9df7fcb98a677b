"""README's first screen: what `make run` starts, what it says, and what a newcomer may try on it."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.netns.conftest import say

PATIENCE = 60.0


def test_a_newcomers_first_minute(tmp_path: Path) -> None:
    """Every question that it proposes has an answer, metrics are where README says, and Ctrl-C leaves nothing."""
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "nodedns", "run", "--example"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as service:
        assert service.stdout is not None
        try:
            proposed = []
            while "Ctrl-C" not in (line := service.stdout.readline()):
                assert line, service.communicate()
                proposed += [line.split()] if line.startswith("  dig ") else []
            for words in (["dig", "@127.0.0.1", "-p", "5353", "kubernetes.default.svc.cluster.local"], *proposed):
                said = say(*words, "+tries=1", "+time=20")
                assert "status: NOERROR" in said or "status: NXDOMAIN" in said, said
            with urllib.request.urlopen("http://127.0.0.1:9253/metrics", timeout=PATIENCE) as page:
                text = page.read().decode()
            assert "\ncoredns_dns_requests_total{" in text
            assert "\nnodedns_answers_total " in text
            status = [sys.executable, "-m", "nodedns", "status", "--example"]
            assert ": READY for " in subprocess.check_output(status, text=True, env=env)
        finally:
            service.send_signal(signal.SIGINT)
            _, complaints = service.communicate(timeout=PATIENCE)
    assert service.returncode == 0
    assert re.fullmatch(r"nodedns: \d+ workers? serves? 127\.0\.0\.1:5353\n", complaints), complaints
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
