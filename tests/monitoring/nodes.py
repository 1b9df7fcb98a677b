"""A nodedns that the Prometheus of these tests scrapes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.monitoring.prometheus import Alert, Prometheus
from tests.service.service import Service


class Watched(Service):
    """Serves DNS on one loopback port and /metrics on another, which is one of Prometheus's targets."""

    def __init__(self, home: Path, upstream: int, prometheus: Prometheus, extra: str = "", **options: Any) -> None:
        self.prometheus, self.at = prometheus, prometheus.spare.pop()
        (home / "nodedns.d").mkdir()
        (home / "nodedns.d/10.toml").write_text(extra)
        super().__init__(home, upstream, metrics=f'listen = "{self.at}"\n', **options)

    def __enter__(self) -> Self:
        scraped = f'up{{instance="{self.at}"}} == 1'
        try:
            self.prometheus.await_(
                lambda: self.prometheus.query(scraped) and not self.alerts(), "scraping, and content"
            )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def query(self, expr: str) -> list[float]:
        """An expression's values for this service alone."""
        return self.prometheus.query(expr.replace("{", f'{{instance="{self.at}",'))

    def alerts(self) -> dict[tuple[str, str], Alert]:
        """Those of this service, or of an upstream only it asks, by name and severity."""
        mine = {self.at, *self.forward}
        found = [
            alert for alert in self.prometheus.firing() if mine & {alert.labels.get("instance"), alert.labels.get("to")}
        ]
        return {
            (alert.labels["alertname"].removeprefix("NodeLocalDNS"), alert.labels["severity"]): alert for alert in found
        }

    def await_alerts(self, *wanted: tuple[str, str], during: Callable[[], object] = lambda: None) -> None:
        """Until all of them have fired at once, their words filled in; meanwhile does `during` again and again."""

        def there() -> bool:
            during()
            return set(wanted) <= self.alerts().keys()

        self.prometheus.await_(there, f"firing {wanted}")
        for _, annotations in self.alerts().values():
            assert all("{{" not in text and "<no value>" not in text for text in annotations.values()), annotations
