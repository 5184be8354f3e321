use serde_json::{Value, json};

use super::args::{Answer, Args, Flags, Refusal, failed, key_values, usage};
use super::meta::ConfigKind;
use super::{Tools, object};
use crate::desired::Port;
use crate::model::ConfigValue;
use crate::status::{Status, StatusKind};

const FORMATS: Flags<'static> = Flags { valued: &[], plain: &[], formats: true };

impl Tools<'_> {
    pub(super) fn is_leader(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, FORMATS)?;
        args.at_most(0)?;
        args.form(&json!(self.tx.view.leader))
    }

    pub(super) fn config_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { plain: &["-a", "--all"], ..FORMATS })?;
        args.at_most(1)?;
        let all = args.has("-a") || args.has("--all");
        let mut values = serde_json::Map::new();
        for (name, option) in &self.meta.config {
            match self.tx.view.config.get(name).or(option.default.as_ref()) {
                // Go prints a whole float without a point.
                Some(ConfigValue::Float(v)) if option.kind == ConfigKind::Float && v.fract() == 0.0 => {
                    values.insert(name.clone(), json!(*v as i64));
                }
                Some(value) => {
                    values.insert(name.clone(), json!(value));
                }
                None if all => {
                    values.insert(name.clone(), Value::Null);
                }
                None => {}
            }
        }
        match args.rest.first() {
            Some(name) => args.form(values.get(name).unwrap_or(&Value::Null)),
            None => args.form(&Value::Object(values)),
        }
    }

    pub(super) fn status_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { plain: &["--application", "--include-data"], ..FORMATS })?;
        let view = &self.tx.view;
        let data = |status: &Status| json!({"status": status.kind, "message": status.message, "status-data": {}});
        if !args.has("--application") {
            let status = &view.unit_status;
            return args.form(&if args.has("--include-data") { data(status) } else { json!(status.kind) });
        }
        if !view.leader {
            return Err(failed("finding application status: this unit is not the leader"));
        }
        if !args.has("--include-data") {
            return args.form(&json!(view.app_status.kind));
        }
        let mut body = data(&view.app_status);
        body["units"] = json!({view.unit.to_string(): data(&view.unit_status)});
        args.form(&json!({"application-status": body}))
    }

    pub(super) fn status_set(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { plain: &["--application"], ..Flags::default() })?;
        let Some(name) = args.rest.first() else { return Err(usage("invalid args, require <status> [message]")) };
        args.at_most(2)?;
        let kind = name.parse().ok().filter(|kind: &StatusKind| kind.settable()).ok_or_else(|| {
            usage(format!("invalid status \"{name}\", expected one of [maintenance blocked waiting active]"))
        })?;
        let status = Status { kind, message: args.rest.get(1).cloned().unwrap_or_default() };
        if !args.has("--application") {
            self.tx.view.unit_status = status;
        } else if self.tx.view.leader {
            self.tx.view.app_status = status;
        } else {
            return Err(failed("this unit is not the leader"));
        }
        Ok(String::new())
    }

    pub(super) fn application_version_set(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        let Some(version) = args.rest.first() else { return Err(usage("no version specified")) };
        args.at_most(1)?;
        self.tx.view.workload_version.clone_from(version);
        Ok(String::new())
    }

    pub(super) fn juju_log(&mut self, argv: &[String]) -> Answer {
        let flags = Flags { valued: &["--log-level", "-l", "--file", "-f"], plain: &["--debug"], formats: false };
        let args = Args::parse(argv, flags)?;
        if args.rest.is_empty() {
            return Err(usage("no message specified"));
        }
        let default = if args.has("--debug") { "DEBUG" } else { "INFO" };
        let level = args.get(&["--log-level", "-l"]).unwrap_or(default).to_uppercase();
        self.tx.log.push((level, args.rest.join(" ")));
        Ok(String::new())
    }

    /// The one port of `open-port` and `close-port`.
    fn port(argv: &[String]) -> Result<Port, Refusal> {
        let args = Args::parse(argv, Flags { valued: &["--endpoints"], ..FORMATS })?;
        match args.rest.as_slice() {
            [] => Err(usage("no port or range specified")),
            [port] => port.parse().map_err(|e: crate::desired::NotAPort| usage(e.to_string())),
            _ => Err(usage("unrecognized args")),
        }
    }

    pub(super) fn open_port(&mut self, argv: &[String]) -> Answer {
        self.tx.view.ports.insert(Self::port(argv)?);
        Ok(String::new())
    }

    pub(super) fn close_port(&mut self, argv: &[String]) -> Answer {
        self.tx.view.ports.remove(&Self::port(argv)?);
        Ok(String::new())
    }

    pub(super) fn opened_ports(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { plain: &["--endpoints"], ..FORMATS })?;
        let mut ports: Vec<String> = self.tx.view.ports.iter().map(Port::to_string).collect();
        ports.sort();
        args.form(&json!(ports))
    }

    pub(super) fn network_get(&mut self, argv: &[String]) -> Answer {
        let plain = ["--bind-address", "--ingress-address", "--egress-subnets", "--primary-address"];
        let args = Args::parse(argv, Flags { valued: &["-r", "--relation"], plain: &plain, formats: true })?;
        let [binding] = args.rest.as_slice() else { return Err(usage("no arguments specified")) };
        if !self.meta.has_endpoint(binding) && !self.meta.extra_bindings.contains(binding) {
            return Err(failed(format!("no network config found for binding \"{binding}\"")));
        }
        if args.get(&["-r", "--relation"]).is_some() {
            self.relation(&args)?;
        }
        let address = &self.tx.view.address;
        let subnets = json!([format!("{address}/32")]);
        if ["--ingress-address", "--bind-address", "--primary-address"].iter().any(|flag| args.has(flag)) {
            return args.form(&json!(address));
        }
        if args.has("--egress-subnets") {
            return args.form(&subnets);
        }
        let bound = json!({"hostname": "", "value": address, "cidr": ""});
        args.form(&json!({
            "bind-addresses": [{"mac-address": "", "interface-name": "", "addresses": [bound]}],
            "egress-subnets": subnets,
            "ingress-addresses": [address],
        }))
    }

    pub(super) fn unit_get(&mut self, argv: &[String]) -> Answer {
        Args::parse(argv, FORMATS)?.form(&json!(self.tx.view.address))
    }

    pub(super) fn goal_state(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, FORMATS)?;
        let status = |status: &str| json!({"status": status, "since": "2026-01-01 00:00:00Z"});
        let view = &self.tx.view;
        let units: serde_json::Map<String, Value> =
            (0..view.planned_units).map(|n| (format!("{}/{n}", view.unit.app()), status("active"))).collect();
        let mut relations = json!({});
        // Juju leaves peer relations out.
        for relation in view.relations.values().filter(|r| !self.meta.is_peer(&r.endpoint)) {
            let endpoint = &mut relations[&relation.endpoint];
            endpoint[&relation.remote_app] = status("joined");
            for unit in relation.remote_units.keys() {
                endpoint[unit.to_string()] = status("active");
            }
        }
        args.form(&json!({"units": units, "relations": relations}))
    }

    pub(super) fn credential_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, FORMATS)?;
        match &self.tx.view.credential {
            Some(credential) => args.form(credential),
            None => Err(failed("cannot access cloud credentials: getting model credentials: permission denied")),
        }
    }

    pub(super) fn resource_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        let [name] = args.rest.as_slice() else { return Err(usage("missing required resource name")) };
        let path = self.tx.view.resources.get(name).filter(|path| !path.is_empty()).cloned();
        path.ok_or_else(|| {
            let app = self.tx.view.unit.app();
            failed(format!("could not download resource: resource \"{app}/{name}\" not found"))
        })
    }

    pub(super) fn juju_reboot(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { plain: &["--now"], ..Flags::default() })?;
        if self.tx.params.is_some() {
            return Err(failed("juju-reboot is not supported when running an action."));
        }
        self.tx.reboot = Some(args.has("--now"));
        Ok(String::new())
    }

    pub(super) fn storage_add(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        if args.rest.is_empty() {
            return Err(usage("storage add requires a storage directive"));
        }
        for directive in &args.rest {
            let name = directive.split('=').next().unwrap_or_default();
            if !self.meta.storage.contains(name) {
                return Err(failed(format!("charm storage \"{name}\" not found")));
            }
        }
        self.tx.storage_added.extend(args.rest);
        Ok(String::new())
    }

    pub(super) fn storage_list(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, FORMATS)?;
        args.at_most(1)?;
        let wanted = args.rest.first();
        let ids: Vec<&String> = self
            .tx
            .view
            .storage
            .iter()
            .filter(|(id, storage)| storage.attached && wanted.is_none_or(|name| id.split('/').next() == Some(name)))
            .map(|(id, _)| id)
            .collect();
        args.form(&json!(ids))
    }

    pub(super) fn storage_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { valued: &["-s"], ..FORMATS })?;
        let Some(id) = args.get(&["-s"]) else { return Err(usage("no storage instance specified")) };
        let storage = self.tx.view.storage.get(id).filter(|storage| storage.attached);
        let storage =
            storage.ok_or_else(|| usage(format!("invalid value \"{id}\" for option -s: storage not found")))?;
        let body = json!({"kind": storage.kind, "location": storage.location});
        match args.rest.first() {
            Some(key) => args.form(&body[key]),
            None => args.form(&body),
        }
    }

    pub(super) fn state_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, FORMATS)?;
        match args.rest.first().filter(|key| *key != "-") {
            // a key that is not there prints nothing
            Some(key) => self.tx.view.stored.get(key).map_or(Ok(String::new()), |value| args.form(&json!(value))),
            None => args.form(&object(&self.tx.view.stored)),
        }
    }

    pub(super) fn state_set(&mut self, argv: &[String], stdin: Option<&str>) -> Answer {
        let args = Args::parse(argv, Flags { valued: &["--file"], ..Flags::default() })?;
        self.tx.view.stored.extend(key_values(&args.rest, args.get(&["--file"]), stdin)?);
        Ok(String::new())
    }

    pub(super) fn state_delete(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags::default())?;
        for key in &args.rest {
            self.tx.view.stored.remove(key);
        }
        Ok(String::new())
    }
}
