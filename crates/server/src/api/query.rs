//! `QueryService`: each call becomes a plain request to the engine, on a thread that may block.

use std::sync::Arc;
use std::time::Instant;

use query::request::{DiffSide, QueryOptions};
use query::{
    Context, Engine, ErrorKind, LabelsRequest as PlainLabels, QueryError, QueryReply, QueryRequest as PlainQuery,
    RangeRequest, Report, Selection, Series, SeriesName, SeriesRequest as PlainSeries, SourceReference as PlainSource,
    TypesRequest, ValuesRequest as PlainValues,
};
use symbolize::{SourceError, Sources};
use tonic::{Request, Response, Status};

use super::share::Share;
use super::view::view;
use super::{deadline, messages, nanos, timestamp};
use crate::arrow;
use crate::callgraph;
use crate::grpc::stack::{overloaded, overloaded_for};
use crate::nested;
use crate::proto::parca::profilestore::v1alpha1::{Label, LabelSet};
use crate::proto::parca::query::v1alpha1::query_service_server::QueryService;
use crate::proto::parca::query::v1alpha1::*;
use crate::work::Workers;

pub(crate) struct QueryApi {
    pub(crate) engine: Arc<Engine>,
    /// `None` where nobody uploads any.
    pub(crate) sources: Option<Arc<Sources>>,
    pub(crate) workers: Workers,
    /// Of one reply, in bytes.
    pub(crate) reply_bytes_max: usize,
    /// `None`: profiles are shared with nobody.
    pub(crate) share: Option<Share>,
}

impl QueryApi {
    /// Refuses what no client would take, in the words of Go's server, before any of it is sent.
    fn sized<M: prost::Message>(&self, message: M) -> Result<M, Status> {
        let (bytes, max) = (message.encoded_len(), self.reply_bytes_max);
        if bytes > max {
            let message = format!("grpc: trying to send message larger than max ({bytes} vs. {max}): ask for less");
            return Err(Status::resource_exhausted(message));
        }
        Ok(message)
    }

    fn reply<M: prost::Message>(&self, message: M) -> Result<Response<M>, Status> {
        self.sized(message).map(Response::new)
    }

    /// Runs a question with everything that ends it early: the deadline, and the client's going away.
    async fn ask<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        question: impl FnOnce(&Engine, &Context) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.engine.clone();
        let answer = self.workers.run(deadline, move |cancelled| {
            let context = Context { tenant: String::new(), deadline, cancelled };
            question(&engine, &context)
        });
        answer.await?.map_err(status)
    }
}

impl QueryApi {
    async fn report(&self, mut request: QueryRequest, deadline: Option<Instant>) -> Result<QueryResponse, Status> {
        let reference = request.source_reference.take();
        let plain = plain_query(request, reference.as_ref());
        plain.check().map_err(status)?;
        if let Some(reference) = reference.as_ref().filter(|reference| reference.source_only) {
            return self.source_exists(&reference.build_id).await;
        }
        let sources = self.sources.clone().zip(reference);
        let runtime = tokio::runtime::Handle::current();
        let encode = move |engine: &Engine, context: &Context| {
            let reply = engine.query(context, &plain)?;
            let mut response = response(reply);
            if let Ok(QueryResponse { report: Some(query_response::Report::Source(source)), .. }) = &mut response
                && let Some((sources, SourceReference { build_id, filename, .. })) = &sources
            {
                match runtime.block_on(sources.find(build_id, filename, &|| context.go_on())) {
                    Ok(text) => source.source = text.map_or_else(String::new, utf8),
                    Err(SourceError::GivenUp) => context.check()?,
                    Err(error) => response = Err(source_status(error)),
                }
            }
            Ok(response)
        };
        let response = self.ask(deadline, encode).await??;
        self.sized(response)
    }

    /// Parca's answer to whether there are sources: an empty report, or an error.
    async fn source_exists(&self, build_id: &str) -> Result<QueryResponse, Status> {
        let exist = match &self.sources {
            Some(sources) => sources.exist(build_id).await.map_err(source_status)?,
            None => false,
        };
        if !exist {
            return Err(Status::not_found("no sources for this build id have been uploaded"));
        }
        Ok(QueryResponse { report: Some(query_response::Report::Source(Source::default())), ..Default::default() })
    }
}

