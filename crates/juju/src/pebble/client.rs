use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::error::PebbleError;
use super::exec::{Exec, ExecOutput};
use super::http::{self, Request, Response};
use super::types::*;
use super::{CALL_TIMEOUT, ErrorKind, Pebble, Result, multipart};
use crate::json::Json;
use crate::yaml;

/// The Pebble behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

/// Around every answer but raw ones.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(rename = "type")]
    kind: EnvelopeKind,
    change: Option<ChangeId>,
    result: Option<T>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EnvelopeKind {
    Sync,
    Async,
    Error,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    kind: String,
}

/// What came of one path of a file operation.
#[derive(Deserialize)]
struct PathResult {
    error: Option<Refusal>,
}

#[derive(Serialize)]
struct WriteFiles<'a> {
    action: &'static str,
    files: [PathToMake<'a>; 1],
}

#[derive(Serialize)]
struct MakeDirs<'a> {
    action: &'static str,
    dirs: [PathToMake<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PathToMake<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    make_dirs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    make_parents: Option<bool>,
    permissions: String,
    #[serde(flatten)]
    owner: &'a Owner,
}

impl Client {
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        Client { socket: socket.into(), timeout: CALL_TIMEOUT }
    }

    /// The Pebble of a workload container, where Juju puts its socket.
    pub fn of_container(name: &str) -> Client {
        Client::new(format!("/charm/containers/{name}/pebble.socket"))
    }

    /// Instead of [`CALL_TIMEOUT`].
    pub fn with_timeout(self, timeout: Duration) -> Client {
        Client { timeout, ..self }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn exchange(&self, request: &Request<'_>, wait: Duration) -> Result<Response> {
        http::exchange(&self.socket, request, Instant::now() + self.timeout + wait)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<T>> {
        self.get_waiting(path, query, Duration::ZERO)
    }

    fn get_waiting<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Option<T>> {
        let target = http::target(path, query);
        let request = Request { method: "GET", target: &target, headers: &[], body: None };
        Ok(open(&self.exchange(&request, wait)?)?.result)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Envelope<T>> {
        let body = to_json(body)?;
        let headers = [("Content-Type", "application/json")];
        let request = Request { method: "POST", target: path, headers: &headers, body: Some(&body) };
        open(&self.exchange(&request, Duration::ZERO)?)
    }

    /// A call that begins a change.
    pub(super) fn post_async<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(ChangeId, Option<T>)> {
        let envelope = self.post(path, body)?;
        match (envelope.kind, envelope.change) {
            (EnvelopeKind::Async, Some(change)) => Ok((change, envelope.result)),
            _ => Err(PebbleError::protocol(format!("{path}: no change was begun"))),
        }
    }

    /// A file operation on one path.
    fn post_path(&self, body: &impl Serialize) -> Result<()> {
        path_result(self.post("/v1/files", body)?.result)
    }
}

/// The envelope of an answer, or the error in it.
fn open<T: DeserializeOwned>(response: &Response) -> Result<Envelope<T>> {
    let status = response.head.status;
    let nonsense = |error: serde_json::Error| {
        PebbleError::protocol(format!("status {status}, and the answer is not what Pebble says: {error}"))
    };
    let envelope: Envelope<IgnoredAny> = serde_json::from_slice(&response.body).map_err(nonsense)?;
    if envelope.kind == EnvelopeKind::Error {
        let refusal: Envelope<Refusal> = serde_json::from_slice(&response.body).map_err(nonsense)?;
        let refusal = refusal.result.unwrap_or_default();
        return Err(PebbleError::answered(status, &refusal.kind, refusal.message));
    }
    serde_json::from_slice(&response.body).map_err(nonsense)
}

fn path_result(results: Option<Vec<PathResult>>) -> Result<()> {
    match results.as_deref() {
        Some([PathResult { error: None }]) => Ok(()),
        Some([PathResult { error: Some(refusal) }]) => {
            Err(PebbleError::answered(200, &refusal.kind, refusal.message.clone()))
        }
        _ => Err(PebbleError::protocol("not one result for one path")),
    }
}

fn some<T>(result: Option<T>) -> Result<T> {
    result.ok_or_else(|| PebbleError::protocol("the answer has no result"))
}

fn to_json(body: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(|error| PebbleError::new(ErrorKind::BadRequest, error.to_string()))
}

/// As Go reads durations.
pub(super) fn go_duration(duration: Duration) -> String {
    format!("{}ns", duration.as_nanos())
}

fn names_json(names: &[&str]) -> Json {
    Json::Array(names.iter().map(|&name| Json::from(name)).collect())
}

/// What Pebble makes IDs of; anything else would be another path.
pub(super) fn check_id(id: &str) -> Result<&str> {
    if !id.is_empty() && id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        Ok(id)
    } else {
        Err(PebbleError::new(ErrorKind::BadRequest, format!("invalid ID {id:?}")))
    }
}

/// Names and a level as a query.
fn checks_query<'a>(level: Option<CheckLevel>, names: &[&'a str]) -> Vec<(&'static str, &'a str)> {
    let level = level.map(|level| ("level", level.as_str()));
    level.into_iter().chain(names.iter().map(|&name| ("names", name))).collect()
}

