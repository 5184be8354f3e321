"""Reports that are filtered, grouped, cut or turned over: the right answer where Parca's is a trap."""
import agents
import reports
from entries import main
from inputs import pprof, pprofs
from kinds import CASES, KINDS, answer, columns
from lib import canon

LABELS = "labels of pprof samples are kept, and grouped by like those of series: Parca accepts and loses them"
REASONS = {
    "every inlined frame counts: in Parca's list only the innermost of a location does": [
        "group/label-top", "filter/report-top", "filter/frame-report-top", "filter/cpu-not-runtime", "invert/inlined-top"],
    "callers call what is inlined into them, and the innermost has the flat value: Parca turns inlined frames round, and gives "
    "each the flat value": ["filter/report-callgraph", "filter/frame-report-callgraph"],
    "what is inlined lies below what it is inlined into: Parca turns inlined frames round": [
        "filter/report-legacy", "invert/inlined-legacy"],
    "a negated condition holds of a stack if no frame is what it negates, whatever it asks about: in Parca, of a binary and an "
    "address, if some frame is not": ["filter/stack-binary-notContains", "filter/stack-address-notEqual"],
    "a frame with a name has an address, too: in Parca it is 0": [
        "filter/stack-address-equal", "filter/frame-address-notEqual", "group/conflict-location_address", "group/all-fields"],
    "a frame lies in one binary, and so in one of several that are named: Parca wants it in all": ["filter/deprecated-frame-two"],
    "a function of which only the linker's name is known is found by it, and by what it means: Parca calls it nothing": [
        "filter/agent-system-name", "filter/agent-function-name"],
    "a stack without the function is filtered, and others keep their values: in Parca it takes the next one's place": [
        "sandwich/inlined-inner", "sandwich/inlined-innermost", "sandwich/inlined-outer", "sandwich/inlined-nosuch",
        "sandwich/inlined-inn", "sandwich/inlined-INNER", "sandwich/recursion", "sandwich/table", "sandwich/invert",
        "sandwich/filter"],
}


def by_method(case_id, own):
    """A tree for each value of a label of samples, below a row that has nothing but labels; `own` are those of the series. What no
    sample has is no column."""
    profile = pprof("synth_labels.pb.gz")
    column = profile["types"].index("samples:count")
    stacks = {}
    for x in profile["samples"]:
        if x["values"][column]:
            stacks.setdefault(x["first"].get("method"), []).append((x["stack"], x["values"][column] * profile["period"], 0))
    every = [one for group in stacks.values() for one in group]
    nodes = [[0, {}, sum(value for _, value, _ in every), 0, 0]]

    def walk(node, depth, label):
        for key, child in reports.by_what_is_said(node.children.values()):
            nodes.append([depth, dict(key, **label), child.cumulative, child.flat, 0])
            walk(child, depth + 1, label)

    if not own:
        walk(reports.tree(stacks.pop(None, [])), 1, {})
    labelled = [(dict(own, **{"labels.method": method} if method else {}), group) for method, group in stacks.items()]
    for label, group in sorted(labelled, key=lambda one: canon.dumps(dict(one[0], labels_only=True))):
        nodes.append([1, dict(label, labels_only=True), sum(value for _, value, _ in group), 0, 0])
        walk(reports.tree(group), 2, label)
    named = [c for c in columns(CASES[case_id], "flamegraph_arrow") if not c[0].startswith("labels.") or c[0] in {"labels.method", *own}]
    graph = {"columns": named, "nodes": nodes, "unit": "nanoseconds",
             "height": 1 + max(node[0] for node in nodes), "trimmed": 0}
    return reports.answer(every, 0, {"flamegraph_arrow": graph})


def is_same(case_id, case):
    """Whether Parca is right, and the derivation has a word in it: not of labels, not of comparisons."""
    request = case.get("request", {})
    grouped = request.get("groupBy", {}).get("fields", [])
    return (case_id.split("/")[0] in ("filter", "group", "invert", "sandwich") and "ok" in case and "trap" not in case
            and request["reportType"] in KINDS and "diff" not in request and not any(f.startswith("labels.") for f in grouped))


if __name__ == "__main__":
    reports.PROFILES = list(pprofs()) + agents.all_arrow()
    derived = {case_id: (reason, answer(CASES[case_id])) for reason, ids in REASONS.items() for case_id in ids}
    derived["group/pprof-label"] = (
        LABELS, by_method("group/pprof-label", {}))
    derived["write/pprof-labels-group"] = (
        LABELS + "; where a series has one of the same name, that counts", by_method("write/pprof-labels-group", {"labels.job": "series"}))
    main(derived, [(case_id, answer(case)) for case_id, case in CASES.items() if is_same(case_id, case)])
