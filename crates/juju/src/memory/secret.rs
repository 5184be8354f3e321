use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::{Answer, Args, Flags, Refusal, failed, key_values, mapping, usage};
use super::state::{Grant, Owner, SecretState};
use super::{Tools, object};

const CHANGES: &[&str] = &["--label", "--description", "--expire", "--rotate", "--owner", "--file"];

impl Tools<'_> {
    /// The place of a secret: by identifier, or by label. `owned`: only of ours.
    fn find(&self, id: Option<&str>, label: Option<&str>, owned: bool) -> Result<usize, Refusal> {
        let secrets = &self.tx.view.secrets;
        let mine = |s: &SecretState| !matches!(s.owner, Owner::Other(_));
        if let Some(given) = id {
            let id = given.split_once(':').map_or(given, |(_, id)| id);
            let id = id.rsplit('/').next().unwrap_or(id);
            let found = secrets.iter().position(|s| s.id == id && (mine(s) || !owned));
            return found.ok_or_else(|| failed(format!("secret \"{id}\" not found")));
        }
        let label = label.unwrap_or_default();
        let found = secrets.iter().position(|s| s.label == label && (mine(s) || !owned));
        let whose = if owned { "owner" } else { "consumer" };
        found.ok_or_else(|| failed(format!("{whose} label \"{label}\" not found")))
    }

    /// As `find`, of what we may change: an application's secrets are the leader's.
    fn find_to_manage(&self, id: Option<&str>, label: Option<&str>) -> Result<usize, Refusal> {
        let at = self.find(id, label, true)?;
        if self.tx.view.secrets[at].owner == Owner::Application && !self.tx.view.leader {
            return Err(failed("this unit is not the leader"));
        }
        Ok(at)
    }

    pub(super) fn secret_add(&mut self, argv: &[String], stdin: Option<&str>) -> Answer {
        let args = Args::parse(argv, Flags { valued: CHANGES, ..Flags::default() })?;
        let values = values(&args, &args.rest, stdin)?;
        if values.is_empty() {
            return Err(usage("missing secret value or filename"));
        }
        let owner = match args.get(&["--owner"]) {
            None | Some("application") => Owner::Application,
            Some("unit") => Owner::Unit,
            Some(other) => return Err(usage(format!("secret owner \"{other}\" not valid"))),
        };
        let view = &mut self.tx.view;
        if owner == Owner::Application && !view.leader {
            return Err(failed("this unit is not the leader"));
        }
        let label = args.get(&["--label"]).unwrap_or_default();
        if !label.is_empty() && view.secrets.iter().any(|s| s.label == label && s.owner == owner) {
            return Err(failed(format!("secret with label \"{label}\" already exists")));
        }
        let id = if view.secret_ids.is_empty() {
            // As long as Juju's, 20 digits; counted up from what is there.
            let taken = |id: &str| view.secrets.iter().any(|s| s.id == id);
            (1..=view.secrets.len() + 1).map(|n| format!("c0ffee{n:014}")).find(|id| !taken(id)).unwrap_or_default()
        } else {
            view.secret_ids.remove(0)
        };
        let answer = format!("secret:{id}\n");
        view.secrets.push(SecretState {
            description: args.get(&["--description"]).unwrap_or_default().to_owned(),
            rotate: args.get(&["--rotate"]).unwrap_or("never").to_owned(),
            expire: args.get(&["--expire"]).map(str::to_owned),
            fresh: Some(1),
            ..SecretState::new(&id, owner, label, values)
        });
        Ok(answer)
    }

    pub(super) fn secret_get(&mut self, argv: &[String]) -> Answer {
        let flags = Flags { valued: &["--label"], plain: &["--refresh", "--peek"], formats: true };
        let args = Args::parse(argv, flags)?;
        if args.rest.is_empty() && !args.has("--label") {
            return Err(usage("require either a secret URI or label"));
        }
        if args.has("--refresh") && args.has("--peek") {
            return Err(usage("specify one of --peek or --refresh but not both"));
        }
        args.at_most(2)?;
        let label = args.get(&["--label"]).filter(|label| !label.is_empty());
        let at = self.find(args.rest.first().map(String::as_str), label, false)?;
        let secret = &mut self.tx.view.secrets[at];
        if let (false, Some(label), Owner::Other(_)) = (args.rest.is_empty(), label, &secret.owner) {
            label.clone_into(&mut secret.label);
        }
        if args.has("--refresh") {
            secret.tracked = secret.latest;
        }
        let revision = if args.has("--peek") { secret.latest } else { secret.tracked };
        let value = secret.revisions.get(&revision);
        let value = value.ok_or_else(|| failed(format!("secret revision \"{}/{revision}\" not found", secret.id)))?;
        match args.rest.get(1) {
            Some(key) => args.form(&value.get(key).map_or(Value::Null, |v| json!(v))),
            None => args.form(&object(value)),
        }
    }

    pub(super) fn secret_info_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { valued: &["--label"], formats: true, ..Flags::default() })?;
        if args.rest.is_empty() && !args.has("--label") {
            return Err(usage("require either a secret URI or label"));
        }
        if !args.rest.is_empty() && args.has("--label") {
            return Err(usage("specify either a secret URI or label but not both"));
        }
        let at = self.find_to_manage(args.rest.first().map(String::as_str), args.get(&["--label"]))?;
        let secret = &self.tx.view.secrets[at];
        // A revision that this dispatch has added does not count before it has ended.
        let pending = u32::from(secret.fresh.is_some_and(|revision| revision != 1));
        let owner = if secret.owner == Owner::Unit { "unit" } else { "application" };
        let mut info = json!({
            "revision": secret.latest - pending, "label": secret.label, "owner": owner, "rotation": secret.rotate,
        });
        if !secret.description.is_empty() {
            info["description"] = json!(secret.description);
        }
        if let Some(expire) = secret.expire.as_ref().filter(|expire| !expire.is_empty()) {
            info["expiry"] = json!(expire);
        }
        if !secret.grants.is_empty() {
            let access = secret
                .grants
                .iter()
                .map(|g| json!({"target": g.unit.as_ref().or(g.app.as_ref()), "scope": g.relation, "role": "view"}));
            info["access"] = access.collect();
        }
        args.form(&json!({&secret.id: info}))
    }

    pub(super) fn secret_ids(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { formats: true, ..Flags::default() })?;
        let leader = self.tx.view.leader;
        let seen = |s: &&SecretState| s.owner == Owner::Unit || s.owner == Owner::Application && leader;
        let ids: Vec<&String> = self.tx.view.secrets.iter().filter(seen).map(|s| &s.id).collect();
        args.form(&json!(ids))
    }

    pub(super) fn secret_set(&mut self, argv: &[String], stdin: Option<&str>) -> Answer {
        let args = Args::parse(argv, Flags { valued: CHANGES, ..Flags::default() })?;
        let Some((id, pairs)) = args.rest.split_first() else { return Err(usage("missing secret URI")) };
        let at = self.find_to_manage(Some(id), None)?;
        let values = values(&args, pairs, stdin)?;
        let secret = &mut self.tx.view.secrets[at];
        if !values.is_empty() && secret.revisions.get(&secret.latest) != Some(&values) {
            if secret.fresh.is_none() {
                secret.latest += 1;
                secret.fresh = Some(secret.latest);
            }
            secret.revisions.insert(secret.latest, values);
        }
        if let Some(label) = args.get(&["--label"]) {
            label.clone_into(&mut secret.label);
        }
        if let Some(description) = args.get(&["--description"]) {
            description.clone_into(&mut secret.description);
        }
        if let Some(expire) = args.get(&["--expire"]) {
            secret.expire = Some(expire.to_owned());
        }
        if let Some(rotate) = args.get(&["--rotate"]) {
            rotate.clone_into(&mut secret.rotate);
        }
        Ok(String::new())
    }

    pub(super) fn secret_remove(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { valued: &["--revision"], ..Flags::default() })?;
        let Some(id) = args.rest.first() else { return Err(usage("missing secret URI")) };
        let at = self.find_to_manage(Some(id), None)?;
        let secrets = &mut self.tx.view.secrets;
        match args.get(&["--revision"]) {
            None => drop(secrets.remove(at)),
            Some(revision) => {
                let revision: u32 = revision
                    .parse()
                    .map_err(|_| usage(format!("invalid value \"{revision}\" for option --revision: not a number")))?;
                secrets[at].revisions.remove(&revision);
                if secrets[at].revisions.is_empty() {
                    secrets.remove(at);
                }
            }
        }
        Ok(String::new())
    }

    pub(super) fn secret_grant(&mut self, argv: &[String]) -> Answer {
        let (at, grant) = self.granted(argv, true)?;
        let grants = &mut self.tx.view.secrets[at].grants;
        if !grants.contains(&grant) {
            grants.push(grant);
        }
        Ok(String::new())
    }

    pub(super) fn secret_revoke(&mut self, argv: &[String]) -> Answer {
        let (at, taken) = self.granted(argv, false)?;
        let matches = |grant: &Grant| {
            (taken.relation.is_none() || taken.relation == grant.relation)
                && (taken.app.is_none() || taken.app == grant.app)
                && (taken.unit.is_none() || taken.unit == grant.unit)
        };
        self.tx.view.secrets[at].grants.retain(|grant| !matches(grant));
        Ok(String::new())
    }

    /// The secret and the grant that the arguments speak of.
    fn granted(&self, argv: &[String], to_add: bool) -> Result<(usize, Grant), Refusal> {
        let valued = ["-r", "--relation", "--unit", "--app", "--application"];
        let args = Args::parse(argv, Flags { valued: &valued, ..Flags::default() })?;
        let Some(id) = args.rest.first() else { return Err(usage("missing secret URI")) };
        let at = self.find_to_manage(Some(id), None)?;
        let mut grant = Grant::default();
        let given = |flag: &str| args.get(&[flag]).filter(|value| !value.is_empty()).map(str::to_owned);
        if args.get(&["-r", "--relation"]).is_some() {
            let id = self.relation(&args)?;
            grant.relation = Some(id);
            grant.app = self.tx.view.relations.get(&id).map(|r| r.remote_app.clone());
        } else if to_add {
            return Err(usage("no relation id specified"));
        } else if given("--unit").or_else(|| given("--app")).or_else(|| given("--application")).is_none() {
            return Err(usage("missing relation or application or unit"));
        }
        grant.unit = given("--unit");
        grant.app = given("--application").or_else(|| given("--app")).or(grant.app);
        Ok((at, grant))
    }
}

