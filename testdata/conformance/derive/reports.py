"""Reports by brute force: every stack is walked frame by frame, with dictionaries and lists alone."""
import json
import re
from datetime import datetime

import views
from inputs import pprofs

PROFILES = None


def nanoseconds(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int((datetime.fromisoformat(whole) - datetime(1970, 1, 1)).total_seconds())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)


def selected(side):
    """Stacks and values that one side of a request means: a list of (locations, value), its unit, in the order of writes."""
    global PROFILES
    PROFILES = PROFILES or list(pprofs())
    single = "single" in side
    what = side["single" if single else "merge"]
    name, _, matchers = what["query"].partition("{")
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', matchers))
    name, sample, unit, period_type, period_unit, *delta = name.split(":")
    if single:
        first = nanoseconds(what["time"]) // 10**6 * 10**6
        last = first + 10**6 - 1
    else:
        first, last = nanoseconds(what["start"]), nanoseconds(what["end"])
    # counted samples become what a sample stands for, but not in a single profile
    times_period = not single and (sample, unit) == ("samples", "count")
    stacks = []
    for labels, p in PROFILES:
        fits = (labels["__name__"] == name and p["period_type"] == period_type + ":" + period_unit and p["delta"] == bool(delta)
                and "%s:%s" % (sample, unit) in p["types"] and first <= p["time"] <= last
                and all(labels.get(k, "") == v for k, v in wanted.items()))
        if not fits:
            continue
        column = p["types"].index("%s:%s" % (sample, unit))
        for x in p["samples"]:
            # a value of 0 is none
            if x["values"][column]:
                stacks.append((x["stack"], x["values"][column] * (p["period"] if times_period else 1)))
    return stacks, period_unit if times_period else unit


def frames(stack):
    """Root first, outer before inlined."""
    return [frame for location in reversed(stack) for frame in reversed(location)]


def what(frame, by=()):
    """What makes a frame the same as another: its name, else binary and address, and what it is grouped by."""
    place = (frame.get("map", ""), frame.get("build", ""), frame["addr"])
    if "fn" in frame:
        more = {"function_name": (), "function_file_name": (frame["file"],), "mapping_file": place[:1], "location_address": place}
        return (frame["fn"],) + tuple(more[field] for field in by)
    return place


def row_name(frame, with_map=False):
    if "fn" in frame:
        return "fn " + frame["fn"]
    where = [frame.get("map", "")] if with_map else []
    return " ".join(["addr"] + where + [frame.get("build", ""), "%#x" % frame["addr"]])


def sides(request):
    """What is compared and what it is compared with: (stacks, of these what only counts against), unit, and what filters
    took away (a comparison is not filtered here)."""
    if "diff" not in request:
        stacks, unit = selected(request)
        seen = [(views.seen(request, stack), value) for stack, value in stacks]
        filtered = sum(value for stack, value in seen if stack is None)
        return [(stack, value, 0) for stack, value in seen if stack is not None], unit, filtered
    base, _ = selected(request["diff"]["a"])
    compare, unit = selected(request["diff"]["b"])
    before, after = sum(v for _, v in base), sum(v for _, v in compare)
    scale = 1.0
    if not request["diff"].get("absolute") and before > 0 and after > 0:
        scale = after / before
    scaled = by_stack(base)
    return [(s, v, v) for s, v in compare] + [(s, 0, -(v if scale == 1.0 else int(v * scale))) for s, v in scaled], unit, 0


def by_stack(stacks):
    """Equal stacks added up, so that what is scaled is rounded once."""
    sums = {}
    for stack, value in stacks:
        key = json.dumps(stack, sort_keys=True)
        sums[key] = (stack, sums.get(key, (stack, 0))[1] + value)
    return list(sums.values())


class Sums:
    """Per row: cumulative and flat value, each with its change; and who calls whom."""

    def __init__(self, stacks):
        self.cumulative, self.flat, self.calls, self.shown = {}, {}, {}, {}
        for stack, value, change in stacks:
            path = frames(stack)
            for place, frame in enumerate(path):
                key = what(frame)
                add(self.cumulative, key, value, change)
                add(self.flat, key, *((value, change) if place + 1 == len(path) else (0, 0)))
                self.shown.setdefault(key, []).append(frame)
                if place:
                    add(self.calls, (what(path[place - 1]), key), value, change)

    def partners(self):
        """Callers and callees of each row."""
        callers, callees = {k: set() for k in self.shown}, {k: set() for k in self.shown}
        for a, b in self.calls:
            callers[b].add(a)
            callees[a].add(b)
        return callers, callees


