"""What differs by a decision and not by what was written: docs/compatibility.md has the reasons."""
import re

from entries import cases, main, recorded

NOT_FOUND = "what is not found over REST is 404 and JSON: Parca answers with 200 and its page"
GOROUTINES = "there are no goroutines, nor a page in place of a profile"
IN_USE = "jemalloc tells what is in use, not what was freed again"
METRICS = "there is no FrostDB, no Go runtime and no reload yet; calls are counted, not messages; what Parca never counts is not exposed"
# of Parca's metrics
ABSENT = re.compile(r"frostdb_.*|go_.*|grpc_server_msg_.*|parca_config_last_reload_.*|parca_normalizer_.*"
                    r"|parca_target_scrapes_(exceeded|sample)_.*|parca_target_sync_length_seconds")

if __name__ == "__main__":
    metrics = dict(recorded(cases()["http/metrics"])["http"])
    metrics["names"] = [name for name in metrics["names"] if not ABSENT.fullmatch(name)]
    profile = {"http": {"status": 200, "content_type": "application/octet-stream", "sample_types": ["inuse_space/bytes"]}}
    main({
        "rest/range-empty": (NOT_FOUND, {"http": {"status": 404, "content_type": "application/json", "html": False}}),
        "http/metrics": (METRICS, {"http": metrics}),
        "http/pprof-goroutine": (GOROUTINES, {"http": {"status": 404, "content_type": "text/plain", "sample_types": None}}),
        "http/pprof-heap": (IN_USE, profile),
        "http/pprof-allocs": (IN_USE, profile),
    })
