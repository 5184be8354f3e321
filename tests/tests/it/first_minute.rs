//! A newcomer's first minute: Decima watches itself and the demo program.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::{Place, Server, free_address, wire};

/// What the README promises.
const FIRST_PROFILE_SECONDS: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_flame_graph_is_there_within_thirty_seconds() {
    let demo = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo.yaml")).expect("demo.yaml");
    let place = Place::new("");
    let (address, workload) = (free_address(), free_address());
    let own = demo.replace("127.0.0.1:7070", &address.to_string());
    place.write_config(&own.replace("127.0.0.1:7171", &workload.to_string()));
    let _workload = Server::demo_workload(&place, workload);
    let server = Server::start_at(&place, address, &[]).await;
    let started = Instant::now();
    let client = server.client();
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let query = r#"process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta{job="demo"}"#;
        let merged = client.merge(query, now - 600, now + 60, wire::REPORT_FLAMEGRAPH_ARROW).await;
        if let Ok(wire::QueryResponse { total: 1.., report: Some(wire::Report::FlamegraphArrow(graph)) }) = merged {
            assert!(graph.height > 2, "a graph of {} levels", graph.height);
            break;
        }
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(FIRST_PROFILE_SECONDS), "no profile:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("first flame graph after {:.1} s", started.elapsed().as_secs_f64());
}
