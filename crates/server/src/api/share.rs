//! Profiles that are shared: uploaded as pprof to the server that the operator names, which gives a link for them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use forward::Upstream;
use http::uri::PathAndQuery;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

use crate::grpc::stack::overloaded;
use crate::metrics::code_name;
use crate::proto::parca::share::v1alpha1::{UploadRequest, UploadResponse};

const UPLOAD: &str = "/parca.share.v1alpha1.ShareService/Upload";

/// A slow server must not keep the one who waits for a link any longer.
const UPLOAD_MAX: Duration = Duration::from_secs(30);

/// Each holds a profile in memory.
const AT_ONCE: usize = 4;

/// A few words, for those who open the link. bytes
const DESCRIPTION_MAX: usize = 4 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    grpc_code: &'static str,
}

pub(crate) struct Share {
    upstream: Upstream,
    at_once: Semaphore,
    uploads: Family<Code, Counter>,
}

impl Share {
    pub(crate) fn new(upstream: Upstream, registry: &mut Registry) -> Self {
        let uploads = Family::<Code, Counter>::default();
        registry.register("decima_share_uploads", "Profiles sent to the share server, by its answer", uploads.clone());
        drop(uploads.get_or_create(&Code { grpc_code: code_name(tonic::Code::Ok) }));
        Self { upstream, at_once: Semaphore::new(AT_ONCE), uploads }
    }

    /// What is said where no server is named.
    pub(crate) fn off() -> Status {
        let what = "profiles are shared with nobody: --profile-share-server=HOST:PORT names a server to share them on";
        Status::failed_precondition(what)
    }

    /// None counts as an empty one.
    pub(crate) fn description(&self, given: Option<String>) -> Result<String, Status> {
        let description = given.unwrap_or_default();
        if description.len() > DESCRIPTION_MAX {
            let len = description.len();
            let what = format!("the description has {len} bytes, and may have {DESCRIPTION_MAX}");
            return Err(Status::invalid_argument(what));
        }
        Ok(description)
    }

    /// To be held from before the profile is made until it has its link.
    pub(crate) fn permit(&self) -> Result<SemaphorePermit<'_>, Status> {
        let taken = |_| overloaded(format!("{AT_ONCE} profiles are being shared already"));
        self.at_once.try_acquire().map_err(taken)
    }

    /// The link to `profile`. An error has Parca's code and words.
    pub(crate) async fn upload(
        &self,
        profile: Bytes,
        description: String,
        deadline: Option<Instant>,
    ) -> Result<String, Status> {
        let left = deadline.map_or(UPLOAD_MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let message = UploadRequest { profile, description }.encode_to_vec();
        let path = PathAndQuery::from_static(UPLOAD);
        let answer = self.upstream.call(path, message.into(), left.min(UPLOAD_MAX)).await;
        let code = answer.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        self.uploads.get_or_create(&Code { grpc_code: code_name(code) }).inc();
        let failed = |why: String| Status::internal(format!("failed to upload profile: {why}"));
        let reply = answer.map_err(|status| {
            tracing::warn!(server = self.upstream.address(), %status, "a profile could not be shared");
            failed(format!("rpc error: code = {} desc = {}", code_name(code), status.message()))
        })?;
        let reply = UploadResponse::decode(reply).map_err(|error| failed(format!("the reply is none: {error}")))?;
        if reply.link.is_empty() {
            return Err(failed("the server gave no link".to_owned()));
        }
        Ok(reply.link)
    }
}
