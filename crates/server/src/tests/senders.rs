//! Who sends, by whatever protocol: in the metrics by the name of a program, among the agents by address or node.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::listener::Peer;
use crate::proto::opentelemetry::proto::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceResponse,
};
use crate::proto::parca::profilestore::v1alpha1::{
    AgentsRequest, AgentsResponse, WriteArrowRequest, WriteArrowResponse, WriteRawResponse, WriteRequest, WriteResponse,
};

const SERVICE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService";
const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const EXPORT_HTTP: &str = "/v1development/profiles";

fn testdata(file: &str) -> Bytes {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
    std::fs::read(std::path::Path::new(folder).join(file)).expect(file).into()
}

/// `request` as it comes from a program at an address.
fn from(mut request: Request<Body>, user_agent: &str, last: u8) -> Request<Body> {
    request.headers_mut().insert("user-agent", user_agent.parse().expect("a header"));
    request.extensions_mut().insert(Peer(SocketAddr::new(IpAddr::from([10, 0, 0, last]), 4000)));
    request
}

fn http(content_type: &str, body: impl Into<Bytes>) -> Request<Body> {
    let request = Request::post(EXPORT_HTTP).header("content-type", content_type);
    request.body(Body::from(body.into())).expect("a request")
}

#[tokio::test]
async fn whatever_protocol_a_sender_speaks_its_kind_and_version_are_counted_and_it_is_among_the_agents() {
    let rig = Rig::new();
    let raw = |profile| frame(&write_raw(&[("__name__", "process_cpu")], profile).encode_to_vec());
    let arrow = |ipc_buffer| frame(&WriteArrowRequest { ipc_buffer }.encode_to_vec());
    let v1 =
        |records: [Bytes; 2]| records.map(|record| frame(&WriteRequest { record }.encode_to_vec())).concat().into();
    let nonsense = Bytes::from_static(b"nonsense");
    let (samples, locations) =
        (testdata("conformance/inputs/v1_samples.arrow"), testdata("conformance/inputs/v1_locations.arrow"));
    let (protobuf, json) = (testdata("otlp/collector.pb"), testdata("otlp/collector.json"));

    // what is taken, and what is refused
    for (user_agent, last, bodies) in [
        ("parca-agent/0.47.0 grpc-go/1.70.0", 1, [raw(small_pprof()), raw(b"nonsense".to_vec())]),
        ("parca-agent/0.30.2 grpc-go/1.64.0", 2, [v1([samples, locations]), v1([nonsense.clone(), nonsense.clone()])]),
        ("parca-agent/0.48.1 grpc-go/1.80.0", 3, [arrow(testdata("conformance/inputs/v2_cpu.arrow")), arrow(nonsense)]),
        ("OTel-eBPF-Profiler/0.1 grpc-go/1.79.0", 4, [frame(&protobuf), frame(b"\x0a\x05")]),
    ] {
        for (body, is_taken) in bodies.into_iter().zip([true, false]) {
            let call = |path: &str| from(grpc(path, body.clone()), user_agent, last);
            let taken = match last {
                1 => rig.called::<WriteRawResponse>(call(&format!("{SERVICE}/WriteRaw"))).await.map(drop),
                2 => rig.called::<WriteResponse>(call(&format!("{SERVICE}/Write"))).await.map(drop),
                3 => rig.called::<WriteArrowResponse>(call(&format!("{SERVICE}/WriteArrow"))).await.map(drop),
                _ => rig.called::<ExportProfilesServiceResponse>(call(EXPORT)).await.map(drop),
            };
            assert_eq!(taken.is_ok(), is_taken, "{user_agent}: {taken:?}");
        }
    }
    for (content_type, sound) in [("application/x-protobuf", protobuf), ("application/json", json)] {
        for (body, wanted) in [(sound, 200), (Bytes::from_static(b"\x0a\x05"), 400)] {
            let (status, _, told) =
                read(rig.answer(from(http(content_type, body), "otelcol/0.165.0 (linux)", 5)).await).await;
            assert_eq!(status, wanted, "{content_type}: {told}");
        }
    }

    let (_, _, metrics) = rig.http(Method::GET, "/metrics").await;
    for (protocol, kind, version, taken, refused) in [
        ("pprof", "parca-agent", "0.47.0", 1, 1),
        ("arrow-v1", "parca-agent", "0.30.2", 1, 1),
        ("arrow-v2", "parca-agent", "0.48.1", 1, 1),
        ("otlp", "OTel-eBPF-Profiler", "0.1", 1, 1),
        // JSON that is none is refused before it is an export
        ("otlp", "otelcol", "0.165.0", 2, 1),
    ] {
        for (result, count) in [("accepted", taken), ("refused", refused)] {
            let row = format!(
                "decima_sender_writes_total{{protocol=\"{protocol}\",kind=\"{kind}\",version=\"{version}\",result=\"{result}\"}} {count}\n"
            );
            assert!(metrics.contains(&row), "no {row}in {metrics}");
        }
    }

    let agents: AgentsResponse = rig
        .call("/parca.profilestore.v1alpha1.AgentsService/Agents", &AgentsRequest::default())
        .await
        .expect("the list");
    let listed: Vec<&str> = agents.agents.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(listed, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
    for agent in &agents.agents {
        assert!(agent.last_push.is_some() && agent.last_push_duration.is_some(), "{agent:?}");
        let is_sound = agent.last_error.is_empty();
        assert_eq!(is_sound, agent.id == "10.0.0.5", "the last push was refused: {agent:?}");
    }
}

#[tokio::test]
async fn an_export_of_which_some_is_bad_is_taken_and_tells_how_many_profiles_are_not_and_why() {
    let mut protobuf = testdata("otlp/proto_1.10.pb").to_vec();
    // the second sample of the first profile: field 2 of 24 bytes, and in it the stack's index
    let at = protobuf.windows(5).position(|bytes| bytes == [0x12, 0x18, 0x08, 0x02, 0x22]).expect("a sample");
    protobuf[at + 3] = 99;
    let json = String::from_utf8(testdata("otlp/collector.json").to_vec()).expect("text");
    let json = json.replacen("\"stackIndex\":2", "\"stackIndex\":99", 1);
    let reason = "invalid request: invalid profile: sample stack index 99 out of bounds";
    let partial = ExportProfilesPartialSuccess { rejected_profiles: 1, error_message: reason.to_owned() };
    let wanted = ExportProfilesServiceResponse { partial_success: Some(partial) };

    let rig = Rig::new();
    let told: ExportProfilesServiceResponse = rig.called(grpc(EXPORT, frame(&protobuf))).await.expect("taken");
    assert_eq!(told, wanted);
    assert_eq!(rig.types().await, ["old_profiler:cpu"], "the good one");

    let (status, _, body) = read(rig.answer(http("application/x-protobuf", protobuf)).await).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(ExportProfilesServiceResponse::decode(body.as_bytes()).expect("a reply"), wanted);

    let (status, _, body) = read(rig.answer(http("application/json", json)).await).await;
    assert_eq!(status, 200, "{body}");
    let told: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let wanted = serde_json::json!({"partialSuccess": {"rejectedProfiles": "1", "errorMessage": reason}});
    assert_eq!(told, wanted);
}
