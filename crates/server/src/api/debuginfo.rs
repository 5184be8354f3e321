//! `DebuginfoService`: files that turn addresses into names, uploaded by agents.

use std::sync::Arc;
use std::time::Duration;

use symbolize::{Asked, DebuginfoType, UploadError, Uploads};
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::stack::overloaded_for;
use crate::proto::parca::debuginfo::v1alpha1::debuginfo_service_server::DebuginfoService;
use crate::proto::parca::debuginfo::v1alpha1::upload_instructions::UploadStrategy;
use crate::proto::parca::debuginfo::v1alpha1::upload_request::Data;
use crate::proto::parca::debuginfo::v1alpha1::*;

/// A sender that is silent for so long is gone: it would keep others from uploading.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct DebuginfoApi(pub(crate) Option<Arc<Uploads>>);

#[tonic::async_trait]
impl DebuginfoService for DebuginfoApi {
    async fn should_initiate_upload(
        &self,
        request: Request<ShouldInitiateUploadRequest>,
    ) -> Result<Response<ShouldInitiateUploadResponse>, Status> {
        let ShouldInitiateUploadRequest { build_id, hash, force, r#type, .. } = request.into_inner();
        let asked = Asked { build_id: &build_id, kind: kind(r#type)?, hash: &hash, force };
        let decision = self.uploads()?.should_initiate(asked).await.map_err(status)?;
        Ok(Response::new(ShouldInitiateUploadResponse {
            should_initiate_upload: decision.wanted,
            reason: decision.reason.to_owned(),
        }))
    }

    async fn initiate_upload(
        &self,
        request: Request<InitiateUploadRequest>,
    ) -> Result<Response<InitiateUploadResponse>, Status> {
        let InitiateUploadRequest { build_id, size, hash, force, r#type, .. } = request.into_inner();
        let asked = Asked { build_id: &build_id, kind: kind(r#type)?, hash: &hash, force };
        let initiated = self.uploads()?.initiate(asked, size).await.map_err(status)?;
        let strategy = match initiated.signed_url {
            Some(_) => UploadStrategy::SignedUrl,
            None => UploadStrategy::Grpc,
        };
        let instructions = UploadInstructions {
            upload_id: initiated.upload_id,
            upload_strategy: strategy.into(),
            signed_url: initiated.signed_url.unwrap_or_default(),
            build_id,
            r#type,
        };
        Ok(Response::new(InitiateUploadResponse { upload_instructions: Some(instructions) }))
    }

    async fn upload(&self, request: Request<Streaming<UploadRequest>>) -> Result<Response<UploadResponse>, Status> {
        let uploads = self.uploads()?;
        let mut messages = request.into_inner();
        let info = match next(&mut messages).await?.map(|message| message.data) {
            Some(Some(Data::Info(info))) => info,
            // what Go says of a stream that ends too early
            None => return Err(Status::unknown("failed to receive upload info: \"EOF\"")),
            Some(_) => return Err(Status::invalid_argument("the first message of an upload must be its info")),
        };
        let received = uploads.receive(&info.build_id, &info.upload_id, kind(info.r#type)?).await;
        let mut receiver = received.map_err(status)?;
        while let Some(message) = next(&mut messages).await? {
            let Some(Data::ChunkData(bytes)) = message.data else {
                return Err(Status::invalid_argument("every message of an upload but the first must be a chunk"));
            };
            receiver.write(bytes).await.map_err(status)?;
        }
        let size = receiver.finish().await.map_err(status)?;
        Ok(Response::new(UploadResponse { build_id: info.build_id, size }))
    }

    async fn mark_upload_finished(
        &self,
        request: Request<MarkUploadFinishedRequest>,
    ) -> Result<Response<MarkUploadFinishedResponse>, Status> {
        let MarkUploadFinishedRequest { build_id, upload_id, r#type } = request.into_inner();
        self.uploads()?.finish(&build_id, &upload_id, kind(r#type)?).await.map_err(status)?;
        Ok(Response::new(MarkUploadFinishedResponse {}))
    }
}

impl DebuginfoApi {
    fn uploads(&self) -> Result<&Uploads, Status> {
        self.0.as_deref().ok_or_else(|| Status::unimplemented("this server takes no debuginfo"))
    }
}

async fn next(messages: &mut Streaming<UploadRequest>) -> Result<Option<UploadRequest>, Status> {
    match tokio::time::timeout(SILENCE_MAX, messages.message()).await {
        Ok(message) => message,
        Err(_elapsed) => Err(Status::deadline_exceeded(format!("nothing was sent for {SILENCE_MAX:?}"))),
    }
}

fn kind(number: i32) -> Result<DebuginfoType, Status> {
    use crate::proto::parca::debuginfo::v1alpha1::DebuginfoType as Contract;
    match Contract::try_from(number) {
        Ok(Contract::DebuginfoUnspecified) => Ok(DebuginfoType::Debuginfo),
        Ok(Contract::Executable) => Ok(DebuginfoType::Executable),
        Ok(Contract::Sources) => Ok(DebuginfoType::Sources),
        Ok(Contract::SourceMap) => Ok(DebuginfoType::SourceMap),
        Err(_) => Err(Status::invalid_argument(format!("there is no debuginfo type {number}"))),
    }
}

fn status(error: UploadError) -> Status {
    let text = error.to_string();
    match error {
        UploadError::Invalid(_) => Status::invalid_argument(text),
        UploadError::Precondition(_) => Status::failed_precondition(text),
        UploadError::AlreadyExists(_) => Status::already_exists(text),
        UploadError::NotFound(_) => Status::not_found(text),
        UploadError::Busy(_, after) => overloaded_for(text, after),
        UploadError::Unimplemented(_) => Status::unimplemented(text),
        UploadError::Internal(_) => Status::internal(text),
    }
}
