"""Profiles that agents send in Arrow, and OTLP: reports of them row by row, by names that the linker's mean."""
import re

import reports
from entries import cases, main, recorded
from inputs import demangled, manifest, otlp, payload
from pyarrow import ipc

NAMES = "functions that an agent names only as the linker does are named by what that means: Parca leaves them nameless, and so merges them"
BATCHES = NAMES + "; the second record batch is kept too, which Parca loses"
INDEX = "functions of OTLP profiles are read at their own index: Parca reads the one before"
HIDES = "a profile without a period type is listed like any other: in Parca one hides all"


def meant(system):
    """A Rust path of the newer mangling is a crate and a function here; the older is `inputs`' affair."""
    path = re.fullmatch(r"_RNvCs\w+?_(\d+)(\w+)", system)
    if path is None:
        return demangled(system)
    length, rest = int(path[1]), path[2]
    last = re.fullmatch(r"(\d+)(\w+)", rest[length:])
    return rest[:length] + "::" + last[2][: int(last[1])]


def text(value):
    return value.decode() if isinstance(value, bytes) else value or ""


def location(row):
    where = {"addr": row["address"]}
    if text(row["mapping_file"]) or text(row["mapping_build_id"]):
        where.update(map=text(row["mapping_file"]), build=text(row["mapping_build_id"]))
    lines = row["lines"] or []
    frames = []
    for place, line in enumerate(lines):
        f = line["function"]
        system = text(f["system_name"])
        frames.append(dict(where, fn=meant(system), sys=system, file=text(f["filename"]), start=f["start_line"],
                           line=line["line"], inl=place + 1 < len(lines)))
    return frames or [where]


def arrow(name):
    """Every row of a WriteArrow message as a profile of its own."""
    for batch in ipc.open_stream(payload({"@file": name})):
        times = batch.column("timestamp")
        for row, at in zip(batch.drop_columns(["timestamp"]).to_pylist(), times):
            labels = {k: text(v) for k, v in row.get("labels", {}).items() if v is not None}
            kind = lambda a, b: "%s:%s" % (text(row[a]), text(row[b]))
            stack = [location(at) for at in row["stacktrace"] or []]
            yield dict(labels, __name__=text(row["producer"])), {
                "types": [kind("sample_type", "sample_unit")], "period_type": kind("period_type", "period_unit"),
                "time": at.value, "period": row["period"],
                "delta": row["duration"] != 0, "samples": [{"stack": stack, "values": [row["value"]], "labels": {}}]}


def all_arrow():
    return [one for call in manifest() if call["call"] == "WriteArrow" for one in arrow(call["file"])]


def exports(names):
    for name, scope in names.items():
        for profile in otlp(name):
            yield {"__name__": scope}, profile


def pprof(request):
    """Stacks with all that is said of them, and the values of their samples."""
    stacks, unit = reports.selected(request)
    sums = {}
    for stack, value in stacks:
        # what has no stack is in no pprof, as in the original
        if not stack:
            continue
        lines = []
        for frames in stack:
            where = "%s %s" % (frames[0].get("map") or "-", frames[0].get("build") or "-")
            said = ["%s|%s|%s|%d:%d" % (f["fn"], f["sys"], f["file"], f["start"], f["line"]) for f in frames if "fn" in f]
            lines.append("%s [%s]" % (where, "; ".join(said)) if said else "%s %#x" % (where, frames[0]["addr"]))
        key = "\n".join(lines)
        sums[key] = [sums.get(key, [0])[0] + value]
    kind = "%s/%s" % (re.split("[:{]", request["merge"]["query"])[3], unit)
    time = reports.wrapped(reports.nanoseconds(request["merge"]["start"]) * 10**6)
    return {"ok": {"total": 0, "filtered": 0, "pprof": {
        "sample_types": [kind], "period_type": kind, "period": 0, "time_nanos": time, "duration_nanos": 0, "stacks": sums}}}


def answer(case, profiles, query=None):
    reports.PROFILES = profiles
    request = dict(case["request"])
    if query:
        request["merge"] = dict(request["merge"], query=query)
    kind = request["reportType"]
    if kind == "REPORT_TYPE_PPROF":
        return pprof(request)
    if kind == "REPORT_TYPE_TOP":
        return reports.top(request)
    if kind == "REPORT_TYPE_TABLE_ARROW":
        return reports.table(request, recorded(case)["ok"]["table_arrow"]["columns"])
    return reports.flame_graph(request, recorded(case)["ok"]["flamegraph_arrow"]["columns"])


if __name__ == "__main__":
    known = cases()
    agents = all_arrow()
    named = [one for one in agents if one[0].get("node")]
    collected = list(exports({"otlp_basic.otlp.pb": "otel_profiler", "otlp_noattr.otlp.pb": "plain", "otlp_ts_only.otlp.pb": "ts_only",
                              "otlp_unnamed.otlp.pb": "unknown"}))
    odd = list(exports({"otlp_odd_types.otlp.pb": "odd"}))
    derived = {"agent/" + end: (NAMES, answer(known["agent/" + end], agents)) for end in ("parca_agent-table", "parca_agent-pprof")}
    derived.update({"agent/" + end: (BATCHES, answer(known["agent/" + end], agents)) for end in ("two-arrow", "two-table", "two-pprof")})
    derived["agent/memory"] = (NAMES, answer(known["agent/memory"], named, "memory:inuse_space:bytes:space:bytes"))
    for end in ("labels", "temporality"):
        case_id = "arrow/missing-%s-read" % end
        derived[case_id] = (NAMES, answer(known[case_id], list(arrow("v2_bad_%s.arrow" % end))))
    derived.update({"otlp/" + end: (INDEX, answer(known["otlp/" + end], collected)) for end in (
        "otel_profiler-arrow", "otel_profiler-pprof", "plain-arrow", "plain-pprof", "ts_only-arrow", "unknown-pprof")})
    derived["poison/merge"] = (INDEX, answer(known["poison/merge"], odd, "odd:off-cpu:µs:::delta"))
    for case_id in ("poison/has-data", "poison/has-data-noperiod"):
        derived[case_id] = (HIDES, {"ok": {"hasData": True}})
    main(derived)
