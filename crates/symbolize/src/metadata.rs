//! What is known of a build ID's file, as Parca keeps it: protobuf's JSON of `parca.debuginfo.v1alpha1.Debuginfo`, at
//!
//! ```text
//! debuginfo/<build ID>/metadata             of debuginfo           debuginfo/<build ID>/debuginfo
//! debuginfo/<build ID>/executable.metadata  of an executable       debuginfo/<build ID>/executable
//! debuginfo/<build ID>/sources.metadata     of an archive          debuginfo/<build ID>/sources
//! debuginfo/<build ID>/sourcemap.metadata   of a source map        debuginfo/<build ID>/sourcemap
//! ```
//!
//! Parca puts a source map's metadata in the place of the debuginfo's. There it is found by its `type`.

use std::fmt;

use prost_types::Timestamp;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::BuildId;

/// Names of objects below a build ID.
pub(crate) const OBJECTS: [&str; 8] = [
    "debuginfo",
    "executable",
    "sources",
    "sourcemap",
    "metadata",
    "executable.metadata",
    "sources.metadata",
    "sourcemap.metadata",
];

/// An enumeration of the contract: by name in JSON, by number too when it is read.
macro_rules! contract_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $number:literal $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match self { $(Self::$variant => $text),+ })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match NameOrNumber::deserialize(deserializer)? {
                    $(NameOrNumber::Name(name) if name == $text => Ok(Self::$variant),)+
                    $(NameOrNumber::Number($number) => Ok(Self::$variant),)+
                    other => Err(D::Error::custom(format!("unknown {}: {other:?}", stringify!($name)))),
                }
            }
        }
    };
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NameOrNumber {
    Name(String),
    Number(i64),
}

contract_enum! {
    /// What was uploaded.
    DebuginfoType {
        #[default]
        Debuginfo = 0 "DEBUGINFO_TYPE_DEBUGINFO_UNSPECIFIED",
        Executable = 1 "DEBUGINFO_TYPE_EXECUTABLE",
        Sources = 2 "DEBUGINFO_TYPE_SOURCES",
        SourceMap = 3 "DEBUGINFO_TYPE_SOURCE_MAP",
    }
}

contract_enum! {
    /// Where the file is to be had.
    Source {
        #[default]
        Unknown = 0 "SOURCE_UNKNOWN_UNSPECIFIED",
        Upload = 1 "SOURCE_UPLOAD",
        Debuginfod = 2 "SOURCE_DEBUGINFOD",
    }
}

contract_enum! {
    State {
        #[default]
        Unknown = 0 "STATE_UNKNOWN_UNSPECIFIED",
        Uploading = 1 "STATE_UPLOADING",
        Uploaded = 2 "STATE_UPLOADED",
        Purged = 3 "STATE_PURGED",
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Debuginfo {
    #[serde(alias = "build_id")]
    pub build_id: String,
    #[serde(skip_serializing_if = "is_default")]
    pub source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    #[serde(alias = "debuginfod_servers", skip_serializing_if = "Vec::is_empty")]
    pub debuginfod_servers: Vec<String>,
    #[serde(rename = "type", skip_serializing_if = "is_default")]
    pub kind: DebuginfoType,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Upload {
    #[serde(skip_serializing_if = "is_default")]
    pub id: String,
    #[serde(skip_serializing_if = "is_default")]
    pub hash: String,
    #[serde(skip_serializing_if = "is_default")]
    pub state: State,
    #[serde(alias = "started_at", with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(alias = "finished_at", with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// What was found in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Quality {
    #[serde(alias = "not_valid_elf", skip_serializing_if = "is_default")]
    pub not_valid_elf: bool,
    #[serde(alias = "has_dwarf", skip_serializing_if = "is_default")]
    pub has_dwarf: bool,
    #[serde(alias = "has_go_pclntab", skip_serializing_if = "is_default")]
    pub has_go_pclntab: bool,
    #[serde(alias = "has_symtab", skip_serializing_if = "is_default")]
    pub has_symtab: bool,
    #[serde(alias = "has_dynsym", skip_serializing_if = "is_default")]
    pub has_dynsym: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Times as protobuf's JSON writes them.
mod rfc3339 {
    use super::*;

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(|error| D::Error::custom(format!("{text:?} is no time: {error}"))))
            .transpose()
    }
}

/// Why an object is no metadata.
#[derive(Debug)]
pub struct MetadataError(serde_json::Error);

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unmarshal debuginfo metadata: {}", self.0)
    }
}

