"""What single cases write beside `load`, and what is asked of it: types of profiles, values over time by labels, labels of samples."""
import re
import sys
from datetime import datetime, timezone

import pyarrow as pa
from google.protobuf import json_format
from pyarrow import ipc

from entries import cases, main
from inputs import SCHEMA, manifest, payload, pprof, pprof_of
from known import whole
from lib import canon

# in the layout of proto 1.9, which the original misreads and refuses
OLDER = "otlp-error/layout-1.9"
EXPORT = "opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
ABSENT = "a series without the label has the empty value, whatever else was written beside it"
LISTED = "a profile without a period type is listed like any other: in Parca one hides all"
KEPT = "labels of pprof samples are kept, and listed like those of series: Parca accepts and loses them"
RECEIVED = "a profile without a time gets the time of its receipt, and so is none of 1970"


def split(kind):
    """Type and unit; a type may hold a colon."""
    return tuple(kind.rsplit(":", 1))


def of_pprof(name, profile):
    """Types of which some sample has a value."""
    for at, kind in enumerate(profile["types"]):
        if any(sample["values"][at] for sample in profile["samples"]):
            yield (name, *split(kind), *split(profile["period_type"]), profile["delta"])


def of_export(request):
    d = request.dictionary
    text = lambda t: (d.string_table[t.type_strindex], d.string_table[t.unit_strindex])
    for resource in request.resource_profiles:
        for scope in resource.scope_profiles:
            name = re.sub(r"[^a-zA-Z0-9_]", "_", scope.scope.name) or "unknown"
            for p in scope.profiles:
                if p.samples:
                    yield (name, *text(p.sample_type), *text(p.period_type), p.duration_nano != 0)


def of_arrow(raw):
    plain = lambda column: pa.array(column.to_pylist())
    for batch in ipc.open_stream(raw):
        columns = [plain(batch.column(c)).to_pylist() for c in
                   ("producer", "sample_type", "sample_unit", "period_type", "period_unit", "duration")]
        for *names, duration in zip(*columns):
            yield (*[n.decode() if isinstance(n, bytes) else n or "" for n in names], duration != 0)


def read_export(raw):
    request = SCHEMA.method(EXPORT)[0]()
    request.ParseFromString(raw)
    return request


def loaded():
    for call in manifest():
        if call["call"] == "WriteRaw":
            for series in call["series"]:
                for name in series["files"]:
                    yield from of_pprof(series["labels"]["__name__"], pprof(name))
        elif call["call"] == "OTLP":
            yield from of_export(read_export(payload({"@file": call["file"]})))
        elif call["call"] == "WriteArrow":
            yield from of_arrow(payload({"@file": call["file"]}))
        elif call["call"] == "Write":
            yield from of_arrow(payload({"@file": call["files"][0]}))
        else:
            sys.exit("a call that is not known: %s" % call)


def of_case(case):
    """Of a case that the recording took."""
    method = case.get("rpc", "").rsplit("/", 1)[-1]
    if case.get("kind") == "http":
        body = case.get("body") or {}
        series = body.get("series", [])
    else:
        series = case.get("request", {}).get("series", [])
    if method == "WriteRaw" or case.get("path", "").endswith("/writeraw"):
        for one in series:
            names = [label["value"] for label in one.get("labels", {}).get("labels", []) if label["name"] == "__name__"]
            for sample in one.get("samples", []):
                raw = payload(sample.get("rawProfile", ""))
                # nothing at all is a profile without samples
                if raw:
                    yield from of_pprof(names[-1], pprof_of(raw))
    elif method == "WriteArrow":
        yield from of_arrow(payload(case["request"]["ipcBuffer"]))
    elif method == "Write":
        yield from of_arrow(payload(case["requests"][0]["record"]))
    elif method == "Export":
        if "raw" in case:
            yield from of_export(read_export(payload(case["raw"])))
        else:
            yield from of_export(json_format.ParseDict(case["request"], SCHEMA.method(EXPORT)[0]()))


