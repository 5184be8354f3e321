"""Runs `jujusim hook-tools` for many states. Starting Python and laying out the tools anew for each would take most of the time.

    many_hook_tools.py JUJUSIM CASES.jsonl RESULTS.jsonl COMMAND

A case is {state, calls, exit, relation?, remote_unit?, action?, params?}; COMMAND is run in each as
`COMMAND CALLS ANSWERS EXIT`. A result is {answers, rc, world}, with the world as `--out` writes it.
"""

import importlib.util
import json
import os
import sys
import tempfile
from argparse import Namespace
from importlib.machinery import SourceFileLoader
from multiprocessing import Pool


def load(path):
    loader = SourceFileLoader("jujusim", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("jujusim", loader))
    loader.exec_module(module)
    return module


class Standing:
    """One agent for all cases of a process, seen through links at the place where each case wants its own."""

    def __init__(self, agent):
        self.agent = agent

    def __call__(self, tools, address):
        for source, link in ((self.agent.tools_dir, tools), (self.agent.address, address)):
            os.symlink(source, link)
        return self

    def begin(self, tools, context):
        self.agent.begin(tools, context)

    def end(self):
        self.agent.end()

    def close(self):
        pass


def begin(jujusim, folder, command):
    """In each process. None forks while another thread of its own writes a program, which would then be busy."""
    global simulator, place, program
    simulator, place, program = load(jujusim), os.path.join(folder, str(os.getpid())), command
    os.mkdir(place)
    from jsim import server
    server.Agent = Standing(server.Agent(os.path.join(place, "tools"), os.path.join(place, "agent")))


def work(line):
    case = json.loads(line)
    state, calls, answers, out = [os.path.join(place, what + ".json") for what in ("state", "calls", "answers", "out")]
    for path, value in ((state, case["state"]), (calls, case["calls"])):
        with open(path, "w") as f:
            f.write(json.dumps(value))
    try:
        simulator.command_hook_tools(Namespace(
            state=state, charm=None, hook="db-relation-changed" if case.get("relation") else "update-status",
            relation=case.get("relation"), remote_unit=case.get("remote_unit"), departing=None,
            action=case.get("action"), action_params=json.dumps(case.get("params")), env=None, out=out,
            command=[program, calls, answers, str(case["exit"])]))
    except SystemExit as end:
        rc = end.code
    with open(answers) as f, open(out) as g:
        result = {"answers": json.load(f), "rc": rc, "world": json.load(g)}
    for path in (answers, out):
        os.unlink(path)
    return json.dumps(result)


def main(jujusim, cases, results, command):
    with tempfile.TemporaryDirectory(prefix="hook-tools-") as folder:
        # A process waits for its command half of the time.
        processes = 2 * (os.cpu_count() or 1)
        setup = (jujusim, folder, command)
        with open(cases) as f, open(results, "w") as g, Pool(processes, begin, setup) as pool:
            for result in pool.imap(work, f, chunksize=20):
                g.write(result + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
