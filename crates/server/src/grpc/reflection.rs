//! Server reflection, v1 and v1alpha, from the same descriptors as everything else. A symbol that nobody knows is an
//! answer with an error in it, as in grpc-go, and the stream goes on.

use std::collections::HashSet;

use prost::Message;
use prost_reflect::{DescriptorPool, FileDescriptor};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::ServerReflection;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::pb::v1alpha;

#[derive(Clone)]
pub(crate) struct Reflection {
    pool: DescriptorPool,
}

type Answers<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Reflection {
    pub(crate) fn new(pool: DescriptorPool) -> Self {
        Self { pool }
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let message_response = match &request.message_request {
            None => error(Code::InvalidArgument, "the request asks for nothing".to_owned()),
            Some(MessageRequest::ListServices(_)) => self.services(),
            Some(MessageRequest::FileByFilename(name)) => {
                found(self.pool.get_file_by_name(name), || format!("file not found: {name}"))
            }
            Some(MessageRequest::FileContainingSymbol(symbol)) => {
                found(self.file_of(symbol), || format!("symbol not found: {symbol}"))
            }
            Some(MessageRequest::FileContainingExtension(asked)) => {
                let (name, number) = (&asked.containing_type, asked.extension_number as u32);
                let message = self.pool.get_message_by_name(name);
                let extension = message.and_then(|message| message.get_extension(number));
                found(extension.map(|extension| extension.parent_file()), || {
                    format!("extension not found: {name} {number}")
                })
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => match self.pool.get_message_by_name(name) {
                None => error(Code::NotFound, format!("message not found: {name}")),
                Some(message) => MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: message.extensions().map(|extension| extension.number() as i32).collect(),
                }),
            },
        };
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(message_response),
        }
    }

    fn services(&self) -> MessageResponse {
        let services = self.pool.services().map(|service| ServiceResponse { name: service.full_name().to_owned() });
        MessageResponse::ListServicesResponse(ListServiceResponse { service: services.collect() })
    }

    /// Of a service, message, enumeration or extension, or something inside one.
    fn file_of(&self, symbol: &str) -> Option<FileDescriptor> {
        let pool = &self.pool;
        let mut name = symbol;
        loop {
            let file = (pool.get_service_by_name(name).map(|found| found.parent_file()))
                .or_else(|| pool.get_message_by_name(name).map(|found| found.parent_file()))
                .or_else(|| pool.get_enum_by_name(name).map(|found| found.parent_file()))
                .or_else(|| pool.get_extension_by_name(name).map(|found| found.parent_file()));
            if let Some(file) = file {
                // one step inside must be something that is there: a method, a field or a value
                let inside = symbol.strip_prefix(name).unwrap_or_default();
                return (inside.is_empty() || self.has(name, inside.trim_start_matches('.'))).then_some(file);
            }
            name = &name[..name.rfind('.')?];
        }
    }

    fn has(&self, parent: &str, member: &str) -> bool {
        let pool = &self.pool;
        let method = |service: prost_reflect::ServiceDescriptor| service.methods().any(|known| known.name() == member);
        pool.get_service_by_name(parent).is_some_and(method)
            || pool.get_message_by_name(parent).is_some_and(|message| message.get_field_by_name(member).is_some())
            || pool.get_enum_by_name(parent).is_some_and(|known| known.get_value_by_name(member).is_some())
    }
}

/// The file and everything that it imports, itself first.
fn found(file: Option<FileDescriptor>, missing: impl FnOnce() -> String) -> MessageResponse {
    let Some(file) = file else { return error(Code::NotFound, missing()) };
    let mut told = HashSet::new();
    let mut left = vec![file];
    let mut files = Vec::new();
    while let Some(file) = left.pop() {
        if told.insert(file.name().to_owned()) {
            files.push(file.encode_to_vec());
            left.extend(file.dependencies());
        }
    }
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: files })
}

fn error(code: Code, error_message: String) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse { error_code: code as i32, error_message })
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reflection = self.clone();
        let answers = request.into_inner().map(move |request| request.map(|request| reflection.answer(request)));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The older version: the same messages under another package, so their bytes are the same.
#[tonic::async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reflection = self.clone();
        let answers = request.into_inner().map(move |request| {
            let request: ServerReflectionRequest = same_bytes(&request?)?;
            same_bytes(&reflection.answer(request))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn same_bytes<T: Message + Default>(message: &impl Message) -> Result<T, Status> {
    T::decode(message.encode_to_vec().as_slice()).map_err(|error| Status::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(message_request: MessageRequest) -> MessageResponse {
        let reflection = Reflection::new(crate::proto::pool().expect("our own descriptors"));
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        reflection.answer(request).message_response.expect("an answer")
    }

    #[test]
    fn a_file_comes_with_all_that_it_imports() {
        for symbol in [
            "parca.query.v1alpha1.QueryService",
            "parca.query.v1alpha1.QueryService.Labels",
            "parca.query.v1alpha1.QueryRequest.mode",
            "parca.query.v1alpha1.QueryRequest.Mode",
        ] {
            match asked(MessageRequest::FileContainingSymbol(symbol.to_owned())) {
                MessageResponse::FileDescriptorResponse(files) => assert!(files.file_descriptor_proto.len() >= 6),
                other => panic!("{symbol}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_nobody_knows_is_an_error_in_the_answer() {
        for symbol in ["no.such.Thing", "parca.query.v1alpha1.QueryService.NoSuch", ""] {
            match asked(MessageRequest::FileContainingSymbol(symbol.to_owned())) {
                MessageResponse::ErrorResponse(error) => assert_eq!(error.error_code, 5, "{symbol}"),
                other => panic!("{symbol}: {other:?}"),
            }
        }
    }
}