impl std::error::Error for MetadataError {}

impl Debuginfo {
    /// Keys that this version does not know are passed over.
    pub fn from_json(json: &[u8]) -> Result<Self, MetadataError> {
        // serde would read a list as the fields in order
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).map_err(MetadataError)?;
        serde_json::from_value(object.into()).map_err(MetadataError)
    }

    pub fn to_json(&self) -> Result<Vec<u8>, MetadataError> {
        serde_json::to_vec_pretty(self).map_err(MetadataError)
    }
}

/// The file itself.
pub fn object_name(id: &BuildId, kind: DebuginfoType) -> String {
    let file = match kind {
        DebuginfoType::Debuginfo => "debuginfo",
        DebuginfoType::Executable => "executable",
        DebuginfoType::Sources => "sources",
        DebuginfoType::SourceMap => "sourcemap",
    };
    format!("debuginfo/{}/{file}", id.as_str())
}

pub fn metadata_name(id: &BuildId, kind: DebuginfoType) -> String {
    let file = match kind {
        DebuginfoType::Debuginfo => "metadata",
        DebuginfoType::Executable => "executable.metadata",
        DebuginfoType::Sources => "sources.metadata",
        DebuginfoType::SourceMap => "sourcemap.metadata",
    };
    format!("debuginfo/{}/{file}", id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Go's protojson writes it, which puts a second space after some colons.
    const PARCAS: &str = r#"{
  "buildId":  "feed0001",
  "source":  "SOURCE_UPLOAD",
  "upload":  {
    "id":  "85616e30-2b0f-4edc-b0e4-de03b5718926",
    "hash":  "h1",
    "state":  "STATE_UPLOADED",
    "startedAt":  "2026-01-15T12:00:00.123456789Z",
    "finishedAt":  "2026-01-15T12:00:01Z"
  },
  "quality":  {
    "notValidElf":  true
  },
  "type":  "DEBUGINFO_TYPE_EXECUTABLE"
}"#;

    #[test]
    fn metadata_of_parca_is_read_and_written_with_the_same_meaning() {
        let read = Debuginfo::from_json(PARCAS.as_bytes()).expect("metadata");
        assert_eq!(read.source, Source::Upload);
        assert_eq!(read.kind, DebuginfoType::Executable);
        assert!(read.quality.as_ref().is_some_and(|quality| quality.not_valid_elf));
        let upload = read.upload.as_ref().expect("an upload");
        assert_eq!(
            (upload.state, upload.started_at),
            (State::Uploaded, Some(Timestamp { seconds: 1_768_478_400, nanos: 123_456_789 }))
        );
        let ours: serde_json::Value = serde_json::from_slice(&read.to_json().expect("JSON")).expect("JSON");
        let theirs: serde_json::Value = serde_json::from_str(PARCAS).expect("JSON");
        assert_eq!(ours, theirs);
    }

    #[test]
    fn numbers_old_names_and_unknown_keys_are_read_too() {
        let json = br#"{"build_id":"abc","source":2,"debuginfod_servers":["https://a"],"later":{"x":1},"type":2}"#;
        let read = Debuginfo::from_json(json).expect("metadata");
        assert_eq!((read.source, read.kind), (Source::Debuginfod, DebuginfoType::Sources));
        assert_eq!(read.debuginfod_servers, ["https://a"]);
        for wrong in ["", "{", "[]", r#"{"source":"NOPE"}"#, r#"{"source":77}"#, r#"{"upload":{"startedAt":"noon"}}"#] {
            assert!(Debuginfo::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
