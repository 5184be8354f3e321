//! `tls_config` of a scrape job.

use super::super::bucket::Secret;
use super::super::tls::{ClientCertificate, Pem, TlsConfig, TlsVersion};
use super::reader::{Entry, Reader};
use crate::yaml::NodeIx;

const TLS_KEYS: [&str; 10] = [
    "ca",
    "ca_file",
    "cert",
    "cert_file",
    "key",
    "key_file",
    "server_name",
    "insecure_skip_verify",
    "min_version",
    "max_version",
];

/// One text in PEM, under the two keys that it may stand under.
#[derive(Default)]
struct Source {
    text: String,
    file: String,
}

impl Source {
    /// The error: both are there.
    fn pem(self) -> Result<Option<Pem>, ()> {
        match (self.text.is_empty(), self.file.is_empty()) {
            (true, true) => Ok(None),
            (false, true) => Ok(Some(Pem::Text(Secret(self.text)))),
            (true, false) => Ok(Some(Pem::File(self.file))),
            (false, false) => Err(()),
        }
    }
}

/// `None` if it is null, or if an issue was found.
pub(super) fn tls_config(reader: &mut Reader, node: NodeIx) -> Option<TlsConfig> {
    let issues_before = reader.issue_count();
    let mark = reader.mark(node);
    let mut tls = TlsConfig::default();
    let (mut ca, mut cert, mut key) = (Source::default(), Source::default(), Source::default());
    for entry in reader.mapping(node, "tls_config")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "ca" => reader.string_into(entry.value, &mut ca.text),
            "ca_file" => reader.string_into(entry.value, &mut ca.file),
            "cert" => reader.string_into(entry.value, &mut cert.text),
            "cert_file" => reader.string_into(entry.value, &mut cert.file),
            "key" => reader.string_into(entry.value, &mut key.text),
            "key_file" => reader.string_into(entry.value, &mut key.file),
            "server_name" => reader.string_into(entry.value, &mut tls.server_name),
            "insecure_skip_verify" => reader.bool_into(entry.value, &mut tls.insecure_skip_verify),
            "min_version" => tls.min_version = version(reader, &entry),
            "max_version" => tls.max_version = version(reader, &entry),
            // names of secrets that a program around Prometheus' library would know
            "ca_ref" | "cert_ref" | "key_ref" => reader.not_yet_supported(&entry),
            _ => reader.unknown_key(&entry, &TLS_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    let Ok(ca) = ca.pem() else {
        reader.invalid(mark, "", "at most one of ca, ca_file & ca_ref must be configured");
        return None;
    };
    let Ok(cert) = cert.pem() else {
        reader.invalid(mark, "", "at most one of cert, cert_file & cert_ref must be configured");
        return None;
    };
    let Ok(key) = key.pem() else {
        reader.invalid(mark, "", "at most one of key and key_file must be configured");
        return None;
    };
    tls.ca = ca;
    tls.client = match (cert, key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            let rule = "exactly one of key or key_file must be configured when a client certificate is configured";
            reader.invalid(mark, "", rule);
            return None;
        }
        (None, Some(_)) => {
            let rule = "exactly one of cert or cert_file must be configured when a client key is configured";
            reader.invalid(mark, "", rule);
            return None;
        }
    };
    Some(tls)
}

fn version(reader: &mut Reader, entry: &Entry) -> Option<TlsVersion> {
    let mut name = None;
    reader.optional_string_into(entry.value, &mut name);
    let name = name?;
    let version = TlsVersion::ALL.into_iter().find(|version| version.name() == name);
    if version.is_none() {
        reader.invalid(reader.mark(entry.value), "", format!("unknown TLS version: {name}: write TLS12 or TLS13"));
    }
    version
}
