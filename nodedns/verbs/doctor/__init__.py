"""`nodedns doctor`: what on this machine is in the way of node DNS, or will be, and what to do about it.

It looks and changes nothing. `bad` findings keep the service from starting or clients from their answers; a `note` is
something a person should know.
"""

from collections.abc import Callable, Iterator

from nodedns.config import ConfigError
from nodedns.host.errors import ChangeError
from nodedns.verbs.doctor import kubernetes, leftovers, memory, network, ports, resolver
from nodedns.verbs.doctor.scene import Finding, Scene, bad, well
from nodedns.verbs.files import Source

CHECKS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    ports.held,
    memory.room,
    network.commands,
    network.kernel,
    network.managers,
    resolver.stub,
    resolver.own_address,
    resolver.upstreams,
    kubernetes.proxy,
    kubernetes.cilium,
    kubernetes.kubelet,
    kubernetes.fallback,
    leftovers.of_ours,
    leftovers.of_node_cache,
)


def doctor(source: Source, scene: Scene | None = None) -> int:
    """Prints a line for each finding; 1 when one of them is bad."""
    findings = []
    for finding in examine(source, scene):
        findings.append(finding)
        print(f"{finding.level:<5} {finding.what}" + (f"\n      {finding.advice}" if finding.advice else ""))
    return 1 if any(finding.level == "bad" for finding in findings) else 0


def examine(source: Source, scene: Scene | None = None) -> Iterator[Finding]:
    """Every finding, of a check that cannot look too. Without a good config there is nothing else to say."""
    try:
        scene = scene or Scene(source.load(), source.run_dir())
    except ConfigError as error:
        yield from (bad(f"config: {problem}", "see nodedns.toml(5)") for problem in error.problems)
        return
    yield well(f"config: {source.path}: {', '.join(map(str, scene.config.node.listen))}")
    for check in CHECKS:
        try:
            yield from check(scene)
        except (ChangeError, OSError) as error:
            yield bad(f"{check.__module__.rpartition('.')[2]}: cannot look: {error}", "run it as root, on the node")
