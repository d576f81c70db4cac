"""Applies HTTPRoutes through the API server and asks gateways until they serve them; see propagation.sh.

In: a kubeconfig as JSON, how many routes, how many changes, addresses of gateways; the logs of operator and gateways say
where the time went. Out: tables in Markdown.
"""

import base64
import concurrent.futures
import datetime
import http.client
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PATH = "/apis/gateway.networking.k8s.io/v1/namespaces/bench/httproutes"
PATIENCE = 300


class Api:
    """One kept connection to the API server."""

    def __init__(self, config):
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pair:
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]))
            pair.flush()
            context.load_cert_chain(pair.name)
        server = urllib.parse.urlsplit(cluster["server"])
        self.connection = http.client.HTTPSConnection(server.hostname, server.port, context=context)

    def apply(self, name, to):
        """Server-side apply of a route that redirects /NAME to host TO."""
        route = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "bench"},
            "spec": {
                "parentRefs": [{"name": "gw"}],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
                        "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": to}}],
                    }
                ],
            },
        }
        headers = {"content-type": "application/apply-patch+yaml"}
        url = f"{PATH}/{name}?fieldManager=bench&force=true"
        self.connection.request("PATCH", url, json.dumps(route), headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"apply of {name}: {answer.status} {body[:300]}")


class Gateway:
    """One kept connection to a gateway."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, 8080, timeout=30)

    def host(self, name):
        """Where /NAME leads to, or the status."""
        self.connection.request("GET", f"/{name}")
        answer = self.connection.getresponse()
        answer.read()
        location = answer.headers.get("location")
        return urllib.parse.urlsplit(location).hostname if location else answer.status

    def await_host(self, name, to, before):
        """Asks until /NAME leads to TO; gives the time. Whatever is neither BEFORE nor TO ends the benchmark."""
        end = time.monotonic() + PATIENCE
        while (seen := self.host(name)) != to:
            if seen != before:
                raise SystemExit(f"/{name} answers {seen}, neither {before} nor {to}")
            if time.monotonic() > end:
                raise SystemExit(f"/{name} still answers {seen} after {PATIENCE} s")
            # Without this, asking would take the processors from those who are to answer.
            time.sleep(0.004)
        return time.monotonic()


def fill(config, routes):
    """Applies the routes over eight connections; gives the time of the last."""
    own = threading.local()

    def one(n):
        if not hasattr(own, "api"):
            own.api = Api(config)
        own.api.apply(f"route-{n:06}", "filled.example.com")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(routes)))
    return time.monotonic()


def row(name, times):
    times = sorted(times)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"| {name} | {statistics.median(times):.1f} | {p99:.1f} | {times[-1]:.1f} |", flush=True)


def changes(api, gateways, pool, names):
    """Applies each name's route and waits for all gateways; milliseconds until then, of them those of the API server, and
    when each was sent and seen, in seconds since 1970."""
    times, applying, spans = [], [], []
    for name, before, to in names:
        waits = [pool.submit(gateway.await_host, name, to, before) for gateway in gateways]
        sent, start = time.time(), time.monotonic()
        api.apply(name, to)
        applying.append((time.monotonic() - start) * 1e3)
        times.append((max(wait.result() for wait in waits) - start) * 1e3)
        spans.append((sent, sent + times[-1] / 1e3))
        # The statuses of this change are written, too: changes of people do not follow each other at once.
        time.sleep(0.1)
    return times, applying, spans


def logged(selector, namespace, words):
    """Lines of Pods' logs with these words: when, the version, and how long it took, in seconds."""
    command = ["kubectl", "logs", "-n", namespace, "-l", selector, "--tail=-1", "--prefix=false"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    units = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    for line in (line for line in lines if words in line):
        at = datetime.datetime.fromisoformat(line.split()[0]).timestamp()
        took = re.search(r"\btook=([0-9.]+)(s|ms|µs|ns)\b", line)
        yield at, re.search(r'\bversion="?(\w+)', line).group(1), float(took.group(1)) * units[took.group(2)]


def split(spans):
    """Where the time of each change went, in milliseconds: until the operator had it, there, to the gateways, there, and
    until it was seen."""
    operator = "app.kubernetes.io/name=turnpike-operator"
    published = sorted(logged(operator, "turnpike-system", 'published fleet="bench/gw"'))
    served = list(logged("gateway.networking.k8s.io/gateway-name=gw", "bench", "serving a snapshot"))
    rows = []
    for sent, seen in spans:
        first = next(((at, version, took) for at, version, took in published if sent < at < seen), None)
        there = [(at, took) for at, version, took in served if first and version == first[1] and at < seen]
        if there:
            at, _, compiled = first
            last, swapped = max(there)
            parts = [at - compiled - sent, compiled, last - swapped - at, swapped, seen - last]
            rows.append([part * 1e3 for part in parts])
    return list(zip(*rows))


def main():
    with open(sys.argv[1], encoding="utf8") as file:
        config = json.load(file)
    routes, count, addresses = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    gateways = [Gateway(address) for address in addresses]
    start = time.monotonic()
    applied = fill(config, routes)
    for gateway in gateways:
        gateway.await_host(f"route-{routes - 1:06}", "filled.example.com", 404)
    print(f"{routes} routes applied within {applied - start:.0f} s; served {time.monotonic() - applied:.1f} s after the last.\n")
    print(f"| {len(gateways)} gateways, {os.cpu_count()} cores for all; ms | p50 | p99 | longest |\n|---|---|---|---|", flush=True)
    api = Api(config)
    with concurrent.futures.ThreadPoolExecutor(len(gateways)) as pool:
        fresh = [(f"fresh-{n}", 404, "fresh.example.com") for n in range(count // 2)]
        times, applying, _ = changes(api, gateways, pool, fresh)
        row("a new route is served by all", times)
        hosts = [f"v{n}.example.com" for n in range(count // 2 + 1)]
        api.apply("changing", hosts[0])
        for gateway in gateways:
            gateway.await_host("changing", hosts[0], 404)
        changed = [("changing", before, to) for before, to in zip(hosts, hosts[1:])]
        times, more, spans = changes(api, gateways, pool, changed)
        row("a changed route is served by all", times)
        row("of it, the API server's answer to the apply", applying + more)
        names = ["from the apply to the operator", "compile and publish", "to the last gateway", "swap there", "seen"]
        print("\n| where the time of a changed route goes; ms | p50 | p99 | longest |\n|---|---|---|---|")
        for name, part in zip(names, split(spans), strict=True):
            row(name, part)


main()