impl Pebble for Client {
    fn system_info(&self) -> Result<SystemInfo> {
        some(self.get("/v1/system-info", &[])?)
    }

    fn plan(&self) -> Result<Json> {
        let text: String = some(self.get("/v1/plan", &[("format", "yaml")])?)?;
        match yaml::parse(&text) {
            Ok(Json::Null) => Ok(Json::Object(Default::default())),
            Ok(plan) => Ok(plan),
            Err(error) => Err(PebbleError::protocol(format!("the plan is no YAML: {error}"))),
        }
    }

    fn add_layer(&self, label: &str, layer: &Json, combine: bool) -> Result<()> {
        let body = Json::object([
            ("action", Json::from("add")),
            ("combine", combine.into()),
            ("label", label.into()),
            ("format", "yaml".into()),
            ("layer", yaml::write(layer).into()),
        ]);
        self.post::<IgnoredAny>("/v1/layers", &body)?;
        Ok(())
    }

    fn services(&self, names: &[&str]) -> Result<Vec<ServiceInfo>> {
        Ok(self.get("/v1/services", &[("names", &names.join(","))])?.unwrap_or_default())
    }

    fn change_services(&self, action: ServiceAction, names: &[&str]) -> Result<ChangeId> {
        #[derive(Serialize)]
        struct Body<'a> {
            action: ServiceAction,
            services: &'a [&'a str],
        }
        Ok(self.post_async::<IgnoredAny>("/v1/services", &Body { action, services: names })?.0)
    }

    fn changes(&self, select: ChangesSelect, service: Option<&str>) -> Result<Vec<Change>> {
        let select = match select {
            ChangesSelect::All => "all",
            ChangesSelect::InProgress => "in-progress",
            ChangesSelect::Ready => "ready",
        };
        let query: Vec<_> = [("select", select)].into_iter().chain(service.map(|name| ("for", name))).collect();
        let mut changes: Vec<Change> = self.get("/v1/changes", &query)?.unwrap_or_default();
        // Pebble answers from a map, in no order; its IDs count up.
        changes.sort_by(|a, b| (a.id.as_str().len(), &a.id).cmp(&(b.id.as_str().len(), &b.id)));
        Ok(changes)
    }

    fn change(&self, id: &ChangeId) -> Result<Change> {
        some(self.get(&format!("/v1/changes/{}", check_id(id.as_str())?), &[])?)
    }

    fn wait_change(&self, id: &ChangeId, timeout: Duration) -> Result<Change> {
        let path = format!("/v1/changes/{}/wait", check_id(id.as_str())?);
        some(self.get_waiting(&path, &[("timeout", &go_duration(timeout))], timeout)?)
    }

    fn abort_change(&self, id: &ChangeId) -> Result<Change> {
        let path = format!("/v1/changes/{}", check_id(id.as_str())?);
        some(self.post(&path, &Json::object([("action", Json::from("abort"))]))?.result)
    }

    fn list_files(&self, path: &str, pattern: Option<&str>, itself: bool) -> Result<Vec<FileInfo>> {
        let query: Vec<_> = [("action", "list"), ("path", path)]
            .into_iter()
            .chain(pattern.map(|pattern| ("pattern", pattern)))
            .chain(itself.then_some(("itself", "true")))
            .collect();
        Ok(self.get("/v1/files", &query)?.unwrap_or_default())
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        let target = http::target("/v1/files", &[("action", "read"), ("path", path)]);
        let headers = [("Accept", "multipart/form-data")];
        let request = Request { method: "GET", target: &target, headers: &headers, body: None };
        let response = self.exchange(&request, Duration::ZERO)?;
        let content_type = response.head.header("content-type").unwrap_or_default();
        if !content_type.starts_with("multipart/") {
            open::<IgnoredAny>(&response)?;
            return Err(PebbleError::protocol("a file as something else than a multipart body"));
        }
        let parts = multipart::parts(content_type, &response.body)?;
        // what became of it comes last, for a file that cannot be read to its end
        let Some((response, files)) = parts.split_last().filter(|(last, _)| last.name == "response") else {
            return Err(PebbleError::protocol("a file without its result"));
        };
        let envelope: Envelope<Vec<PathResult>> = serde_json::from_slice(response.content)
            .map_err(|error| PebbleError::protocol(format!("the result of a file makes no sense: {error}")))?;
        path_result(envelope.result)?;
        match files {
            [file] if file.name == "files" => Ok(file.content.to_vec()),
            _ => Err(PebbleError::protocol("not one file for one path")),
        }
    }

    fn write_file(&self, path: &str, content: &[u8], options: &WriteFile) -> Result<()> {
        let item = PathToMake {
            path,
            make_dirs: Some(options.make_dirs),
            make_parents: None,
            permissions: format!("{:03o}", options.permissions),
            owner: &options.owner,
        };
        let asked = to_json(&WriteFiles { action: "write", files: [item] })?;
        let (content_type, body) = multipart::write(&asked, path, content)?;
        let headers = [("Content-Type", content_type.as_str())];
        let request = Request { method: "POST", target: "/v1/files", headers: &headers, body: Some(&body) };
        path_result(open(&self.exchange(&request, Duration::ZERO)?)?.result)
    }

    fn make_dir(&self, path: &str, options: &MakeDir) -> Result<()> {
        let item = PathToMake {
            path,
            make_dirs: None,
            make_parents: Some(options.make_parents),
            permissions: format!("{:03o}", options.permissions),
            owner: &options.owner,
        };
        self.post_path(&MakeDirs { action: "make-dirs", dirs: [item] })
    }

    fn remove_path(&self, path: &str, recursive: bool) -> Result<()> {
        let item = Json::object([("path", Json::from(path)), ("recursive", recursive.into())]);
        self.post_path(&Json::object([("action", Json::from("remove")), ("paths", [item].into())]))
    }

    fn exec(&self, command: &Exec) -> Result<ExecOutput> {
        self.run(command)
    }

    fn checks(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<Vec<CheckInfo>> {
        Ok(self.get("/v1/checks", &checks_query(level, names))?.unwrap_or_default())
    }

    fn change_checks(&self, action: CheckAction, names: &[&str]) -> Result<Vec<String>> {
        #[derive(Serialize)]
        struct Body<'a> {
            action: CheckAction,
            checks: &'a [&'a str],
        }
        #[derive(Deserialize)]
        struct Changed {
            changed: Option<Vec<String>>,
        }
        let changed: Changed = some(self.post("/v1/checks", &Body { action, checks: names })?.result)?;
        Ok(changed.changed.unwrap_or_default())
    }

    fn refresh_check(&self, name: &str) -> Result<CheckRefresh> {
        some(self.post("/v1/checks/refresh", &Json::object([("name", Json::from(name))]))?.result)
    }

    fn health(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<bool> {
        #[derive(Deserialize)]
        struct Health {
            healthy: bool,
        }
        Ok(some(self.get::<Health>("/v1/health", &checks_query(level, names))?)?.healthy)
    }

    fn notices(&self, select: &NoticesSelect) -> Result<Vec<Notice>> {
        let user = select.user_id.map(|id| id.to_string());
        let wait = select.wait.map(go_duration);
        let query: Vec<_> = select
            .all_users
            .then_some(("users", "all"))
            .into_iter()
            .chain(user.as_deref().map(|id| ("user-id", id)))
            .chain(select.types.iter().map(|text| ("types", text.as_str())))
            .chain(select.keys.iter().map(|text| ("keys", text.as_str())))
            .chain(select.after.as_deref().map(|time| ("after", time)))
            .chain(wait.as_deref().map(|duration| ("timeout", duration)))
            .collect();
        Ok(self.get_waiting("/v1/notices", &query, select.wait.unwrap_or_default())?.unwrap_or_default())
    }

    fn notice(&self, id: &str) -> Result<Notice> {
        some(self.get(&format!("/v1/notices/{}", check_id(id)?), &[])?)
    }

    fn notify(&self, key: &str, data: &[(&str, &str)], repeat_after: Option<Duration>) -> Result<String> {
        #[derive(Deserialize)]
        struct Noted {
            id: String,
        }
        let mut body = vec![
            ("action", Json::from("add")),
            ("type", "custom".into()),
            ("key", key.into()),
            ("data", Json::object(data.iter().map(|&(name, value)| (name, Json::from(value))))),
        ];
        if let Some(duration) = repeat_after {
            body.push(("repeat-after", go_duration(duration).into()));
        }
        Ok(some(self.post::<Noted>("/v1/notices", &Json::object(body))?.result)?.id)
    }

    fn logs(&self, services: &[&str], count: Option<u32>) -> Result<Vec<LogEntry>> {
        let count = count.map(|n| n.to_string());
        let query: Vec<_> =
            services.iter().map(|&name| ("services", name)).chain(count.as_deref().map(|n| ("n", n))).collect();
        let target = http::target("/v1/logs", &query);
        let request = Request { method: "GET", target: &target, headers: &[], body: None };
        let response = self.exchange(&request, Duration::ZERO)?;
        if response.head.status != 200 {
            open::<IgnoredAny>(&response)?;
        }
        response
            .body
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line)
                    .map_err(|error| PebbleError::protocol(format!("a line of the log makes no sense: {error}")))
            })
            .collect()
    }

    fn identities(&self) -> Result<BTreeMap<String, Identity>> {
        Ok(self.get("/v1/identities", &[])?.unwrap_or_default())
    }

    fn change_identities(&self, action: IdentityAction, identities: &[(&str, Option<&Identity>)]) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            action: IdentityAction,
            identities: BTreeMap<&'a str, Option<&'a Identity>>,
        }
        let identities = identities.iter().copied().collect();
        self.post::<IgnoredAny>("/v1/identities", &Body { action, identities })?;
        Ok(())
    }

    fn send_signal(&self, signal: &str, services: &[&str]) -> Result<()> {
        let body = Json::object([("signal", Json::from(signal)), ("services", names_json(services))]);
        self.post::<IgnoredAny>("/v1/signals", &body)?;
        Ok(())
    }
}
