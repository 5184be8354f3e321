"""What a step looks at beside the charm: real programs beside the unit, answers of a server, commands in a container."""

import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from . import sandbox

AS_WANTED = "as wanted"
ASK_KEYS = {"url", "ca", "code", "text", "not", "within"}
RUN_KEYS = {"container", "command", "rc", "text", "within"}
TEXT_SHOWN = 400


class Neighbour:
    """A real program beside the unit, in the same network; it ends with the run."""

    def __init__(self, name, spec, programs, work):
        unknown = set(spec) - {"program", "arguments", "environment", "folders", "files", "ready"}
        if unknown:
            raise SystemExit("jujusim: neighbour %s: unknown key %s" % (name, ", ".join(sorted(unknown))))
        if spec["program"] not in programs:
            raise SystemExit("jujusim: neighbour %s: give --program %s=FILE" % (name, spec["program"]))
        self.name = name
        folder = os.path.join(work, "neighbours", name)
        for inside in [""] + list(spec.get("folders") or []):
            os.makedirs(os.path.join(folder, inside), exist_ok=True)
        for inside, text in (spec.get("files") or {}).items():
            with open(os.path.join(folder, inside), "w") as file:
                file.write(text)
        self.log = os.path.join(folder, "log")
        command = [programs[spec["program"]]] + [str(a).replace("{folder}", folder) for a in spec.get("arguments") or []]
        env = {"PATH": os.environ.get("PATH", ""), "HOME": folder,
               **{k: str(v) for k, v in (spec.get("environment") or {}).items()}}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait(spec["ready"])

    def wait(self, address):
        host, _, port = address.rpartition(":")
        end = time.time() + 30
        while time.time() < end and self.process.poll() is None:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        with open(self.log, errors="replace") as log:
            said = log.read()
        self.stop()
        raise RuntimeError("neighbour %s does not listen on %s: %s" % (self.name, address, said[-TEXT_SHOWN:]))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def asked(runner, step):
    """{name: AS_WANTED or what was found instead} of all that the step asks and runs; None if that is nothing."""
    out = {}
    for key, keys, look in (("ask", ASK_KEYS, ask), ("run", RUN_KEYS, run)):
        for name, spec in (step.get(key) or {}).items():
            unknown = set(spec) - keys
            if unknown:
                raise SystemExit("jujusim: %s %s: unknown key %s" % (key, name, ", ".join(sorted(unknown))))
            end = time.time() + spec.get("within", 0)
            while True:
                found = look(runner, spec)
                if found == AS_WANTED or time.time() >= end:
                    break
                time.sleep(0.2)
            out[name] = found
    return out or None


def ask(runner, spec):
    """GET `url`, trusting the authority `ca` alone; its code has to be `code`, its text hold `text` and not hold `not`."""
    url = spec["url"].replace("{fqdn}", runner.unit.fqdn).replace("{address}", runner.world["address"])
    context = None
    if "ca" in spec:
        pem = "-----BEGIN" in spec["ca"]
        context = ssl.create_default_context(**{"cadata": spec["ca"]} if pem else {"cafile": runner.authority(spec["ca"]).cert})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=10) as answer:
            code, text = answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as e:
        code, text = e.code, e.read().decode("utf-8", "replace")
    except OSError as e:
        return "no answer from %s: %s" % (url, getattr(e, "reason", e))
    return judge(spec, "code", spec.get("code", 200), code, text)


def run(runner, spec):
    """`command` in the container's root; its exit code has to be `rc`, what it says hold `text`."""
    container = runner.unit.containers[spec["container"]]
    done = subprocess.run(spec["command"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}, timeout=60,
                          preexec_fn=sandbox.chroot_into(container.root))
    return judge(spec, "rc", spec.get("rc", 0), done.returncode, done.stdout.decode("utf-8", "replace"))


def judge(spec, what, wanted, found, text):
    if found == wanted and re.search(spec.get("text", ""), text) and not ("not" in spec and re.search(spec["not"], text)):
        return AS_WANTED
    return "%s %s: %s" % (what, found, text[:TEXT_SHOWN])
