//! Layers, what is wrong with them, and the plan that they make together.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::go::{self, quote};
use super::order;
use super::schema::{self, Errors, Fields, Value};
use crate::json::{Json, Object};

const MINUTE: i64 = 60_000_000_000;

/// How often a check runs that does not say it.
const CHECK_PERIOD: i64 = MINUTE / 6;

/// What a layer has, or all of them together.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) label: String,
    pub(super) services: BTreeMap<String, Fields>,
    pub(super) checks: BTreeMap<String, Fields>,
    pub(super) log_targets: BTreeMap<String, Fields>,
}

/// Why a layer is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It makes no sense.
    Format(String),
    /// It cannot go where it should.
    Place(String),
}

/// The layers in their order, with what they make together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    layers: Vec<Layer>,
    pub(super) services: BTreeMap<String, Fields>,
    pub(super) checks: BTreeMap<String, Fields>,
    log_targets: BTreeMap<String, Fields>,
}

impl Plan {
    /// Adds a layer, or combines it with that of its label.
    pub(super) fn add(&mut self, layer: Layer, into_present: bool) -> Result<(), Refusal> {
        let mut layers = self.layers.clone();
        match layers.iter().position(|present| present.label == layer.label) {
            Some(_) if !into_present => {
                return Err(Refusal::Format(format!("layer {} already exists", quote(&layer.label))));
            }
            Some(at) => layers[at] = combine(&[&layers[at], &layer]).map_err(Refusal::Format)?,
            None => {
                let folder = |label: &str| label.split('/').next().unwrap_or_default().to_owned();
                let beside = layers.iter().rposition(|present| folder(&present.label) == folder(&layer.label));
                if beside.is_some_and(|at| at + 1 != layers.len()) {
                    let why = "cannot insert sub-directory layer without 'inner' attribute set";
                    return Err(Refusal::Place(why.to_owned()));
                }
                layers.push(layer);
            }
        }
        let combined = combine(&layers.iter().collect::<Vec<_>>()).map_err(Refusal::Format)?;
        check_plan(&combined).map_err(Refusal::Format)?;
        let Layer { services, checks, log_targets, .. } = combined;
        *self = Plan { layers, services, checks, log_targets };
        Ok(())
    }

    pub(super) fn to_json(&self) -> Json {
        let mut plan = Object::new();
        for (section, entries, shape) in [
            ("services", &self.services, &schema::SERVICE),
            ("checks", &self.checks, &schema::CHECK),
            ("log-targets", &self.log_targets, &schema::LOG_TARGET),
        ] {
            if !entries.is_empty() {
                let entries = entries.iter().map(|(name, fields)| (name.as_str(), fields.to_json(shape)));
                plan.insert(section.to_owned(), Json::object(entries));
            }
        }
        Json::Object(plan)
    }
}

/// Reads a layer and looks whether it makes sense by itself.
pub(super) fn read(label: &str, layer: &Json, accounts: &Accounts) -> Result<Layer, String> {
    let empty = Object::new();
    let sections = match layer {
        Json::Null => &empty,
        Json::Object(sections) => sections,
        other => {
            let mut errors = Errors::default();
            errors.mismatch(other, "map[string]yaml.Node");
            errors.finish().map_err(|why| format!("cannot parse layer {}: {why}", quote(label)))?;
            &empty
        }
    };
    let mut services = BTreeMap::new();
    let mut checks = BTreeMap::new();
    let mut log_targets = BTreeMap::new();
    for (section, content) in sections {
        let mut errors = Errors::default();
        let mut read_named = |shape| schema::read_section(content, shape, &mut errors);
        let read = match section.as_str() {
            "services" => read_named(&schema::SERVICE).map(|named| services = named),
            "checks" => read_named(&schema::CHECK).map(|named| checks = named),
            "log-targets" => read_named(&schema::LOG_TARGET).map(|named| log_targets = named),
            "summary" | "description" => {
                schema::read_text(content, "string", &mut errors);
                Ok(())
            }
            other => {
                return Err(format!("cannot parse layer {}: unknown section {}", quote(label), quote(other)));
            }
        };
        read.and_then(|()| errors.finish())
            .map_err(|why| format!("cannot parse layer {} section {}: {why}", quote(label), quote(section)))?;
    }
    if label.starts_with("pebble-") {
        return Err("cannot use reserved label prefix \"pebble-\"".to_owned());
    }
    let services = each(services, check_service)?;
    let checks = each(checks, |name, check| check_check(name, check, accounts))?;
    let log_targets = each(log_targets, check_log_target)?;
    Ok(Layer { label: label.to_owned(), services, checks, log_targets })
}

