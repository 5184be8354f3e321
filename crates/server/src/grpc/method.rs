//! Names of services and methods, from the descriptors.

use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::DescriptorPool;

/// What a metric says about a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodLabels {
    pub(crate) service: Arc<str>,
    pub(crate) method: Arc<str>,
    /// `unary`, `client_stream`, `server_stream` or `bidi_stream`.
    pub(crate) kind: &'static str,
}

/// Every method that the descriptors know, by path (`/package.Service/Method`).
pub(crate) struct Methods {
    known: HashMap<String, MethodLabels>,
    /// Whoever calls a method that does not exist shares one row, so that callers cannot add rows.
    unknown: MethodLabels,
}

impl Methods {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut known = HashMap::new();
        for service in pool.services() {
            let name: Arc<str> = service.full_name().into();
            for method in service.methods() {
                let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
                    (false, false) => "unary",
                    (true, false) => "client_stream",
                    (false, true) => "server_stream",
                    (true, true) => "bidi_stream",
                };
                let labels = MethodLabels { service: name.clone(), method: method.name().into(), kind };
                known.insert(format!("/{name}/{}", method.name()), labels);
            }
        }
        let unknown = MethodLabels { service: "unknown".into(), method: "unknown".into(), kind: "unary" };
        Self { known, unknown }
    }

    pub(crate) fn labels(&self, path: &str) -> &MethodLabels {
        self.known.get(path).unwrap_or(&self.unknown)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &MethodLabels> {
        self.known.values()
    }
}
