//! The Kubernetes API, as far as the service mesh needs it: labels on our StatefulSet's pods and on our Service.
//!
//! The unit's service account may do so only in a trusted application. Which labels are ours is kept in a config map, under the
//! name that the Python charm's library gave it, so that exactly those can be taken away again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use juju::Status;
use juju::json::{Json, Object};

use crate::http::{self, Client, ErrorKind, Request, Resolve, Url};
use crate::status;

/// Where Kubernetes mounts the account.
pub const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// All requests of one dispatch together: a healthy API server answers each within milliseconds.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

type Labels = BTreeMap<String, String>;

/// The unit's service account and where its API server is.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub url: Url,
    /// A secret: it is never logged.
    pub token: String,
    /// The API server's authority in PEM.
    pub ca: String,
}

impl Account {
    /// Reads the account's files, and `KUBERNETES_SERVICE_HOST` and `_PORT` through `variable`.
    ///
    /// # Errors
    /// [`Error::NoAccount`]: a file or a variable is missing or makes no sense.
    pub fn read(variable: impl Fn(&str) -> Option<String>, folder: &Path) -> Result<Account, Error> {
        let file = |name: &str| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path);
            text.map_err(|error| Error::NoAccount(format!("{}: {error}", path.display())))
        };
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let host = set("KUBERNETES_SERVICE_HOST")
            .ok_or_else(|| Error::NoAccount("KUBERNETES_SERVICE_HOST is not set".to_owned()))?;
        let port = set("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let url = Url::parse(&format!("https://{authority}"))
            .ok_or_else(|| Error::NoAccount(format!("{authority:?} is no address of the Kubernetes API")))?;
        let token = file("token")?.trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::NoAccount("the service account's token is empty or none".to_owned()));
        }
        Ok(Account { url, token, ca: file("ca.crt")? })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why the labels are not as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no usable service account.
    NoAccount(String),
    /// 401 or 403: the application is not trusted.
    Forbidden(String),
    /// No answer came.
    Unreachable(http::Error),
    /// The API server refused a request, or answered what makes no sense.
    Refused { request: String, code: u16, message: String },
}

