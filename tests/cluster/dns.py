#!/usr/bin/env python3
"""A stand-in for cluster DNS: dns.py KUBECONFIG ADDRESS answers for cluster.local on port 53 of ADDRESS, UDP and TCP.

In: Services and EndpointSlices, by watch. Out: A records of Services, of the ready endpoints of headless ones (of all of
them where the Service publishes those that are not ready), of HOSTNAME.SERVICE, and SRV records of named ports. Anything
else does not exist: pods of tests have no internet. Takes only Python's standard library and kubectl.
"""
import base64
import http.client
import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

ZONE = "svc.cluster.local"
TYPE_A, TYPE_SRV = 1, 33
SECONDS_TO_LIVE = 5
MOST_UDP_RECORDS = 25
NO_SUCH_NAME, AUTHORITATIVE_ANSWER, TRUNCATED = 3, 0x8580, 0x0200


class Cluster:
    """What is known of Services and EndpointSlices, and the names that follow from it."""

    def __init__(self, kubeconfig):
        command = ["kubectl", "--kubeconfig", kubeconfig, "config", "view", "--raw", "--flatten", "-o", "json"]
        config = json.loads(subprocess.check_output(command))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = cluster["server"].removeprefix("https://")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]))
            file.flush()
            self.tls.load_cert_chain(file.name)
        self.services, self.slices = {}, {}
        # Name to ("A", addresses) or ("SRV", [(port, target)]); replaced as a whole, so readers need no lock.
        self.names = {}

    def follow(self, path, objects):
        """Keeps `objects` as the API server has them, for ever."""
        while True:
            try:
                connection = http.client.HTTPSConnection(self.host, context=self.tls, timeout=400)
                connection.request("GET", path)
                listed = json.loads(connection.getresponse().read())
                objects.clear()
                objects.update((key(item), item) for item in listed["items"])
                self.rename()
                version = listed["metadata"]["resourceVersion"]
                connection.request("GET", f"{path}?watch=1&resourceVersion={version}")
                for line in connection.getresponse():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    if event["type"] == "DELETED":
                        objects.pop(key(event["object"]), None)
                    else:
                        objects[key(event["object"])] = event["object"]
                    self.rename()
            except (OSError, ValueError, http.client.HTTPException) as error:
                print(error, file=sys.stderr, flush=True)
                time.sleep(1)  # The API server is away; it is asked again until it is back.

    def rename(self):
        names = {}

        def port(base, spec, number, target):
            if spec.get("name"):
                name = f"_{spec['name']}._{spec.get('protocol', 'TCP').lower()}.{base}"
                names.setdefault(name, ("SRV", []))[1].append((number, target))

        for (namespace, name), service in list(self.services.items()):
            spec, base = service["spec"], f"{name}.{namespace}.{ZONE}"
            if spec.get("type") == "ExternalName":
                continue
            addresses = names.setdefault(base, ("A", []))[1]
            if spec.get("clusterIP") not in (None, "None"):
                addresses.append(spec["clusterIP"])
                for each in spec.get("ports", []):
                    port(base, each, each["port"], base)
        for part in list(self.slices.values()):
            namespace = part["metadata"]["namespace"]
            name = part["metadata"].get("labels", {}).get("kubernetes.io/service-name")
            service = self.services.get((namespace, name))
            headless = service and service["spec"].get("clusterIP") == "None"
            if not headless or part.get("addressType") != "IPv4":
                continue
            base = f"{name}.{namespace}.{ZONE}"
            for endpoint in part.get("endpoints") or []:
                if endpoint.get("conditions", {}).get("ready") is False:
                    continue
                address = endpoint["addresses"][0]
                host = f"{endpoint.get('hostname') or address.replace('.', '-')}.{base}"
                names[base][1].append(address)
                names.setdefault(host, ("A", []))[1].append(address)
                for each in part.get("ports") or []:
                    port(base, each, each["port"], host)
        self.names = names

    def answer(self, query, tcp):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
            at += query[at] + 1
        (wanted,) = struct.unpack("!H", query[at + 1:at + 3])
        question = query[12:at + 5]
        kind, rows = self.names.get(".".join(labels), (None, []))
        records = []
        if kind == "A" and wanted == TYPE_A:
            records = [record(TYPE_A, socket.inet_aton(address)) for address in rows]
        elif kind == "SRV" and wanted == TYPE_SRV:
            records = [record(TYPE_SRV, struct.pack("!HHH", 0, 1, port) + encoded(host)) for port, host in rows]
        flags = AUTHORITATIVE_ANSWER | (0 if kind else NO_SUCH_NAME)
        if not tcp and len(records) > MOST_UDP_RECORDS:
            records, flags = [], flags | TRUNCATED
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)


def key(item):
    return item["metadata"]["namespace"], item["metadata"]["name"]


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(kind, data):
    # The name is the question's, by reference to its place.
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, SECONDS_TO_LIVE, len(data)) + data


def serve_tcp(cluster, listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.settimeout(2)
                stream = connection.makefile("rb")
                (length,) = struct.unpack("!H", stream.read(2))
                answer = cluster.answer(stream.read(length), tcp=True)
                connection.sendall(struct.pack("!H", len(answer)) + answer)
            except (OSError, struct.error, IndexError):
                pass  # Whoever asks nonsense gets no answer.


def main(kubeconfig, address):
    cluster = Cluster(kubeconfig)
    listener = socket.create_server((address, 53))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 53))
    for target, arguments in (
        (cluster.follow, ("/api/v1/services", cluster.services)),
        (cluster.follow, ("/apis/discovery.k8s.io/v1/endpointslices", cluster.slices)),
        (serve_tcp, (cluster, listener)),
    ):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    while True:
        query, peer = udp.recvfrom(4096)
        try:
            udp.sendto(cluster.answer(query, tcp=False), peer)
        except (OSError, struct.error, IndexError):
            pass


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
