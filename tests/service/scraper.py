"""HTTP to the monitor of a service under test."""

import http.client

from prometheus_client.parser import text_string_to_metric_families

from tests.service.service import DEADLINE, Service

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""By name and labels."""


def get(service: Service, path: str = "/metrics", accept: str = "") -> tuple[int, str]:
    """Status and body. A monitor that is just killed resets what it had in hand, and only that: asked once more."""
    for last in (False, True):
        connection = http.client.HTTPConnection("127.0.0.1", service.scraped, timeout=DEADLINE)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        except (ConnectionError, http.client.IncompleteRead):
            if last:
                raise
        finally:
            connection.close()
    raise AssertionError


def samples(service: Service) -> Samples:
    """All of a scrape."""
    families = text_string_to_metric_families(get(service)[1])
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
