//! Attributes to labels.

use std::borrow::Cow;
use std::collections::HashSet;

use super::dictionary::{Attribute, Dictionary, Scalar};
use super::malformed;
use super::wire::{Fields, varints};
use crate::error::IngestError;

/// What a profile and its owners say of all samples.
#[derive(Default)]
pub(super) struct Attributes {
    /// In ascending order of what wins.
    pub(super) texts: Vec<(String, String)>,
    /// Name, value, unit.
    pub(super) numbers: Vec<(String, i64, String)>,
}

impl Attributes {
    pub(super) fn of_profile<'s>(&mut self, dictionary: &Dictionary<'s>, profile: &'s [u8]) -> Result<(), IngestError> {
        let wanted = dictionary.layout.profile().attributes;
        let mut indices = Vec::new();
        let mut fields = Fields::of(profile);
        while let Some((field, value)) = fields.next()? {
            if field == wanted {
                varints(value, super::ATTRIBUTES_MAX, &mut indices)?;
            }
        }
        for ix in indices {
            if let Some(attribute) = dictionary.attribute(super::wire::Value::Varint(ix).index(), "attribute")? {
                self.push(attribute);
            }
        }
        Ok(())
    }

    /// Of a resource or scope; `owner` says which in errors.
    pub(super) fn of_owner<'s>(
        &mut self,
        dictionary: &Dictionary<'s>,
        owner: &str,
        messages: &[&'s [u8]],
    ) -> Result<(), IngestError> {
        let mut seen = HashSet::new();
        for (ix, message) in messages.iter().enumerate() {
            let attribute = dictionary.key_value(message)?;
            let key = String::from_utf8_lossy(attribute.key);
            let defect = if key.is_empty() {
                format!("attribute key at index {ix} in {owner} attributes is empty")
            } else if !seen.insert(attribute.key) {
                format!("duplicate attribute key {key:?} in {owner} attributes")
            } else if attribute.value == Scalar::Missing {
                format!("attribute value for key {key:?} is nil in {owner} attributes")
            } else {
                self.push(attribute);
                continue;
            };
            return Err(malformed(format!("invalid request: {defect}")));
        }
        Ok(())
    }

    fn push(&mut self, Attribute { key, value, unit }: Attribute<'_>) {
        let name = label_name(key);
        if !is_label(&name) {
            return;
        }
        match value {
            Scalar::Text(text) => {
                let text = String::from_utf8_lossy(trimmed(text)).into_owned();
                self.texts.push((name.into_owned(), text));
            }
            Scalar::Int(number) => {
                self.numbers.push((name.into_owned(), number, String::from_utf8_lossy(unit).into_owned()));
            }
            Scalar::Other | Scalar::Missing => {}
        }
    }
}

/// Every character that a label's name cannot have becomes `_`, as Prometheus' libraries do it.
pub(super) fn label_name(key: &[u8]) -> Cow<'_, str> {
    let key = String::from_utf8_lossy(key);
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.chars().all(sound) {
        return key;
    }
    Cow::Owned(key.chars().map(|c| if sound(c) { c } else { '_' }).collect())
}

/// Names with two underscores in front are reserved: see [`profile::Stream`].
pub(super) fn is_label(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("__")
}

pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    std::str::from_utf8(text).map_or_else(|_| text.trim_ascii(), |text| text.trim().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names_that_a_label_can_have() {
        for (key, name) in [("service.name", "service_name"), ("a", "a"), ("k8s/pod-größe", "k8s_pod_gr__e"), ("", "")]
        {
            assert_eq!(label_name(key.as_bytes()), name);
        }
        assert!(is_label("_a") && !is_label("__a") && !is_label(""));
        assert_eq!(trimmed(" \u{a0}x\t".as_bytes()), b"x");
    }
}
