//! Types and labels of many blocks at once, without reading any: each block's [`Contents`] as rows of numbers, each name
//! and each run of numbers kept once, since blocks that follow each other hold mostly the same.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use profile::ProfileType;

use crate::block::Contents;
use crate::budget::{Account, Lease};
use crate::error::StoreError;
use crate::part::Part;

/// What one block holds: types, each with its labels as ascending rows of [`Names`].
pub(crate) type Known = Arc<[(u32, Arc<[u32]>)]>;

/// Bytes of one entry in a table of names or runs beside its content.
const ENTRY_BYTES: usize = 96;

/// The names of all blocks of a store. They stay for as long as it is open.
pub(crate) struct Names {
    tables: RwLock<Tables>,
}

struct Tables {
    types: HashMap<ProfileType, u32>,
    type_rows: Vec<ProfileType>,
    /// Label name, then value.
    labels: HashMap<Arc<str>, HashMap<Arc<str>, u32>>,
    label_rows: Vec<(Arc<str>, Arc<str>)>,
    runs: HashSet<Arc<[u32]>>,
    known: HashSet<Known>,
    lease: Lease,
}

impl Names {
    pub(crate) fn new(account: &Account) -> Arc<Self> {
        let tables = Tables {
            types: HashMap::new(),
            type_rows: Vec::new(),
            labels: HashMap::new(),
            label_rows: Vec::new(),
            runs: HashSet::new(),
            known: HashSet::new(),
            lease: account.empty_lease(),
        };
        Arc::new(Self { tables: RwLock::new(tables) })
    }

    /// `None` if the block does not tell all that it holds, or there is no more memory for names: then its
    /// profiles have to be asked.
    pub(crate) fn add(&self, contents: &Contents) -> Option<Known> {
        if contents.labels.iter().any(|labels| labels.values().any(|listed| listed.more)) {
            return None;
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        match tables.add(contents) {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%error, "a block's types and labels are read from its profiles each time");
                None
            }
        }
    }
}

impl Tables {
    fn add(&mut self, contents: &Contents) -> Result<Option<Known>, StoreError> {
        let mut runs = Vec::with_capacity(contents.labels.len());
        for labels in &contents.labels {
            let mut run = Vec::new();
            for (name, listed) in labels {
                for value in &listed.values {
                    run.push(self.label(name, value)?);
                }
            }
            run.sort_unstable();
            runs.push(self.run(run)?);
        }
        let mut known = Vec::with_capacity(contents.types.len());
        for of in &contents.types {
            let Some(run) = runs.get(of.labels as usize) else { return Ok(None) };
            known.push((self.profile_type(of.profile_type())?, run.clone()));
        }
        let known = Known::from(known);
        if let Some(held) = self.known.get(&known) {
            return Ok(Some(held.clone()));
        }
        self.lease.grow((known.len() * size_of::<(u32, Arc<[u32]>)>() + ENTRY_BYTES) as u64)?;
        self.known.insert(known.clone());
        Ok(Some(known))
    }

    fn label(&mut self, name: &str, value: &str) -> Result<u32, StoreError> {
        if let Some(&row) = self.labels.get(name).and_then(|values| values.get(value)) {
            return Ok(row);
        }
        self.lease.grow((value.len() + ENTRY_BYTES) as u64)?;
        let name = match self.labels.get_key_value(name) {
            Some((held, _)) => held.clone(),
            None => Arc::from(name),
        };
        let (row, value) = (self.label_rows.len() as u32, Arc::<str>::from(value));
        self.labels.entry(name.clone()).or_default().insert(value.clone(), row);
        self.label_rows.push((name, value));
        Ok(row)
    }

    fn run(&mut self, run: Vec<u32>) -> Result<Arc<[u32]>, StoreError> {
        if let Some(held) = self.runs.get(&*run) {
            return Ok(held.clone());
        }
        self.lease.grow((run.len() * 4 + ENTRY_BYTES) as u64)?;
        let run = Arc::<[u32]>::from(run);
        self.runs.insert(run.clone());
        Ok(run)
    }

    fn profile_type(&mut self, of: ProfileType) -> Result<u32, StoreError> {
        if let Some(&row) = self.types.get(&of) {
            return Ok(row);
        }
        self.lease.grow(4 * ENTRY_BYTES as u64)?;
        let row = self.type_rows.len() as u32;
        self.types.insert(of.clone(), row);
        self.type_rows.push(of);
        Ok(row)
    }
}

/// Types and labels of a time range: those that blocks tell of themselves, and parts for the rest.
pub struct Listing {
    known: Option<(Arc<Names>, Vec<Known>)>,
    /// The head, blocks that the range cuts, and blocks that do not tell: to be asked one by one.
    pub parts: Vec<Arc<dyn Part>>,
}

