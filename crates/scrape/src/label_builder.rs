//! Labels while they are relabelled.

use profile::Labels;

/// Labels that change. Empty values are the same as no label.
///
/// The order matters where `labelmap` gives two labels the same name and the last wins: first the untouched labels of
/// the start, by name, then all others in the order in which they were first set.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelBuilder {
    /// Untouched since the start, sorted by name.
    base: Vec<(String, String)>,
    /// In the order of their first setting.
    set: Vec<(String, String)>,
}

impl LabelBuilder {
    pub(crate) fn new(labels: &Labels) -> Self {
        let base = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { base, set: Vec::new() }
    }

    /// The empty string if there is no such label.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.base.iter().chain(&self.set).find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// An empty value removes the label.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.remove(name);
        } else if let Some((_, known)) = self.set.iter_mut().find(|(known, _)| known == name) {
            value.clone_into(known);
        } else {
            self.base.retain(|(known, _)| known != name);
            self.set.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.base.retain(|(known, _)| known != name);
        self.set.retain(|(known, _)| known != name);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.base.retain(|(name, _)| keep(name));
        self.set.retain(|(name, _)| keep(name));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.base.iter().chain(&self.set).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sorted by name.
    pub(crate) fn labels(&self) -> Labels {
        Labels::from_pairs(self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())))
    }
}
