"""`nodedns check`: is the config good? Reads what `run` would read, and changes nothing."""

from nodedns.config import Config
from nodedns.verbs.files import Source


def summary(config: Config) -> list[str]:
    """What the config makes of the node, a line each."""
    node = config.node
    workers = str(node.workers) if node.workers else "one a CPU, at most 4"
    lines = [
        f"listen   {', '.join(map(str, node.listen))}",
        f"allow    {', '.join(node.allow) or 'everyone who can reach these addresses'}",
        f"workers  {workers}",
        f"cache    {config.cache.size / 2**20:g} MiB",
        f"metrics  {f'http://{config.metrics.listen}/metrics' if config.metrics.listen else 'none'}",
    ]
    for zone in config.zones:
        servers = ", ".join(map(str, zone.forward))
        ttl = f"answers {zone.success.max_ttl} s, denials {zone.denial.max_ttl} s"
        lines.append(f"zone     {zone.name} -> {servers} over {zone.transport}, {zone.policy}; {ttl}")
    return lines


def check(source: Source) -> int:
    """Prints that the config is well and what it says; ConfigError with every problem when it is not."""
    config = source.load()
    print(f"{'the built-in example' if source.example else source.path}: well")
    print("\n".join(summary(config)))
    return 0