/// The content that `key=value`, `key#file=path` and `key#base64=text` give, and a file of such keys, which wins.
fn values(args: &Args, pairs: &[String], stdin: Option<&str>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut given = key_values(pairs, None, None)?;
    match args.get(&["--file"]) {
        None | Some("") => {}
        Some("-") => given.extend(mapping(stdin.unwrap_or_default())?),
        Some(path) => given.extend(mapping(&std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?)?),
    }
    let mut out = BTreeMap::new();
    for (key, mut value) in given {
        let (name, how) = key.split_once('#').unwrap_or((&key, ""));
        match how {
            "file" => value = std::fs::read_to_string(&value).map_err(|e| failed(e.to_string()))?,
            "base64" => {
                let bytes = from_base64(&value).and_then(|bytes| String::from_utf8(bytes).ok());
                value = bytes.ok_or_else(|| failed(format!("value of key \"{name}\" is no text in base64")))?;
            }
            _ => {}
        }
        if !is_secret_key(name) {
            return Err(failed(format!("key \"{name}\" not valid")));
        }
        out.insert(name.to_owned(), value);
    }
    Ok(out)
}

/// In the standard alphabet, with its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for digit in digits.bytes() {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            // the low eight of what is held
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// At least three lower-case letters, digits and hyphens; a letter first, no hyphen last.
pub(crate) fn is_secret_key(name: &str) -> bool {
    name.len() >= 3
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.ends_with('-')
}