def add(sums, key, value, change):
    old = sums.get(key, (0, 0))
    sums[key] = (wrapped(old[0] + value), wrapped(old[1] + change))


def wrapped(value):
    """In 64 bits."""
    return (value + 2**63) % 2**64 - 2**63


def answer(stacks, filtered, report):
    return {"ok": dict({"total": sum(value for _, value, _ in stacks), "filtered": filtered}, **report)}


def top(request):
    stacks, unit, filtered = sides(request)
    sums = Sums(stacks)
    rows = {row_name(sums.shown[k][0], True): [c, sums.flat[k][0], change] for k, (c, change) in sums.cumulative.items()}
    return answer(stacks, filtered, {"top": {"reported": len(rows), "unit": unit, "rows": rows}})


FOLDED_BELOW = 0.004999999888241291  # 0.005 in 32 bits


def call_graph(request):
    stacks, _, filtered = sides(request)
    sums = Sums(stacks)
    total = sum(value for _, value, _ in stacks)
    name = {k: row_name(shown[0]) for k, shown in sums.shown.items()}
    callers, callees = sums.partners()
    # small, called by exactly one, and calls something itself
    folded = {k for k in name if sums.cumulative[k][0] < total * FOLDED_BELOW and len(callers[k]) == 1 and callees[k]}

    def nearest(k, seen=()):
        return nearest(next(iter(callers[k])), seen + (k,)) if k in folded and k not in seen else k

    edges = {}
    for (caller, callee), (value, _) in sums.calls.items():
        if callee not in folded:
            key = (name[nearest(caller)], name[callee], caller in folded)
            edges[key] = edges.get(key, 0) + value
    nodes = {name[k]: [sums.cumulative[k][0], sums.flat[k][0]] for k in name if k not in folded}
    graph = {"cumulative": total, "nodes": nodes, "edges": sorted([a, b, value, c] for (a, b, c), value in edges.items())}
    return answer(stacks, filtered, {"callgraph": graph})


COLUMNS = ("fn", "sys", "file", "start", "line", "addr", "map", "build", "inl")


def said(frame):
    """What a report says of a frame: nothing of what is empty, and no address of what has a name."""
    out = {k: frame[k] for k in COLUMNS if frame.get(k) or (k == "fn" and "fn" in frame)}
    if "fn" in out:
        out.pop("addr", None)
    return out


def distinct(shown):
    """What is said of any of these frames, each once."""
    return list({dumps(one): one for one in map(said, shown)}.values())


def table(request, columns):
    """Where a row's frames differ the first is shown, whichever that is: `*`."""
    stacks, unit, filtered = sides(request)
    sums = Sums(stacks)
    callers, callees = sums.partners()
    rows = {}
    for k, shown in sums.shown.items():
        all_said = distinct(shown)
        row = {c: v if all(other.get(c) == v for other in all_said) else "*"
               for one in all_said for c, v in one.items() if c != "inl"}
        row["cumulative"], row["cumulative_diff"] = sums.cumulative[k]
        row["flat"], row["flat_diff"] = sums.flat[k]
        if "diff" not in request:
            row["cumulative_diff"] = None
        row["callers"] = sorted(row_name(sums.shown[a][0]) for a in callers[k])
        row["callees"] = sorted(row_name(sums.shown[b][0]) for b in callees[k])
        rows[row_name(shown[0])] = row
    return answer(stacks, filtered, {"table_arrow": {"columns": columns, "rows": rows, "unit": unit}})


class Node:
    def __init__(self):
        self.children, self.shown = {}, []
        self.cumulative = self.flat = self.diff = 0

    def add(self, stack, value, change, by=()):
        node, path = self, frames(stack)
        for frame in [None] + path:
            if frame is not None:
                node = node.children.setdefault(what(frame, by), Node())
                node.shown.append(frame)
            node.cumulative += value
            node.diff += change
        node.flat += value

    def said(self):
        """Nothing of what its frames differ in."""
        out, *others = distinct(self.shown)
        for other in others:
            out = {k: v for k, v in out.items() if other.get(k) == v}
        return out


