//! The agent's Arrow protocols and OTLP, from the call to the store and back out of the log.

use super::*;
use crate::proto::parca::profilestore::v1alpha1::{WriteArrowRequest, WriteArrowResponse, WriteRequest, WriteResponse};

const WRITE_ARROW: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow";
const WRITE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/Write";

fn input(file: &str) -> Bytes {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/conformance/inputs");
    std::fs::read(std::path::Path::new(folder).join(file)).expect(file).into()
}

async fn write_arrow(rig: &Rig, file: &str) -> Result<(), Status> {
    let request = WriteArrowRequest { ipc_buffer: input(file) };
    rig.call::<WriteArrowResponse>(WRITE_ARROW, &request).await.map(drop)
}

/// Both messages at once: the sender need not wait for the question.
async fn write(rig: &Rig, samples: &str, locations: &str) -> Result<WriteResponse, Status> {
    let frames = [samples, locations].map(|file| frame(&WriteRequest { record: input(file) }.encode_to_vec()));
    rig.call_bytes(WRITE, frames.concat().into()).await
}

#[tokio::test]
async fn what_agents_write_in_either_version_is_there_after_a_restart() {
    let rig = Rig::new();
    write_arrow(&rig, "v2_cpu.arrow").await.expect("v2");
    let question = write(&rig, "v1_samples.arrow", "v1_locations.arrow").await.expect("v1");
    assert!(!question.record.is_empty(), "asks for stacks");
    let before = rig.types().await;
    assert_eq!(before, ["parca_agent:samples", "parca_agent_v1:samples"]);
    let rig = rig.restarted();
    assert_eq!(rig.types().await, before);
}

#[tokio::test]
async fn a_sender_that_stops_halfway_is_told_so_and_leaves_nothing() {
    let rig = Rig::new();
    let samples = frame(&WriteRequest { record: input("v1_samples.arrow") }.encode_to_vec());
    let cut = rig.call_bytes::<WriteResponse>(WRITE, samples).await.expect_err("half a write");
    assert_eq!((cut.code(), cut.message()), (Code::InvalidArgument, "failed to receive request: EOF"));
    let refused =
        write(&rig, "v1_missing_samples.arrow", "v1_missing_locations.arrow").await.expect_err("a stack short");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(rig.types().await.is_empty());
    write(&rig, "v1_samples.arrow", "v1_locations.arrow").await.expect("the next one is taken");
}

const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

#[tokio::test]
async fn an_export_of_any_version_is_there_after_a_restart() {
    use crate::proto::opentelemetry::proto::collector::profiles::v1development::ExportProfilesServiceResponse as Response;
    for version in ["1.5", "1.9", "1.10"] {
        let rig = Rig::new();
        let request = input(&format!("../../otlp/proto_{version}.pb"));
        let reply = rig.call_bytes::<Response>(EXPORT, frame(&request)).await.expect(version);
        assert_eq!(reply, Response { partial_success: None });
        let refused = rig.call_bytes::<Response>(EXPORT, frame(&request[..200])).await.expect_err("half of it");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let rig = rig.restarted();
        assert_eq!(rig.types().await, ["old_profiler:cpu", "old_profiler:samples"], "{version}");
    }
}