impl Listing {
    /// Nothing is known: all parts are to be asked.
    pub fn of_parts(parts: Vec<Arc<dyn Part>>) -> Self {
        Self { known: None, parts }
    }

    /// `known` is of blocks, in any order, one entry each.
    pub(crate) fn new(names: Arc<Names>, known: Vec<Known>, parts: Vec<Arc<dyn Part>>) -> Self {
        let mut seen = HashSet::new();
        let distinct = known.into_iter().filter(|known| seen.insert(Arc::as_ptr(known).cast::<()>()));
        Self { known: Some((names, distinct.collect())), parts }
    }

    /// Types that some sample in a block that tells has a value for; each once, in no order.
    pub fn types(&self) -> Vec<ProfileType> {
        let Some((names, known)) = &self.known else { return Vec::new() };
        let tables = names.tables.read().unwrap_or_else(PoisonError::into_inner);
        let rows: BTreeSet<u32> = known.iter().flat_map(|known| known.iter().map(|(row, _)| *row)).collect();
        rows.into_iter().map(|row| tables.type_rows[row as usize].clone()).collect()
    }

    /// Visits the labels that occur with `of`, or with any type, in blocks that tell; each once, in no order.
    pub fn each_label(&self, of: Option<&ProfileType>, visit: &mut dyn FnMut(&str, &str)) {
        let Some((names, known)) = &self.known else { return };
        let tables = names.tables.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = of.map(|of| tables.types.get(of).copied());
        let mut seen_runs = HashSet::new();
        let mut seen = vec![false; tables.label_rows.len()];
        for (row, run) in known.iter().flat_map(|known| known.iter()) {
            if wanted.is_some_and(|wanted| wanted != Some(*row)) || !seen_runs.insert(Arc::as_ptr(run).cast::<()>()) {
                continue;
            }
            for &label in &**run {
                if !std::mem::replace(&mut seen[label as usize], true) {
                    let (name, value) = &tables.label_rows[label as usize];
                    visit(name, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{LabelValues, TypeContents};
    use crate::budget::Budget;

    fn contents(types: &[&str], labels: &[(&str, &[&str])], more: bool) -> Contents {
        let listed = |values: &[&str]| LabelValues { values: values.iter().map(|&value| value.into()).collect(), more };
        let type_contents = |name: &&str| TypeContents {
            name: (*name).to_owned(),
            sample: ["cpu".into(), "nanoseconds".into()],
            period: ["cpu".into(), "nanoseconds".into()],
            delta: true,
            labels: 0,
        };
        Contents {
            types: types.iter().map(type_contents).collect(),
            labels: vec![labels.iter().map(|(name, values)| ((*name).to_owned(), listed(values))).collect()],
        }
    }

    fn labels(listing: &Listing, of: Option<&ProfileType>) -> Vec<String> {
        let mut out = Vec::new();
        listing.each_label(of, &mut |name, value| out.push(format!("{name}={value}")));
        out.sort();
        out
    }

    #[test]
    fn what_blocks_share_is_kept_and_told_once() {
        let names = Names::new(&Budget::new(1 << 20).account("names", 1 << 20));
        let (a, b) = (
            contents(&["a"], &[("job", &["x", "y"])], false),
            contents(&["a", "b"], &[("job", &["y", "z"]), ("pod", &["1"])], false),
        );
        let first = names.add(&a).expect("known");
        let again = names.add(&a).expect("known");
        assert!(Arc::ptr_eq(&first, &again), "the same content is the same allocation");
        let second = names.add(&b).expect("known");
        let listing = Listing::new(names, vec![first, again, second], Vec::new());
        let types = listing.types();
        assert_eq!(types.iter().map(|of| &*of.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(labels(&listing, None), ["job=x", "job=y", "job=z", "pod=1"]);
        assert_eq!(labels(&listing, Some(&types[1])), ["job=y", "job=z", "pod=1"]);
        let other = ProfileType { name: "c".into(), ..types[0].clone() };
        assert!(labels(&listing, Some(&other)).is_empty());
    }

    #[test]
    fn a_block_that_does_not_tell_all_and_one_without_room_are_not_known() {
        let names = Names::new(&Budget::new(1 << 20).account("names", 1 << 20));
        assert!(names.add(&contents(&["a"], &[("job", &["x"])], true)).is_none());
        let small = Names::new(&Budget::new(1 << 20).account("names", 8 * ENTRY_BYTES as u64));
        assert!(small.add(&contents(&["a"], &[("job", &["x"])], false)).is_some());
        assert!(small.add(&contents(&["b"], &[("job", &["y", "z"])], false)).is_none());
        let dangling = Contents { labels: Vec::new(), ..contents(&["a"], &[], false) };
        assert!(names.add(&dangling).is_none(), "a row that is not there is no reason to panic");
    }
}
