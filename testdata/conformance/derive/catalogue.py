"""Names and values of labels, and types: a walk over all samples that were written, one by one."""
import re
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from entries import cases, listed, main, recorded
from inputs import INPUTS, SCHEMA, payload, pprof, pprofs
from known import whole
from lib import canon
from pyarrow import ipc

KEPT = "labels of pprof samples are kept, and listed like those of series: Parca accepts and loses them"
DERIVED = ["labels/type", "labels/type-bounds", "labels/type-match", "labels/type-match-two", "web/labels", "rest/labels",
           "rest/labels-snake"]
# whatever the type: to what the original lists comes what it loses
ADDED = ["labels/all", "labels/bounds", "labels/match-without-type", "labels/start-only", "values/pprof-label"]
OLDER = "a profile of an older layout of OTLP is kept, which Parca refuses; one of negative duration is listed as it is found, as a delta; a write is whole whose stacks came before"
TYPES = ["rest/types", "final/types"]
# of types that no other protocol brings, and without labels of samples: the original is right
SAME = ["labels/type-match-none", "labels/unknown-type", "values/instance-type", "values/instance-type-match", "web/values-text",
        "rest/values"]


def nanos(text):
    whole, _, rest = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp())
    return seconds * 10**9 + int(rest.ljust(9, "0") or 0)


def asked(case):
    """The request of a case, by whatever way it goes."""
    if "request" in case:
        return case["request"]
    url = urlsplit(case["path"])
    request = {}
    for name, values in parse_qs(url.query).items():
        camel = re.sub(r"_(\w)", lambda m: m[1].upper(), name)
        request[camel] = values if camel == "match" else values[0]
    name = re.search(r"/labels/([^/]+)/values$", url.path)
    if name:
        request["labelName"] = name[1]
    return request


def samples():
    """(type, time, labels of the series, labels of the sample) of every value of every sample; of 0 there is none."""
    for labels, profile in pprofs():
        for sample in profile["samples"]:
            for kind, value in zip(profile["types"], sample["values"]):
                if value:
                    full = ":".join([labels["__name__"], kind, profile["period_type"]]) + (":delta" if profile["delta"] else "")
                    yield full, profile["time"], {k: v for k, v in labels.items() if k != "__name__"}, sample["labels"]


def found(request):
    """Names of labels, each with its values, of what a request means. Bounds are exclusive; one alone is none."""
    # without a type, and by Values, they are ignored
    heeded = request.get("match", []) if "profileType" in request and "labelName" not in request else []
    matchers = [re.fullmatch(r'(\w+)="(.*)"', m).groups() for m in heeded]
    bounds = [nanos(request[name]) for name in ("start", "end") if name in request]
    labels = {}
    for kind, time, of_series, of_sample in samples():
        both = {**of_sample, **of_series}
        if kind != request.get("profileType", kind) or len(bounds) == 2 and not bounds[0] < time < bounds[1]:
            continue
        if all(both.get(name, "") == value for name, value in matchers):
            for name, value in both.items():
                labels.setdefault(name, set()).add(value)
    return labels


def answer(case, known=None):
    """`known` is what the original says: names of labels that come by other protocols."""
    request = asked(case)
    labels = found(request)
    if "labelName" in request:
        field, names = "labelValues", set(labels.get(request["labelName"], ()))
    else:
        field, names = "labelNames", set(labels)
    listed = sorted(names | set((known or {}).get(field, ())))
    message = {field: listed} if listed else {}
    kind = case.get("kind", "grpc")
    if kind == "grpc":
        return {"ok": message}
    if kind == "grpc-web":
        text = "-text" if case.get("text") else "+proto"
        return {"http": {"status": 200, "content_type": "application/grpc-web" + text, "grpc_status": "OK", "grpc_message": "",
                         "message": message}}
    return {"http": {"status": 200, "content_type": "application/json", "json": {field: listed, "warnings": []}}}


def accepted_otlp(known):
    """Types, with their times, of the OTLP exports that the original refuses and that are held right."""
    taken = {entry["id"] for entry in listed() if "ok" in entry.get("expect", {})}
    export = SCHEMA.method("opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export")[0]
    for case in known.values():
        if case["id"] not in taken or "error" not in case or "@file" not in case.get("raw", {}):
            continue
        with open("%s/%s" % (INPUTS, case["raw"]["@file"]), "rb") as f:
            # of all messages only the samples have other numbers in 1.9
            request = export.FromString(f.read())
        s = lambda i: request.dictionary.string_table[i]
        for scope in (scope for resource in request.resource_profiles for scope in resource.scope_profiles):
            for p in scope.profiles:
                yield p.time_unix_nano, {
                    "name": scope.scope.name, "sampleType": s(p.sample_type.type_strindex), "sampleUnit": s(p.sample_type.unit_strindex),
                    "periodType": s(p.period_type.type_strindex), "periodUnit": s(p.period_type.unit_strindex),
                    "delta": p.duration_nano != 0}


def whole_writes(known):
    """The same of the writes that the original refuses for want of stacks that had come before."""
    text = lambda value: value.decode() if isinstance(value, bytes) else value
    for case_id in sorted(whole()):
        if "error" not in known[case_id]:
            continue
        for batch in ipc.open_stream(payload(known[case_id]["requests"][0]["record"])):
            column = lambda name: [text(value) for value in batch.column(name).to_pylist()]
            for time, duration, *kind in zip(*map(column, ("timestamp", "duration", "producer", "sample_type", "sample_unit",
                                                           "period_type", "period_unit"))):
                yield time, {**dict(zip(("name", "sampleType", "sampleUnit", "periodType", "periodUnit"), kind)),
                             "delta": duration != 0}


def negative_durations(known):
    """Names of profiles with one: the original finds them as deltas, and lists them as none."""
    names = set()
    for case in known.values():
        if case.get("effect") and "ok" in case and case.get("rpc", "").endswith("/WriteRaw"):
            for series in case["request"]["series"]:
                if any(pprof(sample["rawProfile"]["@file"])["duration"] < 0 for sample in series.get("samples", [])
                       if list(sample.get("rawProfile", ())) == ["@file"]):
                    names.update(label["value"] for label in series["labels"]["labels"] if label["name"] == "__name__")
    return names


def types(case, known):
    request = asked(case)
    bounds = nanos(request["start"]), nanos(request["end"])
    more = []
    for time, kind in [*accepted_otlp(known), *whole_writes(known)]:
        if bounds[0] < time < bounds[1] and kind not in more:
            more.append(kind)
    [(kind, said)] = recorded(case).items()
    said = dict(said)
    body = said if kind == "ok" else dict(said["json"])
    if kind == "ok":
        more = [{k: v for k, v in of.items() if v} for of in more]
    deltas = negative_durations(known)
    as_found = [dict(of, delta=True) if of["name"] in deltas else of for of in body["types"]]
    body["types"] = sorted(as_found + more, key=canon.dumps)
    return {kind: body if kind == "ok" else dict(said, json=body)}


if __name__ == "__main__":
    known = cases()
    derived = {i: (KEPT, answer(known[i])) for i in DERIVED}
    derived.update((i, (KEPT, answer(known[i], known[i]["ok"]))) for i in ADDED)
    derived.update((i, (OLDER, types(known[i], known))) for i in TYPES)
    main(derived, [(i, answer(known[i])) for i in SAME])