def types(until):
    found = set(loaded())
    known_stacks = whole()
    for case_id, case in cases().items():
        if case_id == until:
            break
        taken = "ok" in case or case.get("http", {}).get("status") == 200 or case_id == OLDER or case_id in known_stacks
        if case.get("effect") and taken and case.get("kind") != "load":
            found.update(of_case(case))
    fields = ("name", "sampleType", "sampleUnit", "periodType", "periodUnit", "delta")
    listed = [{f: v for f, v in zip(fields, kind) if v} for kind in found]
    return {"ok": {"types": sorted(listed, key=canon.dumps)}}


def series_of(name):
    """(labels, profile) of each series of the case that writes `name`."""
    for case in cases().values():
        for one in case.get("request", {}).get("series", []):
            labels = {label["name"]: label["value"] for label in one.get("labels", {}).get("labels", [])}
            if labels.get("__name__") == name:
                for sample in one["samples"]:
                    yield labels, pprof_of(payload(sample["rawProfile"]))


def holds(operator, wanted, value):
    found = re.search(wanted, value) is not None if "~" in operator else wanted == value
    return found != (operator[0] == "!")


def over_time(case):
    """A range of one profile a series, summed by labels: samples times period, in steps."""
    request = case["request"]
    name, matcher = re.fullmatch(r'(\w+):samples:count:cpu:nanoseconds:delta\{(.*)\}', request["query"]).groups()
    label, operator, wanted = re.fullmatch(r'(\w+)(=~|!~|!=|=)"(.*)"', matcher).groups()
    step = int(request["step"].rstrip("s")) * 10**9
    buckets = {}
    for labels, profile in series_of(name):
        if not holds(operator, wanted, labels.get(label, "")):
            continue
        by = tuple((n, labels[n]) for n in request["sumBy"] if labels.get(n))
        at = profile["types"].index("samples:count")
        value = sum(sample["values"][at] for sample in profile["samples"]) * profile["period"]
        bucket = buckets.setdefault(by, {})
        start = profile["time"] // step * step
        bucket.setdefault(start, []).append((profile["time"], value, profile["duration"]))
    if not buckets:
        return case
    rows = []
    unit = {"type": "cpu", "unit": "nanoseconds"}
    for by, bucket in buckets.items():
        samples = []
        for start, parts in sorted(bucket.items()):
            value = sum(value for _, value, _ in parts)
            duration = min(duration for *_, duration in parts) if len({time for time, *_ in parts}) == 1 else step
            samples.append({"timestamp": stamp(start), "value": str(value), "duration": str(duration), "count": len(parts),
                            # cores, for time of a CPU
                            "valuePerSecond": value / 1e9 / (duration / 1e9)})
        rows.append({"labels": dict(by), "periodType": unit, "sampleType": unit, "samples": samples})
    return {"ok": {"series": sorted(rows, key=canon.dumps)}}


def stamp(nanos):
    return datetime.fromtimestamp(nanos / 1e9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def labels(name):
    found = set()
    for of_series, profile in series_of(name):
        found.update(n for n in of_series if n != "__name__")
        for sample in profile["samples"]:
            found.update(sample["labels"])
    return {"ok": {"labelNames": sorted(found)}}


if __name__ == "__main__":
    known = cases()
    mixed = lambda end: known["write/mixed-read-" + end]
    derived = {"write/mixed-read-" + end: (ABSENT, over_time(mixed(end)))
               for end in ("neq", "neq-other", "nre", "nre-other", "re-all", "re-empty")}
    derived["write/pprof-labels-names"] = (KEPT, labels("w_plabels"))
    derived["poison/types-noperiod"] = (LISTED, types("poison/types-noperiod"))
    derived["poison/types"] = (LISTED, types("poison/types"))
    nothing = {"total": 0, "filtered": 0, "top": {"reported": 0, "unit": "nanoseconds", "rows": {}}}
    derived["write/no-time-read"] = (RECEIVED, {"ok": nothing})
    same = [("write/mixed-read-" + end, over_time(mixed(end))) for end in ("empty", "nonempty")]
    main(derived, same)
