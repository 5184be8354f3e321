//! Stacks that an agent has sent are not asked for again over its connection, and nothing is lost by that.

use e2e::{Client, Place, Server, recorded::testdata, wire};

const SELECTOR: &str = "parca_agent_v1:samples:count:cpu:nanoseconds:delta";
const STACKS: usize = 6;

/// How many of the six stacks a question asks for.
fn asked_for(question: &[u8]) -> usize {
    let id = |stack: u8| -> Vec<u8> { (stack * 17..stack * 17 + 16).collect() };
    (0..STACKS as u8).filter(|&stack| question.windows(16).any(|bytes| bytes == id(stack))).count()
}

fn samples() -> Vec<u8> {
    testdata("conformance/inputs/v1_samples.arrow")
}

fn all_stacks() -> Vec<u8> {
    testdata("conformance/inputs/v1_locations.arrow")
}

/// As an agent of one process: it sends what it is asked for. Gives how many stacks that were.
async fn write(client: &Client) -> usize {
    let answer = |question: &[u8]| match asked_for(question) {
        0 => testdata("arrow/v1_no_locations.arrow"),
        _ => all_stacks(),
    };
    asked_for(&client.exchange_v1(samples(), answer).await.expect("a sound write"))
}

/// Total and flame graph of all that agents wrote.
async fn told(server: &Server) -> (i64, Vec<u8>) {
    let merged = server.client().merge(SELECTOR, 1, 4_000_000_000, wire::REPORT_FLAMEGRAPH_ARROW).await;
    let merged = merged.expect("merged");
    let Some(wire::Report::FlamegraphArrow(graph)) = merged.report else { panic!("no flame graph") };
    (merged.total, graph.record)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_stacks_are_not_sent_again_and_all_is_there_after_a_kill() {
    let (place, plain_place) = (Place::new(""), Place::new(""));
    let server = Server::start(&place, &[]).await;
    let agent = server.client();
    let asked = [write(&agent).await, write(&agent).await, write(&agent).await];
    assert_eq!(asked, [STACKS, 0, 0]);
    // another connection has sent nothing yet
    let other = server.client();
    assert_eq!([write(&other).await, write(&other).await], [STACKS, 0]);
    let figures = [("hits_total", 3 * STACKS), ("misses_total", 2 * STACKS), ("evictions_total", 0)];
    for (figure, wanted) in figures {
        assert_eq!(server.figure(&format!("decima_known_stacks_{figure}")), Some(wanted as f64), "{figure}");
    }
    assert_eq!(server.figure("decima_known_stacks"), Some(2.0 * STACKS as f64));
    let bytes = server.figure("decima_known_stacks_bytes").expect("a figure");
    assert_eq!(server.figure("decima_memory_account_bytes{account=\"known stacks\"}"), Some(bytes));
    assert!(bytes > 1_000.0 && bytes < 50_000.0, "{bytes}");

    // five writes by senders that are asked for everything
    let plain = Server::start(&plain_place, &[]).await;
    for _ in 0..5 {
        assert_eq!(write(&plain.client()).await, STACKS);
    }
    let wanted = told(&plain).await;
    assert!(wanted.0 > 0);
    assert!(told(&server).await == wanted, "known or sent, the stacks are the same");

    server.kill();
    let server = Server::start(&place, &[]).await;
    assert!(told(&server).await == wanted, "nothing is lost by a kill");
    let agent = server.client();
    assert_eq!([write(&agent).await, write(&agent).await], [STACKS, 0], "what was known before it is asked for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_goes_away_or_answers_nonsense_leaves_nothing_though_its_stacks_are_known() {
    let place = Place::new("");
    let server = Server::start(&place, &[]).await;
    let agent = server.client();
    assert_eq!(write(&agent).await, STACKS);
    let before = told(&server).await;
    drop(agent.begin_v1(samples()).await.expect("an answer"));
    let refused = agent.exchange_v1(samples(), |_| b"nonsense".to_vec()).await.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
    assert!(told(&server).await == before);
    // stacks that are sent though nobody asked are what counts
    let sent = agent.exchange_v1(samples(), |_| all_stacks()).await;
    assert_eq!(asked_for(&sent.expect("taken")), 0);
    assert_eq!(told(&server).await.0, 2 * before.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_asks_for_all_stacks_and_the_server_behind_it_takes_them() {
    let (far_place, place) = (Place::new(""), Place::new(""));
    let far = Server::start(&far_place, &[]).await;
    let address = format!("--store-address={}", far.address);
    let front = Server::start(&place, &["--mode=forwarder", &address, "--insecure"]).await;
    let agent = front.client();
    let asked = [write(&agent).await, write(&agent).await, write(&agent).await];
    assert_eq!(asked, [STACKS; 3], "what the server behind it knows is not known here");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while front.figure("decima_forward_buffer_messages") != Some(0.0) {
        assert!(std::time::Instant::now() < end, "{}", front.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // over the forwarder's one connection they are known from the second on
    assert_eq!(far.figure("decima_known_stacks_hits_total"), Some(2.0 * STACKS as f64));
    let direct_place = Place::new("");
    let direct = Server::start(&direct_place, &[]).await;
    for _ in 0..3 {
        write(&direct.client()).await;
    }
    assert!(told(&far).await == told(&direct).await);
}
