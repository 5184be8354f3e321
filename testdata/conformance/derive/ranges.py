"""Values over time, sample by sample."""
import os
import re

import pyarrow as pa

from catalogue import nanos
from entries import cases, main
from inputs import INPUTS, SCHEMA, manifest, pprofs
from lib import canon

NO_STEP = "without a step the range is divided by the limit, else by 100, into buckets of at least a second: Parca puts all into one in 1970"
BATCHES = "all batches of an Arrow message are kept: Parca keeps the first"
NEGATIVE = "a negative step is a mistake: Parca accepts it and gives negative rates"
SECOND = 10**9


def matches(label, operator, pattern):
    """An absent label is the empty text. Patterns match anywhere, as in Parca."""
    if operator in ("=", "!="):
        return (label == pattern) == (operator == "=")
    return (re.search(pattern, label) is not None) == (operator == "=~")


def parsed(query):
    kind, matchers = re.fullmatch(r"([^{]*)(?:\{(.*)\})?", query).groups()
    found = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers or "")
    if not kind:
        # whatever the operator
        [kind] = [value for name, _, value in found if name == "__name__"]
    return kind, [m for m in found if m[0] != "__name__"]


def seconds(text):
    return round(float(text.rstrip("s")) * SECOND)


def pprof_rows():
    """(type, time, value, labels, duration, period) of every value of every pprof sample."""
    for labels, profile in pprofs():
        full = ":".join([labels["__name__"], "%s", profile["period_type"]]) + (":delta" if profile["delta"] else "")
        for sample in profile["samples"]:
            both = {**sample["labels"], **{k: v for k, v in labels.items() if k != "__name__"}}
            for of, value in zip(profile["types"], sample["values"]):
                yield full % of, profile["time"], value, both, profile["duration"], profile["period"]


def arrow_rows():
    """The same of every row of the Arrow messages of the second version."""
    for call in manifest():
        if call["call"] != "WriteArrow":
            continue
        with pa.ipc.open_stream(os.path.join(INPUTS, call["file"])) as messages:
            for batch in messages:
                column = lambda name: batch.column(name).to_pylist()
                labels = {f.name: batch.column("labels").field(f.name).to_pylist() for f in batch.schema.field("labels").type}
                names = ["producer", "sample_type", "sample_unit", "period_type", "period_unit"]
                for at, (time, value, duration, period, *kind) in enumerate(zip(
                        batch.column("timestamp").cast(pa.int64()).to_pylist(), *map(column, ["value", "duration", "period"] + names))):
                    of = {name: values[at] for name, values in labels.items() if values[at]}
                    yield ":".join(kind) + (":delta" if duration else ""), time, value, of, duration, period


ROWS = [*pprof_rows(), *arrow_rows()]


def rows(kind, matchers, start, end):
    """(time, value, labels, duration, period) of every sample of a type."""
    for of, time, value, labels, duration, period in ROWS:
        if value and of == kind and start <= time <= end:
            if all(matches(labels.get(name, ""), operator, pattern) for name, operator, pattern in matchers):
                yield time, value, labels, duration, period


def answer(case):
    request = case["request"]
    kind, matchers = parsed(request["query"])
    start, end = nanos(request["start"]), nanos(request["end"])
    step = seconds(request.get("step", "0s"))
    if step < 0:
        return {"error": {"code": "INVALID_ARGUMENT", "message": "step"}}
    if step == 0:
        step = max(SECOND, (end - start) // request.get("limit", 100))
    name, sample_type, sample_unit, period_type, period_unit = kind.split(":")[:5]
    delta = kind.endswith(":delta")
    counted = delta and (sample_type, sample_unit) == ("samples", "count")
    if counted:
        sample_type, sample_unit = period_type, period_unit
    series = {}
    for time, value, labels, duration, period in rows(kind, matchers, start, end):
        if delta:
            labels = {k: labels[k] for k in set(request.get("sumBy", [])) if k in labels}
        buckets = series.setdefault(tuple(sorted(labels.items())), {})
        buckets.setdefault(time // step * step, []).append((time, value * period if counted else value, duration))
    reply = SCHEMA.cls("parca.query.v1alpha1.QueryRangeResponse")()
    for labels, buckets in series.items():
        one = reply.series.add()
        for k, v in labels:
            one.labelset.labels.add(name=k, value=v)
        if delta:
            one.period_type.type, one.period_type.unit = period_type, period_unit
            one.sample_type.type, one.sample_type.unit = sample_type, sample_unit
        for bucket, found in sorted(buckets.items()):
            first = min(time for time, _, _ in found)
            if not delta:
                # the first moment; the others are only counted
                value = sum(value for time, value, _ in found if time == first)
                add(one, first, value, value, 0, len({time for time, _, _ in found}))
                continue
            value = sum(value for _, value, _ in found)
            duration = min(of for _, _, of in found) if all(time == first for time, _, _ in found) else step
            over = duration if (sample_type, sample_unit) == ("cpu", "nanoseconds") else duration / SECOND
            add(one, bucket, value, value / over if duration else 0, duration, len(found))
    return {"ok": canon.query_range(reply)}


def add(series, time, value, per_second, duration, count):
    sample = series.samples.add(value=value, value_per_second=per_second, duration=duration, count=count)
    sample.timestamp.seconds, sample.timestamp.nanos = divmod(time, SECOND)


DERIVED = {"range/cpu-step-unset": NO_STEP, "range/cpu-step-zero": NO_STEP, "range/cpu-step-negative": NEGATIVE,
           "range/agent-two-batches": BATCHES}
# brought by pprof and Arrow's second version alone, and no error
SAME = re.compile(r"range/(cpu|samples|cpu-step-\d.*|sum-by-.*|name-matcher.*|heap|heap-match|alloc-objects|inclusive-end|point|dur-.*|big|nostack|limit|agent-cpu-node|agent-memory|agent-offcpu)"
                  r"|match/(eq|neq|re|re-unanchored|re-part|nre|nre-part|re-alternation|empty-eq|unknown-(neq|empty|nre))")

if __name__ == "__main__":
    known = cases()
    same = [i for i in known if SAME.fullmatch(i) and i not in DERIVED and "ok" in known[i]]
    main({i: (reason, answer(known[i])) for i, reason in DERIVED.items()}, [(i, answer(known[i])) for i in same])
