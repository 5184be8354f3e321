//! `s3`: a bucket to keep profiles in.

use juju::json::Json;
use juju::model::{Bag, Relation};

use super::bag;

/// Where Decima finds the authorities that signed the bucket's certificate.
pub const CA_FILE: &str = "/etc/parca/s3_ca.crt";

/// Our application's bag: the bucket that we would like.
pub fn app_bag() -> Bag {
    bag([("bucket", "parca".to_owned())])
}

/// A bucket, as the provider tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub bucket: String,
    /// Empty: none.
    pub region: String,
    /// Without scheme.
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: String,
    /// Speak plain HTTP.
    pub insecure: bool,
    /// Certificates in PEM, a blank line between them.
    pub ca_chain: Option<String>,
}

impl Bucket {
    /// `object_storage.bucket` of parca.yaml.
    pub fn to_config(&self) -> Json {
        let mut config = vec![
            ("bucket", Json::from(self.bucket.as_str())),
            ("region", Json::from(self.region.as_str())),
            ("endpoint", Json::from(self.endpoint.as_str())),
            ("secret_key", Json::from(self.secret_key.as_str())),
            ("access_key", Json::from(self.access_key.as_str())),
            ("insecure", Json::from(self.insecure)),
        ];
        if self.ca_chain.is_some() {
            let tls = [("ca_file", Json::from(CA_FILE)), ("insecure_skip_verify", Json::from(false))];
            config.push(("http_config", Json::object([("tls_config", Json::object(tls))])));
        }
        Json::object([("type", Json::from("S3")), ("config", Json::object(config))])
    }
}

/// The bucket of the first relation that tells all of it.
pub fn bucket<'a>(relations: impl IntoIterator<Item = &'a Relation>) -> Option<Bucket> {
    relations.into_iter().find_map(of_relation)
}

fn of_relation(relation: &Relation) -> Option<Bucket> {
    let told = |key: &str| relation.app_data.get(key).map(|text| plain(text)).filter(|text| !text.is_empty());
    let endpoint = told("endpoint")?;
    let ca_chain = relation.app_data.get("tls-ca-chain").and_then(|text| chain(text));
    let (scheme, host) = match endpoint.split_once("://") {
        Some((scheme, host)) => (Some(scheme.to_ascii_lowercase()), host),
        None => (None, endpoint.as_str()),
    };
    Some(Bucket {
        bucket: told("bucket")?,
        region: told("region").unwrap_or_default(),
        endpoint: host.trim_end_matches('/').to_owned(),
        access_key: told("access-key")?,
        secret_key: told("secret-key")?,
        insecure: match scheme.as_deref() {
            Some("https") => false,
            Some(_) => true,
            None => ca_chain.is_none(),
        },
        ca_chain,
    })
}

/// A value may be written as it is, or as a JSON string. What JSON would take for a number is text too: a key of digits.
fn plain(text: &str) -> String {
    match Json::parse(text) {
        Ok(Json::String(inner)) => inner,
        _ => text.to_owned(),
    }
}

/// A JSON list of certificates, or one text.
fn chain(text: &str) -> Option<String> {
    let certificates: Vec<String> = match Json::parse(text) {
        Ok(Json::Array(items)) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        Ok(Json::String(one)) => vec![one],
        // PEM is no JSON
        Err(_) => vec![text.to_owned()],
        Ok(_) => Vec::new(),
    };
    let chain = certificates.join("\n\n");
    (!chain.trim().is_empty()).then_some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(told: &[(&str, &str)]) -> Option<Bucket> {
        let mut relation = Relation::new(12, "s3", "s3-integrator");
        let usual = [("endpoint", "http://minio:9000"), ("bucket", "b"), ("access-key", "a"), ("secret-key", "s")];
        for (key, value) in usual.iter().chain(told) {
            relation.app_data.insert((*key).to_owned(), (*value).to_owned());
        }
        relation.app_data.retain(|_, value| !value.is_empty());
        bucket([&relation])
    }

    #[test]
    fn plain_http_follows_the_scheme_of_the_endpoint() {
        let insecure = |endpoint, chain| {
            let bucket = told(&[("endpoint", endpoint), ("tls-ca-chain", chain)]).unwrap();
            (bucket.endpoint, bucket.insecure)
        };
        assert_eq!(insecure("http://minio:9000", ""), ("minio:9000".to_owned(), true));
        assert_eq!(insecure("https://minio:9000/", ""), ("minio:9000".to_owned(), false));
        assert_eq!(insecure("HTTPS://minio:9000", "[\"x\"]"), ("minio:9000".to_owned(), false));
        assert_eq!(insecure("minio:9000", ""), ("minio:9000".to_owned(), true));
        assert_eq!(insecure("minio:9000", "[\"x\"]"), ("minio:9000".to_owned(), false));
    }

    #[test]
    fn keys_are_text_whatever_they_look_like() {
        for (value, text) in
            [("1234567890", "1234567890"), ("\"quoted\"", "quoted"), ("true", "true"), ("null", "null")]
        {
            assert_eq!(told(&[("access-key", value)]).unwrap().access_key, text);
        }
    }

    #[test]
    fn a_bucket_that_is_told_in_part_is_none_yet() {
        for key in ["endpoint", "bucket", "access-key", "secret-key"] {
            assert_eq!(told(&[(key, "")]), None, "{key}");
        }
        assert_eq!(told(&[]).unwrap().region, "");
        assert_eq!(bucket([&Relation::new(12, "s3", "x")]), None);
    }

    #[test]
    fn of_several_buckets_the_first_complete_one_counts() {
        let of = |id, name: &str| {
            let mut relation = Relation::new(id, "s3", "s3-integrator");
            for key in ["endpoint", "bucket", "access-key", "secret-key"] {
                relation.app_data.insert(key.to_owned(), name.to_owned());
            }
            relation
        };
        let (first, second, silent) = (of(12, "first"), of(13, "second"), Relation::new(11, "s3", "x"));
        assert_eq!(bucket([&first, &second]).map(|told| told.bucket).as_deref(), Some("first"));
        assert_eq!(bucket([&silent, &second]).map(|told| told.bucket).as_deref(), Some("second"));
    }

    #[test]
    fn a_chain_is_its_certificates_with_a_blank_line_between() {
        let chain = |text| told(&[("tls-ca-chain", text)]).unwrap().ca_chain;
        assert_eq!(chain(r#"["one", "two"]"#).as_deref(), Some("one\n\ntwo"));
        assert_eq!(chain("-----BEGIN").as_deref(), Some("-----BEGIN"));
        assert_eq!((chain("[]"), chain("5")), (None, None));
    }
}
