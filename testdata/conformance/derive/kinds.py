"""Kinds of reports: the right answer where Parca's is a trap."""
import reports
from entries import cases, main, recorded
from inputs import otlp

CASES = cases()

KINDS = {
    "REPORT_TYPE_TOP": lambda request, _: reports.top(request),
    "REPORT_TYPE_CALLGRAPH": lambda request, _: reports.call_graph(request),
    "REPORT_TYPE_TABLE_ARROW": lambda request, case: reports.table(request, columns(case, "table_arrow")),
    "REPORT_TYPE_FLAMEGRAPH_ARROW": lambda request, case: reports.flame_graph(request, columns(case, "flamegraph_arrow")),
    0: lambda request, _: reports.legacy_flame_graph(request),
}


def columns(case, kind):
    """Names and types of columns are the contract's."""
    return recorded(case)["ok"][kind]["columns"]


def answer(case):
    return KINDS[case["request"]["reportType"]](case["request"], case)


REASONS = {
    "every inlined frame counts: in Parca's list only the innermost of a location does": [
        "single/cpu-top", "report/inlined-top", "merge/alloc-top", "merge/inclusive"],
    "callers call what is inlined into them, and the innermost has the flat value: Parca turns inlined frames round, and gives "
    "each the flat value": [
        "merge/cpu-callgraph", "single/cpu-callgraph", "report/inlined-callgraph"],
    "what is inlined lies below what it is inlined into: Parca turns inlined frames round": ["merge/cpu-legacy"],
    "a function of which only the linker's name is known is called what that means: Parca calls it nothing": [
        "report/unicode-top", "report/unicode-callgraph"],
    "what only the base has is gone, and that is its difference: Parca says nothing": [
        "diff/table-absolute", "diff/table-base-larger-absolute"],
    "the base is scaled, so that what is compared keeps its values: Parca scales those where the base is larger": [
        "diff/table-base-larger"],
    "the base is scaled, so that what is compared keeps its values, and every inlined frame counts: Parca scales what is compared "
    "where the base is larger, and counts the innermost frame of a location": ["diff/samples"],
    "the column of differences holds what is lost, too: Parca's wraps where a loss is larger than any gain": ["diff/narrow-negative"],
}

if __name__ == "__main__":
    derived = {case_id: (reason, answer(CASES[case_id])) for reason, ids in REASONS.items() for case_id in ids}
    derived["chart/otlp-ts"] = (
        "functions of OTLP profiles are read at their own index: Parca reads the one before",
        reports.flame_chart(otlp("otlp_ts_only.otlp.pb"), "nanoseconds", columns(CASES["chart/otlp-ts"], "flamegraph_arrow")))

    # of reports in which Parca is right the derivation must say what Parca says
    GROUPS = ("report", "merge", "single", "diff")
    same = [(case_id, answer(case)) for case_id, case in CASES.items()
            if case_id.split("/")[0] in GROUPS and case_id not in derived and "ok" in case and case["request"].get("reportType") in KINDS]
    main(derived, same)
