"""One dispatch of the charm's action `list-endpoints` in a root that holds `dispatch`, the hook tools and two files of /etc.

    bare_dispatch.py CHARM hosts|dns

The hook tools are Juju's, programs without libraries; here they are the simulator's. Prints what happened as JSON.
"""

import json
import os
import socket
import sys
import tempfile
import zipfile

from bare import PROJECT, NameServer, Root

os.environ["JUJUSIM_CLIENT"] = os.path.join(PROJECT, "target/jujusim/client")

from jsim import sandbox  # noqa: E402
from jsim.server import Agent  # noqa: E402
from jsim.tools import Tools  # noqa: E402
from jsim.unit import base_environment, load_charm  # noqa: E402
from jsim.world import Transaction, new_world  # noqa: E402

HOST = "parca-k8s-0"
ADDRESS = "10.1.2.3"
AGENT = "@decima-bare-dispatch"


def main(charm, known_by):
    fqdn = "%s.by-%s.example" % (HOST, known_by)
    socket.sethostname(HOST)
    sandbox.interface("lo")
    hosts = "127.0.0.1\tlocalhost\n"
    if known_by == "hosts":
        hosts += "%s\t%s\t%s\n" % (ADDRESS, fqdn, HOST)
    server = NameServer({HOST + ".svc.example": ADDRESS} if known_by == "dns" else {}, {ADDRESS: fqdn})

    meta, config, _ = load_charm(charm)
    # a relation for which the charm makes a key, so that it needs random numbers
    world = new_world(meta, config, {"leader": True, "relations": [{"id": 20, "endpoint": "certificates", "app": "authority"}]})
    transaction = Transaction(world)
    transaction.action = {"params": {}, "results": {}, "failed": False, "message": "", "log": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Root(folder)
        with zipfile.ZipFile(charm) as packed:
            root.put("/dispatch", packed.read("dispatch"), 0o755)
        root.put("/etc/hosts", hosts.encode())
        root.put("/etc/resolv.conf", b"search svc.example\nnameserver 127.0.0.1\n")
        agent = Agent(os.path.join(folder, "tools"), AGENT)
        environment = base_environment(world, {"charm": "/", "tools": "/tools"}, AGENT, "bare", "", "actions/list-endpoints")
        environment.update(PATH="/tools", JUJU_ACTION_NAME="list-endpoints", JUJU_ACTION_UUID="1", JUJU_ACTION_TAG="action-1")
        files = root.files()
        agent.begin(Tools(transaction, meta, config), "bare")
        # Juju's tools read files that their arguments name where they are called; here the agent does
        os.chdir(folder)
        rc, out, err = root.run(["/dispatch"], environment)
        os.chdir("/")
        agent.close()
    print(json.dumps({
        "rc": rc, "stdout": out, "stderr": err, "fqdn": fqdn, "asked": server.asked,
        "files": [file for file in files if not file.startswith("/tools/")],
        "results": transaction.action["results"], "status": transaction.view["unit_status"],
        "request": transaction.view["relations"][20]["local_unit"].get("certificate_signing_requests", ""),
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