fn utf8(text: Vec<u8>) -> String {
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn source_status(error: SourceError) -> Status {
    let text = error.to_string();
    match error {
        SourceError::GivenUp => Status::cancelled(text),
        SourceError::Unreadable(_) => Status::failed_precondition(text),
        SourceError::Store(error) => match error.retry_after {
            Some(after) => overloaded_for(text, after),
            None => Status::internal(text),
        },
    }
}

#[tonic::async_trait]
impl QueryService for QueryApi {
    async fn query_range(&self, request: Request<QueryRangeRequest>) -> Result<Response<QueryRangeResponse>, Status> {
        let deadline = deadline(&request);
        let QueryRangeRequest { query, start, end, limit, step, sum_by } = request.into_inner();
        let range = RangeRequest {
            query,
            start: start.as_ref().map(nanos),
            end: end.as_ref().map(nanos),
            step: step.map(|step| step.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(step.nanos))),
            limit,
            sum_by,
        };
        let series = self.ask(deadline, move |engine, context| engine.query_range(context, &range)).await?;
        self.reply(QueryRangeResponse { series: series.into_iter().map(metrics_series).collect() })
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let deadline = deadline(&request);
        self.report(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn series(&self, request: Request<SeriesRequest>) -> Result<Response<SeriesResponse>, Status> {
        let deadline = deadline(&request);
        let SeriesRequest { r#match, start, end } = request.into_inner();
        let bounds = TypesRequest { start: start.as_ref().map(nanos), end: end.as_ref().map(nanos) };
        let plain = PlainSeries { bounds, selectors: r#match };
        let series = self.ask(deadline, move |engine, context| engine.series(context, &plain)).await?;
        self.reply(SeriesResponse { series: series.into_iter().map(series_name).collect() })
    }

    async fn profile_types(
        &self,
        request: Request<ProfileTypesRequest>,
    ) -> Result<Response<ProfileTypesResponse>, Status> {
        let deadline = deadline(&request);
        let ProfileTypesRequest { start, end } = request.into_inner();
        let bounds = TypesRequest { start: start.as_ref().map(nanos), end: end.as_ref().map(nanos) };
        let types = self.ask(deadline, move |engine, context| engine.profile_types(context, &bounds)).await?;
        self.reply(ProfileTypesResponse { types: types.into_iter().map(profile_type).collect() })
    }

    async fn labels(&self, request: Request<LabelsRequest>) -> Result<Response<LabelsResponse>, Status> {
        let deadline = deadline(&request);
        let LabelsRequest { r#match, start, end, profile_type } = request.into_inner();
        let plain = PlainLabels {
            bounds: TypesRequest { start: start.as_ref().map(nanos), end: end.as_ref().map(nanos) },
            profile_type: profile_type.unwrap_or_default(),
            matchers: r#match,
        };
        let label_names = self.ask(deadline, move |engine, context| engine.labels(context, &plain)).await?;
        self.reply(LabelsResponse { label_names, warnings: Vec::new() })
    }

    async fn values(&self, request: Request<ValuesRequest>) -> Result<Response<ValuesResponse>, Status> {
        let deadline = deadline(&request);
        // `match` is ignored, as in Parca
        let ValuesRequest { label_name, r#match: _, start, end, profile_type } = request.into_inner();
        let plain = PlainValues {
            bounds: TypesRequest { start: start.as_ref().map(nanos), end: end.as_ref().map(nanos) },
            profile_type: profile_type.unwrap_or_default(),
            label_name,
        };
        let label_values = self.ask(deadline, move |engine, context| engine.values(context, &plain)).await?;
        self.reply(ValuesResponse { label_values, warnings: Vec::new() })
    }

    async fn share_profile(
        &self,
        request: Request<ShareProfileRequest>,
    ) -> Result<Response<ShareProfileResponse>, Status> {
        let deadline = deadline(&request);
        let share = self.share.as_ref().ok_or_else(Share::off)?;
        let ShareProfileRequest { query_request, description } = request.into_inner();
        let description = share.description(description)?;
        let missing = || Status::invalid_argument("query_request is missing: it says which profile to share");
        let mut query = query_request.ok_or_else(missing)?;
        query.report_type = query_request::ReportType::Pprof as i32;
        let _permit = share.permit()?;
        match self.report(query, deadline).await?.report {
            Some(query_response::Report::Pprof(profile)) => {
                let link = share.upload(profile, description, deadline).await?;
                Ok(Response::new(ShareProfileResponse { link }))
            }
            _ => Err(Status::not_found("there is no profile to share")),
        }
    }

    async fn has_profile_data(
        &self,
        request: Request<HasProfileDataRequest>,
    ) -> Result<Response<HasProfileDataResponse>, Status> {
        let deadline = deadline(&request);
        let all = TypesRequest::default();
        let has_data = self.ask(deadline, move |engine, context| engine.has_profile_data(context, &all)).await?;
        Ok(Response::new(HasProfileDataResponse { has_data }))
    }
}

fn plain_query(mut request: QueryRequest, reference: Option<&SourceReference>) -> PlainQuery {
    let view = view(&mut request);
    let options = request.options.map(|options| match options {
        query_request::Options::Merge(merge) => QueryOptions::Select(merged(merge)),
        query_request::Options::Single(single) => QueryOptions::Select(singled(single)),
        query_request::Options::Diff(DiffProfile { a, b, absolute }) => {
            QueryOptions::Diff { base: a.map(side), compare: b.map(side), absolute: absolute.unwrap_or(false) }
        }
    });
    PlainQuery {
        mode: request.mode,
        options,
        report_type: request.report_type,
        node_trim_threshold: request.node_trim_threshold,
        source: reference.map(|SourceReference { build_id, filename, .. }| PlainSource {
            build_id: build_id.clone(),
            filename: filename.clone(),
        }),
        view,
    }
}

fn merged(MergeProfile { query, start, end }: MergeProfile) -> Selection {
    Selection::Merge { query, start: start.as_ref().map(nanos), end: end.as_ref().map(nanos) }
}

fn singled(SingleProfile { time, query }: SingleProfile) -> Selection {
    Selection::Single { query, time: time.as_ref().map(nanos) }
}

fn side(ProfileDiffSelection { mode, options }: ProfileDiffSelection) -> DiffSide {
    DiffSide {
        merge: mode == profile_diff_selection::Mode::Merge as i32,
        selection: options.map(|options| match options {
            profile_diff_selection::Options::Merge(merge) => merged(merge),
            profile_diff_selection::Options::Single(single) => singled(single),
        }),
    }
}

fn response(reply: QueryReply) -> Result<QueryResponse, Status> {
    let QueryReply { total, filtered, report } = reply;
    let broken = |error| Status::internal(format!("the report cannot be written as Arrow: {error}"));
    let report = match report {
        Report::FlameGraph(graph) => {
            let (unit, height, trimmed) = (graph.unit.clone(), graph.height, graph.trimmed);
            let record = arrow::flame_graph(graph).map_err(broken)?.into();
            Some(query_response::Report::FlamegraphArrow(FlamegraphArrow { record, unit, height, trimmed }))
        }
        Report::Table(table) => {
            let unit = table.unit.clone();
            let record = arrow::table(table).map_err(broken)?.into();
            Some(query_response::Report::TableArrow(TableArrow { record, unit }))
        }
        Report::NestedFlameGraph(nested) => {
            Some(query_response::Report::Flamegraph(nested::flame_graph(&nested, total)))
        }
        Report::Top(top) => Some(query_response::Report::Top(messages::top(&top, total))),
        Report::CallGraph(graph) => Some(query_response::Report::Callgraph(callgraph::call_graph(&graph))),
        Report::Source(lines) => {
            let unit = lines.unit.clone();
            let record = arrow::source(lines).map_err(broken)?.into();
            Some(query_response::Report::Source(Source { record, source: String::new(), unit }))
        }
        Report::Pprof(bytes) => Some(query_response::Report::Pprof(bytes.into())),
        Report::Metadata(metadata) => metadata.map(|metadata| {
            let query::ProfileMetadata { mapping_files, labels } = metadata;
            query_response::Report::ProfileMetadata(ProfileMetadata { mapping_files, labels })
        }),
    };
    Ok(QueryResponse { total, filtered, report })
}

fn metrics_series(series: Series) -> MetricsSeries {
    let Series { labels, period_type, sample_type, samples } = series;
    let labels = labels.into_iter().map(|(name, value)| Label { name, value }).collect();
    let samples = samples.into_iter().map(|sample| MetricsSample {
        timestamp: Some(timestamp(sample.time)),
        value: sample.value,
        value_per_second: sample.value_per_second,
        duration: sample.duration,
        count: sample.count,
    });
    MetricsSeries {
        labelset: Some(LabelSet { labels }),
        samples: samples.collect(),
        period_type: period_type.map(value_type),
        sample_type: sample_type.map(value_type),
    }
}

/// With the profile type as the name, as Prometheus names its metrics.
fn series_name(SeriesName { profile_type, labels }: SeriesName) -> LabelSet {
    let name = Label { name: "__name__".to_owned(), value: profile_type.to_string() };
    let labels = labels.into_iter().map(|(name, value)| Label { name, value });
    LabelSet { labels: std::iter::once(name).chain(labels).collect() }
}

fn value_type(profile::ValueType { kind, unit }: profile::ValueType) -> ValueType {
    ValueType { r#type: kind, unit }
}

fn profile_type(profile::ProfileType { name, sample, period, delta }: profile::ProfileType) -> ProfileType {
    ProfileType {
        name,
        sample_type: sample.kind,
        sample_unit: sample.unit,
        period_type: period.kind,
        period_unit: period.unit,
        delta,
    }
}

fn status(QueryError { kind, message }: QueryError) -> Status {
    match kind {
        ErrorKind::InvalidArgument => Status::invalid_argument(message),
        ErrorKind::NotFound => Status::not_found(message),
        ErrorKind::Unimplemented => Status::unimplemented(message),
        ErrorKind::DeadlineExceeded => Status::deadline_exceeded(message),
        ErrorKind::Cancelled => Status::cancelled(message),
        ErrorKind::ResourceExhausted => overloaded(message),
        ErrorKind::Internal => Status::internal(message),
    }
}