impl Error {
    /// What the unit's status says about it. The next dispatch tries again.
    pub fn status(&self, app: &str) -> Status {
        match self {
            Error::NoAccount(_) | Error::Forbidden(_) => status::needs_trust(app),
            Error::Unreachable(error) if error.kind == ErrorKind::TimedOut => status::kubernetes_is_late(),
            Error::Unreachable(_) => status::kubernetes_is_away(),
            Error::Refused { code, .. } => status::kubernetes_refuses(*code),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoAccount(why) => write!(f, "no service account: {why}"),
            Error::Forbidden(why) => write!(f, "the service account may not: {why}"),
            Error::Unreachable(error) => write!(f, "the Kubernetes API does not answer: {error}"),
            Error::Refused { request, code, message } => write!(f, "{request}: {code} {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// One application's objects in its model's namespace.
pub struct Workload<'a> {
    client: Client<'a>,
    authorization: String,
    namespace: &'a str,
    app: &'a str,
}

impl<'a> Workload<'a> {
    /// Opens no connection yet. All that is done with it ends within [`TIME_LIMIT`].
    ///
    /// # Errors
    /// [`Error::NoAccount`]: the account's authority is no certificate.
    pub fn new(
        account: &Account,
        namespace: &'a str,
        app: &'a str,
        resolve: Resolve<'a>,
    ) -> Result<Workload<'a>, Error> {
        Workload::until(account, namespace, app, resolve, Instant::now() + TIME_LIMIT)
    }

    fn until(
        account: &Account,
        namespace: &'a str,
        app: &'a str,
        resolve: Resolve<'a>,
        deadline: Instant,
    ) -> Result<Workload<'a>, Error> {
        let tls = http::trusting([account.ca.as_str()]).map_err(Error::NoAccount)?;
        let client = Client::new(account.url.clone(), Some(tls), resolve, deadline);
        Ok(Workload { client, authorization: format!("Bearer {}", account.token), namespace, app })
    }

    /// Brings about that pods and service have these labels, and none that an earlier call put there. Writes nothing where
    /// that is so already. Pods are replaced where their labels change.
    ///
    /// Labels that the StatefulSet selects its pods by, or that someone else put there, are left alone with a warning.
    pub fn settle(&mut self, wished: &Labels) -> Result<(), Error> {
        let kept = self.kept()?;
        let ours = match &kept {
            Some(labels) => labels.clone(),
            None => {
                self.create_kept()?;
                Labels::new()
            }
        };
        // Noted before it is done: what a dispatch that fails half way put there is not forgotten.
        let mut noted = wished.clone();
        noted.extend(ours.clone());
        if noted != ours {
            self.keep(&noted)?;
        }
        self.patch_labels(&self.stateful_set(), &["spec", "template", "metadata"], wished, &ours)?;
        self.patch_labels(&self.service(), &["metadata"], wished, &ours)?;
        if noted != *wished {
            self.keep(wished)?;
        }
        Ok(())
    }

    /// Takes our labels away, and the note of them.
    pub fn clear(&mut self) -> Result<(), Error> {
        let Some(ours) = self.kept()? else { return Ok(()) };
        self.patch_labels(&self.stateful_set(), &["spec", "template", "metadata"], &Labels::new(), &ours)?;
        self.patch_labels(&self.service(), &["metadata"], &Labels::new(), &ours)?;
        let path = format!("{}/{}", self.config_maps(), self.config_map());
        match self.send("DELETE", &path, None)? {
            (200..=299 | 404, _) => Ok(()),
            (code, answer) => Err(refused("DELETE", &path, code, &answer)),
        }
    }

    fn stateful_set(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/statefulsets/{}", self.namespace, self.app)
    }

    fn service(&self) -> String {
        format!("/api/v1/namespaces/{}/services/{}", self.namespace, self.app)
    }

    fn config_maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    fn config_map(&self) -> String {
        format!("juju-service-mesh-{}-labels", self.app)
    }

    /// The labels that are noted as ours; `None` where there is no note.
    fn kept(&mut self) -> Result<Option<Labels>, Error> {
        let path = format!("{}/{}", self.config_maps(), self.config_map());
        let Some(map) = self.get(&path)? else { return Ok(None) };
        let text = map.get("data").and_then(|data| data.get("labels")?.as_str()).unwrap_or("{}");
        Ok(Some(texts(&Json::parse(text).unwrap_or_default())))
    }

    fn create_kept(&mut self) -> Result<(), Error> {
        let metadata = [("name", Json::from(self.config_map())), ("namespace", Json::from(self.namespace))];
        let map = Json::object([
            ("apiVersion", Json::from("v1")),
            ("kind", Json::from("ConfigMap")),
            ("metadata", Json::object(metadata)),
            ("data", Json::object([("labels", Json::from("{}"))])),
        ]);
        let path = self.config_maps();
        match self.send("POST", &path, Some(&map))? {
            // 409: another unit was quicker
            (200..=299 | 409, _) => Ok(()),
            (code, answer) => Err(refused("POST", &path, code, &answer)),
        }
    }

    fn keep(&mut self, labels: &Labels) -> Result<(), Error> {
        let labels = Json::object(labels.iter().map(|(label, value)| (label.clone(), Json::from(value.as_str()))));
        let patch = Json::object([("data", Json::object([("labels", Json::from(labels.dumps()))]))]);
        let path = format!("{}/{}", self.config_maps(), self.config_map());
        self.patch(&path, &patch)
    }

    /// Patches the labels below `place` of the object at `path`, if any of them differs. An object that is gone has none.
    fn patch_labels(&mut self, path: &str, place: &[&str], wished: &Labels, ours: &Labels) -> Result<(), Error> {
        let Some(object) = self.get(path)? else {
            tracing::warn!(path, "there is no such object to label");
            return Ok(());
        };
        let metadata = place.iter().try_fold(&object, |value, key| value.get(key));
        let present = texts(metadata.and_then(|metadata| metadata.get("labels")).unwrap_or(&Json::Null));
        let selected = object.get("spec").and_then(|spec| spec.get("selector")?.get("matchLabels"));
        let selected = texts(selected.unwrap_or(&Json::Null));
        let mut changes = Object::new();
        for (label, value) in wished {
            match present.get(label) {
                Some(now) if now == value => {}
                Some(now) if selected.contains_key(label) || ours.get(label) != Some(now) => {
                    tracing::warn!(path, label, now, wished = value, "left a label alone that is not ours");
                }
                _ => {
                    changes.insert(label.clone(), Json::from(value.as_str()));
                }
            }
        }
        for (label, value) in ours {
            if !wished.contains_key(label) && !selected.contains_key(label) && present.get(label) == Some(value) {
                changes.insert(label.clone(), Json::Null);
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let labels = Json::object([("labels", Json::Object(changes))]);
        let patch = place.iter().rev().fold(labels, |inner, key| Json::object([(*key, inner)]));
        self.patch(path, &patch)
    }

    fn get(&mut self, path: &str) -> Result<Option<Json>, Error> {
        match self.send("GET", path, None)? {
            (404, _) => Ok(None),
            (code @ 200..=299, answer) if answer.as_object().is_none() => {
                Err(Error::Refused { request: format!("GET {path}"), code, message: "answered no object".to_owned() })
            }
            (200..=299, answer) => Ok(Some(answer)),
            (code, answer) => Err(refused("GET", path, code, &answer)),
        }
    }

    fn patch(&mut self, path: &str, patch: &Json) -> Result<(), Error> {
        match self.send("PATCH", path, Some(patch))? {
            (200..=299, _) => Ok(()),
            (code, answer) => Err(refused("PATCH", path, code, &answer)),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<(u16, Json), Error> {
        let body = body.map(Json::dumps).unwrap_or_default();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers =
            [("Authorization", self.authorization.as_str()), ("Accept", "application/json"), ("Content-Type", kind)];
        let request = Request { method, path, headers: &headers, body: body.as_bytes() };
        let response = self.client.send(request).map_err(Error::Unreachable)?;
        let answer = std::str::from_utf8(&response.body).ok().and_then(|text| Json::parse(text).ok());
        Ok((response.code, answer.unwrap_or_default()))
    }
}

fn refused(method: &str, path: &str, code: u16, answer: &Json) -> Error {
    let message = answer.get("message").and_then(Json::as_str).unwrap_or("without a message").to_owned();
    match code {
        401 | 403 => Error::Forbidden(message),
        _ => Error::Refused { request: format!("{method} {path}"), code, message },
    }
}

/// The texts of an object.
fn texts(value: &Json) -> Labels {
    let members = value.as_object().into_iter().flatten();
    members.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests;
