"""packaging/kubernetes: what Kubernetes' own rules ask of each manifest, and the names that the program uses."""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodedns import config
from nodedns.core.plan import ENDPOINTS

DIRECTORY = Path(__file__).resolve().parents[2] / "packaging/kubernetes"
Manifest = dict[str, Any]
ALL: dict[str, Manifest] = {
    f"{each['kind']}/{each['metadata']['name']}": each
    for path in sorted(DIRECTORY.glob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
}
LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# By kind: apiVersion, and the fields that may stand at the top and in spec (k8s.io/api, prometheus-operator v1alpha1).
KINDS: dict[str, tuple[str, set[str], set[str]]] = {
    "Service": ("v1", {"spec"}, {"clusterIP", "selector", "ports"}),
    "Pod": ("v1", {"spec"}, {"dnsPolicy", "dnsConfig", "containers"}),
    "EndpointSlice": ("discovery.k8s.io/v1", {"addressType", "ports", "endpoints"}, set()),
    "ScrapeConfig": (
        "monitoring.coreos.com/v1alpha1",
        {"spec"},
        {"scrapeInterval", "kubernetesSDConfigs", "relabelings"},
    ),
}


@pytest.mark.parametrize("manifest", ALL.values(), ids=ALL)
def test_form(manifest: Manifest) -> None:
    """Kind and version belong together, every field is known, names and labels are what the API server takes."""
    version, top, spec = KINDS[manifest["kind"]]
    assert manifest["apiVersion"] == version
    assert set(manifest) == {"apiVersion", "kind", "metadata"} | top
    assert set(manifest.get("spec", {})) <= spec
    assert set(manifest["metadata"]) <= {"name", "namespace", "labels"}
    assert LABEL_1123.fullmatch(manifest["metadata"]["name"])
    assert LABEL_1123.fullmatch(manifest["metadata"]["namespace"])
    for key, value in manifest["metadata"].get("labels", {}).items():
        assert KEY.fullmatch(key)
        assert isinstance(value, str)
        assert KEY.fullmatch(value)


@pytest.mark.parametrize("name", ["Service/kube-dns-upstream", "Service/kube-dns-endpoints", "Service/node-local-dns"])
def test_ports(name: str) -> None:
    """Each has a name, since there are several, a number, and the protocol; no two are the same."""
    ports = ALL[name]["spec"]["ports"]
    assert all(set(port) == {"name", "port", "protocol", "targetPort"} for port in ports)
    assert all(port["port"] == port["targetPort"] for port in ports)
    assert len({port["name"] for port in ports}) == len({(port["port"], port["protocol"]) for port in ports})
    assert all(re.fullmatch(r"[a-z0-9-]{1,15}", port["name"]) for port in ports)


def test_kube_dns() -> None:
    """Both Services are of kube-dns's pods, over UDP and TCP; one has an IP of its own, the other names the pods as the
    monitor asks for them."""
    upstream, endpoints = ALL["Service/kube-dns-upstream"], ALL["Service/kube-dns-endpoints"]
    for service in (upstream, endpoints):
        assert service["spec"]["selector"] == {"k8s-app": "kube-dns"}
        assert {(port["port"], port["protocol"]) for port in service["spec"]["ports"]} == {(53, "UDP"), (53, "TCP")}
        assert all(port["name"] != "metrics" for port in service["spec"]["ports"])
    assert "clusterIP" not in upstream["spec"]
    assert endpoints["spec"]["clusterIP"] == "None"
    name, namespace = endpoints["metadata"]["name"], endpoints["metadata"]["namespace"]
    assert f"{name}.{namespace}.svc" == ENDPOINTS


def test_scraped_nodes() -> None:
    """Service and slice are of one name, with the port that we listen on by default; the job is node-local-dns in both
    ways of finding it."""
    service, found = ALL["Service/node-local-dns"], ALL["EndpointSlice/node-local-dns-1"]
    port = config.parse('cluster.dns = "10.96.0.10"').metrics.listen.port
    assert "selector" not in service["spec"]
    assert service["metadata"]["labels"]["k8s-app"] == "node-local-dns"
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert found["metadata"]["namespace"] == service["metadata"]["namespace"]
    wanted = {"name": "metrics", "port": port, "protocol": "TCP"}
    assert found["ports"] == [wanted]
    assert [{key: each[key] for key in wanted} for each in service["spec"]["ports"]] == [wanted]
    assert found["addressType"] == "IPv4"
    for endpoint in found["endpoints"]:
        assert set(endpoint) == {"addresses", "nodeName"}
        assert all(ipaddress.IPv4Address(address) for address in endpoint["addresses"])


def test_scrape_config() -> None:
    """Carried out on a node as Prometheus does it (relabel_config): the address becomes the node's with our port, the
    job node-local-dns."""
    spec = ALL["ScrapeConfig/node-local-dns"]["spec"]
    assert spec["kubernetesSDConfigs"] == [{"role": "Node"}]
    assert re.fullmatch(r"[0-9]+(ms|s|m)", spec["scrapeInterval"])
    labels = {"__address__": "192.0.2.11:10250", "job": "scrapeConfig/monitoring/node-local-dns"}
    labels |= {"__meta_kubernetes_node_address_InternalIP": "192.0.2.11", "__meta_kubernetes_node_name": "worker-1"}
    for step in spec["relabelings"]:
        assert set(step) <= {"sourceLabels", "regex", "targetLabel", "replacement"}
        source = ";".join(labels[name] for name in step.get("sourceLabels", []))
        match = re.fullmatch(step.get("regex", "(.*)"), source)
        assert match is not None
        labels[step["targetLabel"]] = step.get("replacement", "$1").replace("$1", match[1])
    assert (labels["__address__"], labels["node"], labels["job"]) == ("192.0.2.11:9253", "worker-1", "node-local-dns")


def test_pod() -> None:
    """dnsPolicy None needs a server and takes three; ours is the first. Options are strings."""
    spec = ALL["Pod/nodedns-example"]["spec"]
    assert spec["dnsPolicy"] == "None"
    assert set(spec["dnsConfig"]) == {"nameservers", "searches", "options"}
    listen = config.parse('cluster.dns = "10.96.0.10"').node.listen
    assert spec["dnsConfig"]["nameservers"][0] == listen[0].address
    assert 2 <= len(spec["dnsConfig"]["nameservers"]) <= 3
    assert all(ipaddress.ip_address(address) for address in spec["dnsConfig"]["nameservers"])
    assert all(isinstance(option["value"], str) for option in spec["dnsConfig"]["options"])
    assert all(set(container) == {"name", "image"} for container in spec["containers"])
