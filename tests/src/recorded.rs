//! What was recorded of Parca, and the profiles that it was recorded with: `testdata`.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tonic::Status;

use crate::{
    Client,
    wire::{LabelSet, Nothing, RawProfileSeries, RawSample, WriteRawRequest},
};

/// As Go's protojson writes it: what a Parca leaves in its bucket beside an uploaded file.
pub const DEBUGINFO_METADATA: &str = r#"{
  "buildId":  "feed0001",
  "source":  "SOURCE_UPLOAD",
  "upload":  {
    "id":  "85616e30-2b0f-4edc-b0e4-de03b5718926",
    "hash":  "h1",
    "state":  "STATE_UPLOADED",
    "startedAt":  "2026-01-15T12:00:00.123456789Z",
    "finishedAt":  "2026-01-15T12:00:01Z"
  }
}"#;

/// What a file below `testdata` holds.
pub fn testdata(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The wire contract, as Parca's reflection gives it: a FileDescriptorSet.
pub fn contract() -> PathBuf {
    folder().join("parca.fds")
}

/// A file that was written.
pub fn input(name: &str) -> PathBuf {
    folder().join("inputs").join(name)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/conformance")
}

/// Writes all that the recordings begin with: by every protocol, with their labels, and in their batches.
pub async fn write_all(client: &Client) -> Result<(), Status> {
    let manifest = fs::read(input("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let read = |name: &Value| fs::read(input(name.as_str().expect("a name"))).expect("an input");
    for write in list(&manifest["writes"]) {
        match write["call"].as_str().expect("a call") {
            "WriteRaw" => {
                let series = list(&write["series"]).into_iter().map(|series| {
                    let labels = series["labels"].as_object().expect("labels").iter();
                    let labels: Vec<(&str, &str)> =
                        labels.map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
                    let samples =
                        list(&series["files"]).iter().map(|name| RawSample { raw_profile: read(name) }).collect();
                    RawProfileSeries { labels: Some(LabelSet::new(&labels)), samples }
                });
                let request = WriteRawRequest { series: series.collect() };
                let path = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";
                client.call(path, request).await.map(|Nothing {}| ())?;
            }
            "WriteArrow" => client.write_arrow(read(&write["file"])).await?,
            "Write" => client.write_v1(read(&write["files"][0]), read(&write["files"][1])).await?,
            "OTLP" => client.export(&read(&write["file"])).await?,
            other => panic!("a call of another kind: {other}"),
        }
    }
    Ok(())
}