/// Checks each entry, which has to be there.
fn each(
    named: BTreeMap<String, Option<Fields>>,
    check: impl Fn(&str, Option<&Fields>) -> Result<(), String>,
) -> Result<BTreeMap<String, Fields>, String> {
    named
        .into_iter()
        .map(|(name, fields)| {
            check(&name, fields.as_ref())?;
            Ok((name, fields.unwrap_or_default()))
        })
        .collect()
}

fn check_service(name: &str, service: Option<&Fields>) -> Result<(), String> {
    if name.is_empty() {
        return Err("cannot use empty string as service name".to_owned());
    }
    if name == "pebble" {
        return Err(format!("cannot use reserved service name {}", quote(name)));
    }
    if name.starts_with('-') {
        return Err(format!("cannot use service name {}: starting with \"-\" not allowed", quote(name)));
    }
    let named = quote(name);
    let service = service.ok_or_else(|| format!("service object cannot be null for service {named}"))?;
    command(name, service.text("command")).map_err(|why| format!("plan service {named} command invalid: {why}"))?;
    let action = |text: &str, extra: &str| ["", "restart", "shutdown", "ignore", extra].contains(&text);
    for (field, extra) in [("on-success", "failure-shutdown"), ("on-failure", "success-shutdown")] {
        let told = service.text(field);
        if !action(told, extra) {
            return Err(format!("plan service {named} {field} action {} invalid", quote(told)));
        }
    }
    for told in service.map("on-check-failure").into_iter().flat_map(BTreeMap::values) {
        if !action(told, "success-shutdown") {
            return Err(format!("plan service {named} on-check-failure action {} invalid", quote(told)));
        }
    }
    match service.float("backoff-factor") {
        Some(factor) if factor < 1.0 => {
            Err(format!("plan service {named} backoff-factor must be 1.0 or greater, not {factor}"))
        }
        _ => Ok(()),
    }
}

/// The words of a service's command. In brackets stand those that `pebble run --args` may replace.
pub(super) fn command(service: &str, text: &str) -> Result<Vec<String>, String> {
    let parsed = || {
        let mut words = Vec::new();
        let (mut open, mut closed) = (false, false);
        for (position, word) in go::split_words(text)?.into_iter().enumerate() {
            match word.as_str() {
                "[" if open => return Err("cannot nest [ ... ] groups".to_owned()),
                "]" if open => (open, closed) = (false, true),
                _ if open => words.push(word),
                _ if closed => return Err("cannot have any arguments after [ ... ] group".to_owned()),
                "[" if position == 0 => return Err("cannot start command with [ ... ] group".to_owned()),
                "[" => open = true,
                "]" => return Err("cannot have ] outside of [ ... ] group".to_owned()),
                _ => words.push(word),
            }
        }
        Ok(words)
    };
    parsed().map_err(|why| format!("cannot parse service {} command: {why}", quote(service)))
}

fn check_check(name: &str, check: Option<&Fields>, accounts: &Accounts) -> Result<(), String> {
    if name.is_empty() {
        return Err("cannot use empty string as check name".to_owned());
    }
    let named = quote(name);
    let check = check.ok_or_else(|| format!("check object cannot be null for check {named}"))?;
    if !["", "alive", "ready"].contains(&check.text("level")) {
        return Err(format!("plan check {named} level must be \"alive\" or \"ready\""));
    }
    if !["", "enabled", "disabled"].contains(&check.text("startup")) {
        return Err(format!("plan check {named} startup must be \"enabled\" or \"disabled\""));
    }
    for field in ["period", "timeout"] {
        if check.duration(field) == Some(0) {
            return Err(format!("plan check {named} {field} must not be zero"));
        }
    }
    let Some(exec) = check.nested("exec") else { return Ok(()) };
    go::split_words(exec.text("command")).map_err(|why| format!("plan check {named} command invalid: {why}"))?;
    accounts.of_fields(exec).map_err(|why| format!("plan check {named} has invalid user/group: {why}"))?;
    Ok(())
}

