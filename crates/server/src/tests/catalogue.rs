//! What there is: series, whether there is anything, and replies that no client would take.

use super::*;
use crate::proto::parca::query::v1alpha1::{
    HasProfileDataRequest, HasProfileDataResponse, LabelsRequest, LabelsResponse, QueryRangeRequest,
    QueryRangeResponse, SeriesRequest, SeriesResponse, ValuesRequest, ValuesResponse,
};

const SERIES: &str = "/parca.query.v1alpha1.QueryService/Series";
const HAS_PROFILE_DATA: &str = "/parca.query.v1alpha1.QueryService/HasProfileData";
const LABELS: &str = "/parca.query.v1alpha1.QueryService/Labels";
const VALUES: &str = "/parca.query.v1alpha1.QueryService/Values";
const QUERY_RANGE: &str = "/parca.query.v1alpha1.QueryService/QueryRange";

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";
const COUNT: &str = "process_cpu:samples:count:cpu:nanoseconds:delta";

async fn series(rig: &Rig, selectors: &[&str]) -> Result<Vec<String>, Status> {
    let request = SeriesRequest {
        r#match: selectors.iter().map(|&selector| selector.to_owned()).collect(),
        ..SeriesRequest::default()
    };
    let reply: SeriesResponse = rig.call(SERIES, &request).await?;
    let text = |set: LabelSet| {
        let labels = set.labels.into_iter().map(|Label { name, value }| format!("{name}={value}"));
        labels.collect::<Vec<_>>().join(" ")
    };
    Ok(reply.series.into_iter().map(text).collect())
}

#[tokio::test]
async fn series_are_told_by_type_and_labels_over_grpc_and_rest() {
    let rig = Rig::new();
    for job in ["api", "web"] {
        rig.write(&[("__name__", "process_cpu"), ("job", job)], small_pprof()).await.expect("written");
    }
    let both = series(&rig, &[CPU]).await.expect("series");
    assert_eq!(both, [format!("__name__={CPU} job=api"), format!("__name__={CPU} job=web")]);
    let web = format!(r#"{CPU}{{job="web"}}"#);
    let of_two = series(&rig, &[&web, &format!(r#"{COUNT}{{job=~"w"}}"#)]).await.expect("series");
    assert_eq!(of_two, [format!("__name__={CPU} job=web"), format!("__name__={COUNT} job=web")]);
    assert!(series(&rig, &["none:of:these:is:there"]).await.expect("an answer").is_empty());
    let refused = series(&rig, &[]).await.expect_err("no selector");
    assert_eq!(refused.code(), Code::InvalidArgument);

    let (status, content_type, body) = rig.http(Method::GET, &format!("/api/profiles/series?match={CPU}")).await;
    assert_eq!((status, content_type.as_str()), (200, "application/json"), "{body}");
    assert!(body.contains(r#"{"name":"job","value":"web"}"#), "{body}");
}

#[tokio::test]
async fn whether_there_is_data_is_known_from_the_first_profile_on_and_after_a_restart() {
    async fn has_data(rig: &Rig) -> bool {
        let reply: HasProfileDataResponse =
            rig.call(HAS_PROFILE_DATA, &HasProfileDataRequest::default()).await.expect("an answer");
        reply.has_data
    }
    let rig = Rig::new();
    assert!(!has_data(&rig).await);
    rig.write(&[("__name__", "process_cpu")], small_pprof()).await.expect("written");
    assert!(has_data(&rig).await, "from the head");
    let rig = rig.restarted();
    assert!(has_data(&rig).await, "from the log");
    rig.store.flush().expect("cut");
    assert!(has_data(&rig).await, "from a block");
}

#[tokio::test]
async fn a_reply_larger_than_any_client_takes_is_refused_before_it_is_sent() {
    let mut options = ServerOptions::default();
    options.limits.message_bytes = 4 << 10;
    let rig = Rig::with(options);
    for number in 0..40 {
        let value = format!("{number:0200}");
        rig.write(&[("__name__", "process_cpu"), ("job", &value)], small_pprof()).await.expect("written");
    }
    let refused = |status: Status| {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        let message = status.message();
        assert!(message.starts_with("grpc: trying to send message larger than max ("), "{message}");
        assert!(message.ends_with(" vs. 4096): ask for less"), "{message}");
    };
    let values = ValuesRequest { label_name: "job".to_owned(), ..ValuesRequest::default() };
    refused(rig.call::<ValuesResponse>(VALUES, &values).await.expect_err("too large"));
    refused(series(&rig, &[CPU]).await.expect_err("too large"));
    let range = QueryRangeRequest {
        query: CPU.to_owned(),
        start: Some(prost_types::Timestamp { seconds: 1_768_478_000, nanos: 0 }),
        end: Some(prost_types::Timestamp { seconds: 1_768_479_000, nanos: 0 }),
        sum_by: vec!["job".to_owned()],
        ..QueryRangeRequest::default()
    };
    refused(rig.call::<QueryRangeResponse>(QUERY_RANGE, &range).await.expect_err("too large"));
    // what is small enough is answered as before
    let labels: LabelsResponse = rig.call(LABELS, &LabelsRequest::default()).await.expect("labels");
    assert_eq!(labels.label_names, ["job"]);
    assert_eq!(series(&rig, &[&format!(r#"{CPU}{{job=~"0007$"}}"#)]).await.expect("series").len(), 1);
}
