"""Names and values of labels: a walk over all samples that were written, one by one."""
import re
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from entries import cases, main
from inputs import pprofs

KEPT = "labels of pprof samples are kept, and listed like those of series: Parca accepts and loses them"
DERIVED = ["labels/type", "labels/type-bounds", "labels/type-match", "labels/type-match-two", "web/labels", "rest/labels",
           "rest/labels-snake"]
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
    matchers = [re.fullmatch(r'(\w+)="(.*)"', m).groups() for m in request.get("match", [])] if "labelName" not in request else []
    bounds = [nanos(request[name]) for name in ("start", "end") if name in request]
    labels = {}
    for kind, time, of_series, of_sample in samples():
        both = {**of_sample, **of_series}
        if kind != request["profileType"] or len(bounds) == 2 and not bounds[0] < time < bounds[1]:
            continue
        if all(both.get(name, "") == value for name, value in matchers):
            for name, value in both.items():
                labels.setdefault(name, set()).add(value)
    return labels


def answer(case):
    request = asked(case)
    labels = found(request)
    if "labelName" in request:
        field, listed = "labelValues", sorted(labels.get(request["labelName"], ()))
    else:
        field, listed = "labelNames", sorted(labels)
    message = {field: listed} if listed else {}
    kind = case.get("kind", "grpc")
    if kind == "grpc":
        return {"ok": message}
    if kind == "grpc-web":
        text = "-text" if case.get("text") else "+proto"
        return {"http": {"status": 200, "content_type": "application/grpc-web" + text, "grpc_status": "OK", "grpc_message": "",
                         "message": message}}
    return {"http": {"status": 200, "content_type": "application/json", "json": {field: listed, "warnings": []}}}


if __name__ == "__main__":
    known = cases()
    main({i: (KEPT, answer(known[i])) for i in DERIVED}, [(i, answer(known[i])) for i in SAME])