fn check_log_target(name: &str, target: Option<&Fields>) -> Result<(), String> {
    let named = quote(name);
    let target = target.ok_or_else(|| format!("log target object cannot be null for log target {named}"))?;
    for label in target.map("labels").into_iter().flat_map(BTreeMap::keys) {
        if label.starts_with("pebble_") {
            return Err(format!("log target {named}: label {} uses reserved prefix \"pebble_\"", quote(label)));
        }
    }
    match target.text("type") {
        "" | "loki" | "opentelemetry" | "syslog" => Ok(()),
        other => Err(format!(
            "log target {named} has unsupported type {}, must be \"loki\", \"opentelemetry\" or \"syslog\"",
            quote(other)
        )),
    }
}

/// Later layers over earlier ones.
fn combine(layers: &[&Layer]) -> Result<Layer, String> {
    let mut combined = Layer::default();
    for layer in layers {
        combined.label.clone_from(&layers[0].label);
        overlay(&mut combined.services, &layer.services, &layer.label, "service")?;
        overlay(&mut combined.checks, &layer.checks, &layer.label, "check")?;
        overlay(&mut combined.log_targets, &layer.log_targets, &layer.label, "log target")?;
    }
    for check in combined.checks.values_mut() {
        if check.number("threshold").is_none() {
            check.set("threshold", Value::Number(3));
        }
        let period = check.duration("period").unwrap_or(CHECK_PERIOD);
        if check.duration("timeout").is_some_and(|timeout| timeout > period) {
            check.set("timeout", Value::Duration(period));
        }
    }
    Ok(combined)
}

fn overlay(
    combined: &mut BTreeMap<String, Fields>,
    entries: &BTreeMap<String, Fields>,
    label: &str,
    what: &str,
) -> Result<(), String> {
    for (name, fields) in entries {
        match (fields.text("override"), combined.get_mut(name)) {
            ("merge", Some(present)) => present.merge(fields),
            ("merge" | "replace", _) => drop(combined.insert(name.clone(), fields.clone())),
            ("", _) => {
                return Err(format!("layer {} must define \"override\" for {what} {}", quote(label), quote(name)));
            }
            _ => {
                let (label, name) = (quote(label), quote(name));
                return Err(format!("layer {label} has invalid \"override\" value for {what} {name}"));
            }
        }
    }
    Ok(())
}

fn check_plan(plan: &Layer) -> Result<(), String> {
    for (name, service) in &plan.services {
        if service.text("command").is_empty() {
            return Err(format!("plan must define \"command\" for service {}", quote(name)));
        }
    }
    for (name, check) in &plan.checks {
        let named = quote(name);
        if check.nested("http").is_some_and(|http| http.text("url").is_empty()) {
            return Err(format!("plan must set \"url\" for http check {named}"));
        }
        if check.nested("tcp").is_some_and(|tcp| tcp.number("port").is_none()) {
            return Err(format!("plan must set \"port\" for tcp check {named}"));
        }
        if let Some(exec) = check.nested("exec") {
            if exec.text("command").is_empty() {
                return Err(format!("plan must set \"command\" for exec check {named}"));
            }
            let context = exec.text("service-context");
            if !context.is_empty() && !plan.services.contains_key(context) {
                let context = quote(context);
                return Err(format!("plan check {named} service context specifies non-existent service {context}"));
            }
        }
        if ["http", "tcp", "exec"].into_iter().filter(|kind| check.nested(kind).is_some()).count() != 1 {
            return Err(format!("plan must specify one of \"http\", \"tcp\", or \"exec\" for check {named}"));
        }
    }
    for (name, target) in &plan.log_targets {
        let named = quote(name);
        if target.text("type").is_empty() {
            return Err(format!(
                "plan must define \"type\" (\"loki\", \"opentelemetry\" or \"syslog\") for log target {named}"
            ));
        }
        for service in target.texts("services") {
            let service = service.strip_prefix('-').unwrap_or(service);
            if service != "all" && !plan.services.contains_key(service) {
                return Err(format!("log target {named} specifies unknown service {}", quote(service)));
            }
        }
        if target.text("location").is_empty() {
            return Err(format!("plan must define \"location\" for log target {named}"));
        }
    }
    let names: Vec<String> = plan.services.keys().cloned().collect();
    order::to_start(&plan.services, &names).map(|_| ())
}

/// How long a service waits before it is started again, after waiting `before`.
pub(super) fn backoff(service: &Fields, before: i64) -> i64 {
    let limit = service.duration("backoff-limit").unwrap_or(MINUTE / 2);
    if before == 0 {
        return service.duration("backoff-delay").unwrap_or(500_000_000);
    }
    let next = before as f64 * service.float("backoff-factor").unwrap_or(2.0);
    if before >= limit || next >= limit as f64 { limit } else { next as i64 }
}
