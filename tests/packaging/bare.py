"""Runs a program where there is nothing but what it is given: a root of its own, and a network of loopback alone.

The tests start this file in fresh namespaces (`run`); inside, `Root` makes the root and `NameServer` answers on 127.0.0.1:53.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.realpath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(PROJECT, "tests", "jujusim"))

# Of this machine, as images and charms call it.
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

# Seconds after which a program that was started here is ended.
PATIENCE = 120


def run(script, *arguments):
    """Runs a Python program of this folder in namespaces of its own. What it prints last is JSON, and comes back."""
    if not shutil.which("unshare"):
        raise AssertionError("this test needs the program `unshare`: install util-linux")
    flags = ["--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        flags = ["--user", "--map-root-user", *flags]
    command = ["unshare", *flags, "--", sys.executable, "-B", os.path.join(HERE, script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError("%s ended with %d; it needs root or unprivileged user namespaces:\n%s%s"
                             % (script, done.returncode, done.stdout, done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


class Root:
    """A folder that a program takes for `/`."""

    def __init__(self, path):
        self.path = path

    def put(self, inside, content, mode=0o644):
        target = os.path.join(self.path, inside.lstrip("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(content)
        os.chmod(target, mode)

    def files(self):
        """All that is not a folder, by its path inside."""
        found = []
        for at, _, names in os.walk(self.path):
            found += ["/" + os.path.relpath(os.path.join(at, name), self.path) for name in names]
        return sorted(found)

    def start(self, command, environment, user=0, **how):
        def enter():
            os.chroot(self.path)
            os.chdir("/")
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
        return subprocess.Popen(command, env=environment, preexec_fn=enter, stdin=subprocess.DEVNULL, **how)

    def run(self, command, environment):
        """Exit code, stdout and stderr."""
        child = self.start(command, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = child.communicate(timeout=PATIENCE)
        finally:
            child.kill()
        return child.returncode, out, err


class NameServer:
    """A name server on 127.0.0.1:53 that knows `addresses` (name -> IPv4 address) and `names` (address -> name), and no more."""

    A, PTR = 1, 12

    def __init__(self, addresses, names):
        self.records = {(name.lower(), self.A): socket.inet_aton(address) for name, address in addresses.items()}
        for address, name in names.items():
            reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
            labels = [label.encode() for label in name.split(".")]
            self.records[reverse, self.PTR] = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
        self.known = {name for name, _ in self.records}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            question, sender = self.socket.recvfrom(512)
            self.socket.sendto(self.answer(question), sender)

    def answer(self, message):
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode())
            at += 1 + message[at]
        kind, = struct.unpack_from(">H", message, at + 1)
        name = ".".join(labels).lower()
        self.asked.append(name)
        record = self.records.get((name, kind))
        no_such_name = 0 if name in self.known else 3
        head = message[:2] + struct.pack(">HHHHH", 0x8580 | no_such_name, 1, int(record is not None), 0, 0)
        answer = b"" if record is None else struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(record)) + record
        return head + message[12:at + 5] + answer
