"""The image's program in the image's root, with a network of loopback alone: it serves, and finds hosts by both ways.

    bare_image.py ARCHIVE

Decima scrapes itself under a name of /etc/hosts and under one that only a name server knows. Prints what was seen as JSON.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from bare import PATIENCE, NameServer, Root
from jsim import sandbox
from oci import Image

NOBODY = 65534
PORT = 7070

PARCA_YAML = """
object_storage: {bucket: {type: FILESYSTEM, config: {directory: /data/objects}}}
scrape_configs:
%s"""

JOB = """- job_name: %s
  scrape_interval: 1s
  scrape_timeout: 3s
  static_configs: [{targets: ["%s:%d"]}]
  profiling_config:
    pprof_config: {block: {enabled: false}, goroutine: {enabled: false}, mutex: {enabled: false}}
"""


def get(path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (PORT, path), timeout=10) as reply:
            return reply.read().decode()
    except (OSError, urllib.error.URLError):
        return ""


def wait_for(path, wanted):
    """What `path` answers once `wanted` holds for it, or what it answered last."""
    until = time.time() + PATIENCE / 2
    while True:
        answer = get(path)
        if wanted(answer) or time.time() > until:
            return answer
        time.sleep(0.1)


def main(archive):
    socket.sethostname("image")
    sandbox.interface("lo")
    server = NameServer({"by-dns.example": "127.0.0.1"}, {})
    image = Image(archive)
    # as the kernel sees it, root may become anybody; in a user namespace there is nobody else
    with open("/proc/self/uid_map") as file:
        anybody = int(file.read().split()[2]) > NOBODY
    environment = dict(pair.split("=", 1) for pair in image.config["config"]["Env"])
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        image.unpack(folder)
        root = Root(folder)
        seen = {"files": root.files()}
        # what a container runtime puts there
        devices = [os.path.join(folder, "dev", name) for name in ("null", "urandom", "random")]
        for device in devices:
            root.put(os.path.relpath(device, folder), b"")
            sandbox.bind("/dev/" + os.path.basename(device), device)
        root.put("/etc/hosts", b"127.0.0.1 localhost by-hosts.example\n")
        root.put("/etc/resolv.conf", b"nameserver 127.0.0.1\n")
        jobs = [JOB % (by, by + ".example", PORT) for by in ("by-hosts", "by-dns")]
        root.put("/mounted/parca.yaml", (PARCA_YAML % "".join(jobs)).encode())
        seen["version"] = root.run(["/parca", "--version"], environment)
        seen["check"] = root.run(["/parca", "check", "config", "/parca.yaml"], environment)
        command = image.config["config"]["Cmd"] + ["--config-path=/mounted/parca.yaml"]
        with open(os.path.join(folder, "log"), "w+") as log:
            child = root.start(command, environment, user=NOBODY if anybody else 0, stdout=log, stderr=log)
            seen["screen"] = wait_for("/", lambda page: "<html" in page)
            good = lambda targets: targets.count("HEALTH_GOOD") == 2  # noqa: E731
            seen["targets"] = wait_for("/api/targets", good)
            child.terminate()
            try:
                seen["stopped"] = child.wait(PATIENCE / 4)
            finally:
                child.kill()
            log.seek(0)
            seen["log"] = log.read()
        subprocess.run(["umount", *devices], check=True)
        seen["asked"] = sorted(set(server.asked))
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
