"""A single profile as pprof: as it was sent, with the value that was asked for, and the labels of its samples."""
import re

from entries import cases, main
from inputs import pprofs
from reports import nanoseconds


def single(request):
    side = request["single"]
    name, _, matchers = side["query"].partition("{")
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', matchers), __name__=name.split(":")[0])
    (_, p), = [(labels, p) for labels, p in pprofs() if wanted.items() <= labels.items() and p["time"] == nanoseconds(side["time"])]
    kind = ":".join(name.split(":")[1:3])
    column = p["types"].index(kind)
    stacks = {}
    for x in p["samples"]:
        if x["values"][column]:
            key = "\n".join(list(map(location, x["stack"])) + sorted("%s=%s" % label for label in x["labels"].items()))
            stacks[key] = [stacks.get(key, [0])[0] + x["values"][column]]
    return {"ok": {"total": 0, "filtered": 0, "pprof": {
        "sample_types": [kind.replace(":", "/")], "period_type": p["period_type"].replace(":", "/"), "period": p["period"],
        "time_nanos": p["time"], "duration_nanos": p["duration"], "stacks": stacks}}}


def location(frames):
    where = "%s %s" % (frames[0].get("map") or "-", frames[0].get("build") or "-")
    if "fn" not in frames[0]:
        return "%s %#x" % (where, frames[0]["addr"])
    lines = ["%s|%s|%s|%d:%d" % (f["fn"], f["sys"], f["file"], f["start"], f["line"]) for f in frames]
    return "%s [%s]" % (where, "; ".join(lines))


if __name__ == "__main__":
    reason = "a single profile is exported as it was sent, with period, duration and the labels of its samples"
    main({"single/cpu-pprof": (reason, single(cases()["single/cpu-pprof"]["request"]))})
