use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use super::*;
use crate::http::test_server::{Asked, Shows, TestServer};
use crate::relation::tests::Recording;

const STATEFUL_SET: &str = "/apis/apps/v1/namespaces/lens/statefulsets/parca-k8s";
const SERVICE: &str = "/api/v1/namespaces/lens/services/parca-k8s";
const CONFIG_MAPS: &str = "/api/v1/namespaces/lens/configmaps";
const CONFIG_MAP: &str = "/api/v1/namespaces/lens/configmaps/juju-service-mesh-parca-k8s-labels";

/// Objects by path, with merge patches as RFC 7386 has them.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<BTreeMap<String, Json>>>);

impl Cluster {
    fn new() -> Cluster {
        let cluster = Cluster::default();
        let set = r#"{"kind": "StatefulSet", "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": "parca-k8s"}}, "template": {"metadata": {"labels": {"app.kubernetes.io/name": "parca-k8s"}}}}}"#;
        cluster.put(STATEFUL_SET, set);
        cluster.put(SERVICE, r#"{"kind": "Service", "metadata": {}, "spec": {"selector": {"a": "b"}}}"#);
        cluster
    }

    fn put(&self, path: &str, text: &str) {
        self.0.lock().unwrap().insert(path.to_owned(), Json::parse(text).unwrap());
    }

    fn answer(&self, asked: &Asked) -> (u16, String) {
        let mut objects = self.0.lock().unwrap();
        assert!(asked.head.contains("\r\nAuthorization: Bearer t0ken\r\n"), "{}", asked.head);
        let body = Json::parse(std::str::from_utf8(&asked.body).unwrap()).unwrap_or_default();
        let path = match asked.method.as_str() {
            "POST" => {
                format!("{}/{}", asked.path, body.get("metadata").unwrap().get("name").unwrap().as_str().unwrap())
            }
            _ => asked.path.clone(),
        };
        let missing = || (404, r#"{"kind": "Status", "message": "not found"}"#.to_owned());
        match asked.method.as_str() {
            "POST" => {
                objects.insert(path, body);
                (201, "{}".to_owned())
            }
            "DELETE" => objects.remove(&path).map_or_else(missing, |_| (200, "{}".to_owned())),
            "GET" => objects.get(&path).map_or_else(missing, |object| (200, object.dumps())),
            "PATCH" => {
                assert!(asked.head.contains("\r\nContent-Type: application/merge-patch+json\r\n"));
                let Some(object) = objects.get_mut(&path) else { return missing() };
                merge(object, &body);
                (200, object.dumps())
            }
            other => panic!("{other}"),
        }
    }

    /// As the recordings tell it.
    fn labels(&self) -> Json {
        let objects = self.0.lock().unwrap();
        let at = |path: &str, place: &[&str]| {
            let found = place.iter().try_fold(objects.get(path)?, |value, key| value.get(key))?;
            Some(found.clone())
        };
        let empty = || Json::Object(Object::new());
        let set = at(STATEFUL_SET, &["spec", "template", "metadata", "labels"]).unwrap_or_else(empty);
        let mut labels =
            vec![("StatefulSet", set), ("Service", at(SERVICE, &["metadata", "labels"]).unwrap_or_else(empty))];
        labels.extend(at(CONFIG_MAP, &["data"]).map(|data| ("configmaps juju-service-mesh-parca-k8s-labels", data)));
        Json::object(labels)
    }
}

fn merge(target: &mut Json, patch: &Json) {
    let (Json::Object(target), Some(patch)) = (target, patch.as_object()) else { panic!("objects") };
    for (key, value) in patch {
        match value {
            Json::Null => drop(target.shift_remove(key)),
            Json::Object(_) => merge(target.entry(key.clone()).or_insert_with(|| Json::Object(Object::new())), value),
            other => drop(target.insert(key.clone(), other.clone())),
        }
    }
}

fn no_names(_: &str, _: u16, _: Duration) -> io::Result<Vec<SocketAddr>> {
    unreachable!("the API server has an address")
}

/// An account for the server, read from files as in a pod.
fn account(server: &TestServer) -> Account {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    std::fs::write(folder.path().join("ca.crt"), &server.ca).unwrap();
    Account::read(variables(server.address), folder.path()).unwrap()
}

fn variables(address: SocketAddr) -> impl Fn(&str) -> Option<String> {
    move |name| match name {
        "KUBERNETES_SERVICE_HOST" => Some(address.ip().to_string()),
        "KUBERNETES_SERVICE_PORT" => Some(address.port().to_string()),
        _ => None,
    }
}

fn start(cluster: &Cluster) -> TestServer {
    let cluster = cluster.clone();
    TestServer::start(Shows::Authority, move |asked| cluster.answer(asked))
}

/// What a dispatch does, and how many requests changed something.
fn dispatch(
    server: &TestServer,
    what: impl FnOnce(&mut Workload<'_>) -> Result<(), Error>,
) -> (Result<(), Error>, usize) {
    let before = server.asked().len();
    let mut workload = Workload::new(&account(server), "lens", "parca-k8s", &no_names).unwrap();
    let result = what(&mut workload);
    (result, server.asked()[before..].iter().filter(|asked| asked.method != "GET").count())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn vectors_of_the_meshs_labels_are_what_kubernetes_has_in_the_end() {
    let recording = Recording::open("mesh-labels");
    let recorded = |step: usize| {
        let labels = recording.at(step, &["kubernetes"]).unwrap().clone();
        let Json::Object(mut labels) = labels else { panic!("labels") };
        // the order of labels in a text means nothing
        for text in labels.values_mut().filter_map(|value| match value {
            Json::Object(members) => members.get_mut("labels"),
            _ => None,
        }) {
            *text = Json::parse(text.as_str().unwrap()).unwrap();
        }
        Json::Object(labels)
    };
    let now = |cluster: &Cluster| {
        let Json::Object(mut labels) = cluster.labels() else { panic!("labels") };
        if let Some(Json::Object(data)) = labels.get_mut("configmaps juju-service-mesh-parca-k8s-labels") {
            let parsed = Json::parse(data["labels"].as_str().unwrap()).unwrap();
            data.insert("labels".to_owned(), parsed);
        }
        Json::Object(labels)
    };
    let (ambient, waypoint) = (("istio.io/dataplane-mode", "ambient"), ("istio.io/use-waypoint", "beacon"));
    let cluster = Cluster::new();
    let server = start(&cluster);
    for (step, wished) in [labels(&[]), labels(&[ambient, waypoint]), labels(&[ambient])].iter().enumerate() {
        let (result, changes) = dispatch(&server, |workload| workload.settle(wished));
        assert_eq!(result, Ok(()));
        assert!(changes > 0);
        assert_eq!(now(&cluster), recorded(step), "step {step}");
        let (result, changes) = dispatch(&server, |workload| workload.settle(wished));
        assert_eq!((result, changes), (Ok(()), 0), "the second time nothing is written");
    }
    assert_eq!(dispatch(&server, |workload| workload.clear()).0, Ok(()));
    assert_eq!(now(&cluster), recorded(3));
    assert_eq!(dispatch(&server, |workload| workload.clear()), (Ok(()), 0));
}

#[test]
fn an_untrusted_application_is_told_so() {
    for code in [401, 403] {
        let server = TestServer::start(Shows::Signed, move |_| {
            (code, r#"{"kind": "Status", "reason": "Forbidden", "message": "User cannot get resource"}"#.to_owned())
        });
        let (result, changes) = dispatch(&server, |workload| workload.settle(&labels(&[("a", "b")])));
        let error = result.unwrap_err();
        assert_eq!(error, Error::Forbidden("User cannot get resource".to_owned()));
        assert_eq!(error.status("parca-k8s"), Status::blocked("run: juju trust parca-k8s --scope=cluster"));
        assert_eq!(changes, 0);
        assert_eq!(dispatch(&server, |workload| workload.clear()).0, Err(error));
    }
}

#[test]
fn a_missing_token_or_address_is_no_account() {
    let folder = tempfile::tempdir().unwrap();
    let address: SocketAddr = "10.152.183.1:443".parse().unwrap();
    let read = |folder: &Path| Account::read(variables(address), folder).unwrap_err();
    let error = read(&folder.path().join("nothing"));
    assert!(error.to_string().starts_with("no service account: "), "{error}");
    assert_eq!(error.status("parca-k8s"), Status::blocked("run: juju trust parca-k8s --scope=cluster"));
    std::fs::write(folder.path().join("ca.crt"), "").unwrap();
    assert!(matches!(read(folder.path()), Error::NoAccount(_)));
    for token in ["", "\n", "a\r\nX: y"] {
        std::fs::write(folder.path().join("token"), token).unwrap();
        assert_eq!(read(folder.path()), Error::NoAccount("the service account's token is empty or none".to_owned()));
    }
    std::fs::write(folder.path().join("token"), "t").unwrap();
    let error = Account::read(|_| None, folder.path()).unwrap_err();
    assert_eq!(error, Error::NoAccount("KUBERNETES_SERVICE_HOST is not set".to_owned()));
    // an authority that is none
    let account = Account::read(variables(address), folder.path()).unwrap();
    assert!(matches!(Workload::new(&account, "lens", "parca-k8s", &no_names), Err(Error::NoAccount(_))));
    assert!(!format!("{account:?}").contains("token"));
}

#[test]
fn an_api_server_that_says_nothing_is_waited_for_no_longer_than_allowed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let real = TestServer::start(Shows::Signed, |_| (200, "{}".to_owned()));
    let mut account = account(&real);
    account.url.port = silent.local_addr().unwrap().port();
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(200);
    let mut workload = Workload::until(&account, "lens", "parca-k8s", &no_names, deadline).unwrap();
    let error = workload.settle(&labels(&[("a", "b")])).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(error.status("parca-k8s"), Status::waiting("Waiting for the Kubernetes API: no answer in time"));
}

#[test]
fn an_api_server_that_is_not_there_or_fails_is_waited_for() {
    let failing = TestServer::start(Shows::Signed, |_| (500, "oops".to_owned()));
    let error = dispatch(&failing, |workload| workload.settle(&Labels::new())).0.unwrap_err();
    assert_eq!(error.to_string(), format!("GET {CONFIG_MAP}: 500 without a message"));
    assert_eq!(error.status("a"), Status::waiting("Waiting for the Kubernetes API: it answers 500"));
    let account = account(&failing);
    drop(failing);
    let mut workload = Workload::new(&account, "lens", "parca-k8s", &no_names).unwrap();
    let error = workload.settle(&Labels::new()).unwrap_err();
    assert_eq!(error.status("a"), Status::waiting("Waiting for the Kubernetes API"));
}

#[test]
fn labels_of_others_and_those_that_select_pods_are_left_alone() {
    let cluster = Cluster::new();
    cluster.put(SERVICE, r#"{"kind": "Service", "metadata": {"labels": {"team": "blue"}}}"#);
    let server = start(&cluster);
    let wished = labels(&[("app.kubernetes.io/name", "other"), ("team", "red"), ("a", "b")]);
    assert_eq!(dispatch(&server, |workload| workload.settle(&wished)).0, Ok(()));
    let now = cluster.labels();
    assert_eq!(
        now.get("StatefulSet").unwrap().dumps(),
        r#"{"app.kubernetes.io/name": "parca-k8s", "a": "b", "team": "red"}"#
    );
    assert_eq!(now.get("Service").unwrap().dumps(), r#"{"team": "blue", "a": "b", "app.kubernetes.io/name": "other"}"#);
    assert_eq!(dispatch(&server, |workload| workload.clear()).0, Ok(()));
    assert_eq!(cluster.labels().get("StatefulSet").unwrap().dumps(), r#"{"app.kubernetes.io/name": "parca-k8s"}"#);
}

#[test]
fn what_a_dispatch_left_half_done_is_taken_away_later() {
    let cluster = Cluster::new();
    let failing = {
        let cluster = cluster.clone();
        TestServer::start(Shows::Authority, move |asked| match asked.path.as_str() {
            SERVICE => (503, "{}".to_owned()),
            _ => cluster.answer(asked),
        })
    };
    assert!(dispatch(&failing, |workload| workload.settle(&labels(&[("a", "b")]))).0.is_err());
    assert!(cluster.labels().get("StatefulSet").unwrap().get("a").is_some());
    let server = start(&cluster);
    assert_eq!(dispatch(&server, |workload| workload.settle(&labels(&[("c", "d")]))).0, Ok(()));
    assert_eq!(
        cluster.labels().get("StatefulSet").unwrap().dumps(),
        r#"{"app.kubernetes.io/name": "parca-k8s", "c": "d"}"#
    );
    assert_eq!(cluster.labels().get("Service").unwrap().dumps(), r#"{"c": "d"}"#);
}

#[test]
fn a_label_that_juju_took_away_is_put_back() {
    let cluster = Cluster::new();
    let server = start(&cluster);
    let wished = labels(&[("a", "b")]);
    assert_eq!(dispatch(&server, |workload| workload.settle(&wished)).0, Ok(()));
    cluster.put(SERVICE, r#"{"kind": "Service", "metadata": {}}"#);
    assert_eq!(dispatch(&server, |workload| workload.settle(&wished)), (Ok(()), 1));
    assert_eq!(cluster.labels().get("Service").unwrap().dumps(), r#"{"a": "b"}"#);
}

#[test]
fn the_config_map_is_created_where_the_library_had_it() {
    let cluster = Cluster::new();
    let server = start(&cluster);
    assert_eq!(dispatch(&server, |workload| workload.settle(&Labels::new())).0, Ok(()));
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.method == "POST" && asked.path == CONFIG_MAPS));
}