def tree(stacks, by=()):
    root = Node()
    for stack, value, change in stacks:
        root.add(stack, value, change, by)
    return root


def flame_graph(request, columns):
    stacks, unit, filtered = sides(request)
    root = tree(stacks, request.get("groupBy", {}).get("fields", []))
    share = request.get("nodeTrimThreshold", 0) / 100
    trimmed = 0
    nodes = []

    def walk(node, depth, key, bar):
        nonlocal trimmed
        kept = [c for c in node.children.values() if c.cumulative > 0 and c.cumulative > bar]
        trimmed += sum(c.cumulative for c in node.children.values()) - sum(c.cumulative for c in kept)
        value = node.cumulative if depth else sum(c.cumulative for c in kept)
        nodes.append([depth, key, value, node.flat if depth else 0, node.diff])
        for key, child in by_what_is_said(kept):
            walk(child, depth + 1, key, child.cumulative * share)

    walk(root, 0, {}, root.cumulative * share)
    if len(nodes) == 1:
        nodes[0][4] = 0
    height = 1 + max([len(frames(stack)) for stack, _, _ in stacks], default=0)
    graph = {"columns": columns, "nodes": nodes, "unit": unit, "height": height, "trimmed": trimmed}
    return answer(stacks, filtered, {"flamegraph_arrow": graph})


def by_what_is_said(children):
    said = [(child.said(), child) for child in children]
    return sorted(said, key=lambda x: (dumps(x[0]), x[1].cumulative, x[1].flat, x[1].diff))


def dumps(x):
    return json.dumps(x, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def legacy_flame_graph(request):
    stacks, unit, filtered = sides(request)
    root = tree(stacks)
    nodes = []

    def name(node):
        frame = said(node.shown[0])
        return {"fn": frame["fn"]} if frame.get("fn") else {k: frame[k] for k in ("addr", "map", "build") if k in frame}

    def walk(node, depth, key):
        nodes.append([depth, key, node.cumulative, None, node.diff])
        for key, child in sorted(((name(c), c) for c in node.children.values()), key=lambda x: (dumps(x[0]), x[1].cumulative)):
            walk(child, depth + 1, key)

    walk(root, 0, {})
    # locations, not frames
    height = 1 + max([len(stack) for stack, _, _ in stacks], default=0)
    total = root.cumulative
    graph = {"total": total, "unit": unit, "height": height, "untrimmed_total": 0, "trimmed": 0, "nodes": nodes}
    return answer(stacks, filtered, {"flamegraph": graph})


def flame_chart(profiles, unit, columns):
    """Samples one after the other; a bar goes on where the next sample begins at its end and has its frame."""
    samples = [(x["time"], frames(x["stack"]), x["values"][0] * p["period"]) for p in profiles for x in p["samples"]]
    samples.sort(key=lambda sample: sample[0])
    root = Bar(None, 0)
    for time, path, value in samples:
        bar = root
        bar.cumulative += value
        for frame in path:
            last = [child for child in bar.children if what(child.frame) == what(frame)][-1:]
            if not last or last[0].begin + last[0].cumulative != time:
                last = [Bar(frame, time)]
                bar.children += last
            bar = last[0]
            bar.cumulative += value
        bar.flat += value if path else 0
    nodes = []

    def walk(bar, depth):
        nodes.append([depth, dict(said(bar.frame), ts=bar.begin) if depth else {}, bar.cumulative, bar.flat, 0])
        for child in sorted(bar.children, key=lambda child: dumps(dict(said(child.frame), ts=child.begin))):
            walk(child, depth + 1)

    walk(root, 0)
    graph = {"columns": columns, "nodes": nodes, "unit": unit, "height": 1 + max(len(path) for _, path, _ in samples), "trimmed": 0}
    return {"ok": {"total": root.cumulative, "filtered": 0, "flamegraph_arrow": graph}}


class Bar:
    def __init__(self, frame, begin):
        self.frame, self.begin = frame, begin
        self.children, self.cumulative, self.flat = [], 0, 0
