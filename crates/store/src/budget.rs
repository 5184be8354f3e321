//! One memory budget. Whoever is about to hold many bytes takes a lease first and gives it back by
//! dropping it; accounts name who holds how much.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Kind, StoreError};

/// Cheap to clone; clones share the bytes.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    total: u64,
    used: AtomicU64,
    accounts: Mutex<Vec<Arc<AccountState>>>,
}

struct AccountState {
    name: &'static str,
    max: u64,
    used: AtomicU64,
    refused: AtomicU64,
}

/// What one account holds, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    pub name: &'static str,
    /// bytes
    pub used: u64,
    /// bytes
    pub max: u64,
    /// Leases refused since the start.
    pub refused: u64,
}

impl Budget {
    /// `total` in bytes.
    pub fn new(total: u64) -> Self {
        Self { shared: Arc::new(Shared { total, used: AtomicU64::new(0), accounts: Mutex::new(Vec::new()) }) }
    }

    /// The account of that name; `max` bytes (at most the whole budget) hold when it is opened first.
    pub fn account(&self, name: &'static str, max: u64) -> Account {
        let mut accounts = self.shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match accounts.iter().find(|state| state.name == name) {
            Some(state) => state.clone(),
            None => {
                let max = max.min(self.shared.total);
                let state = Arc::new(AccountState { name, max, used: AtomicU64::new(0), refused: AtomicU64::new(0) });
                accounts.push(state.clone());
                state
            }
        };
        Account { shared: self.shared.clone(), state }
    }

    /// bytes
    pub fn total(&self) -> u64 {
        self.shared.total
    }

    /// bytes
    pub fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    pub fn accounts(&self) -> Vec<AccountStatus> {
        let accounts = self.shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts
            .iter()
            .map(|state| AccountStatus {
                name: state.name,
                used: state.used.load(Ordering::Relaxed),
                max: state.max,
                refused: state.refused.load(Ordering::Relaxed),
            })
            .collect()
    }
}

/// A named part of the budget. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    shared: Arc<Shared>,
    state: Arc<AccountState>,
}

impl Account {
    /// [`Kind::Overloaded`] when the account or the whole budget has no room; [`Kind::Invalid`] when the
    /// account could never hold so much, so that nobody tries again in vain.
    pub fn lease(&self, bytes: u64) -> Result<Lease, StoreError> {
        let mut lease = Lease { account: self.clone(), bytes: 0 };
        lease.grow(bytes)?;
        Ok(lease)
    }

    /// A lease of 0 bytes, to be resized.
    pub fn empty_lease(&self) -> Lease {
        Lease { account: self.clone(), bytes: 0 }
    }

    /// bytes
    pub fn used(&self) -> u64 {
        self.state.used.load(Ordering::Relaxed)
    }

    fn refusal(&self, bytes: u64) -> StoreError {
        self.state.refused.fetch_add(1, Ordering::Relaxed);
        let name = self.state.name;
        if bytes > self.state.max {
            let what = format!("{bytes} bytes can never fit: the limit is {}", self.state.max);
            return StoreError::new(Kind::Invalid, format!("memory account {name}"), what);
        }
        let what = format!(
            "no room for {bytes} bytes: {} of {} in use here, {} of {} in all",
            self.used(),
            self.state.max,
            self.shared.used.load(Ordering::Relaxed),
            self.shared.total
        );
        StoreError::new(Kind::Overloaded, format!("memory account {name}"), what).retry_after(Duration::from_secs(1))
    }
}

/// Bytes that are held; given back on drop.
pub struct Lease {
    account: Account,
    bytes: u64,
}

impl Lease {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `more` bytes or, with an error, none.
    pub fn grow(&mut self, more: u64) -> Result<(), StoreError> {
        let Account { shared, state } = &self.account;
        if !take(&state.used, more, state.max) {
            return Err(self.account.refusal(more));
        }
        if !take(&shared.used, more, shared.total) {
            state.used.fetch_sub(more, Ordering::Relaxed);
            return Err(self.account.refusal(more));
        }
        self.bytes += more;
        Ok(())
    }

    /// Holds `bytes` from now on, even over the limits: for what is in memory already, so that others are
    /// refused rather than the truth bent.
    pub fn set(&mut self, bytes: u64) {
        let Account { shared, state } = &self.account;
        if bytes >= self.bytes {
            state.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
            shared.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            state.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            shared.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Adds `more` to `used` unless that would exceed `max`.
fn take(used: &AtomicU64, more: u64, max: u64) -> bool {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(more).filter(|sum| *sum <= max))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_gives_its_bytes_back() {
        let budget = Budget::new(100);
        let head = budget.account("head", 80);
        let lease = head.lease(60).expect("fits");
        assert_eq!((budget.used(), head.used()), (60, 60));
        drop(lease);
        assert_eq!((budget.used(), head.used()), (0, 0));
    }

    #[test]
    fn an_account_is_refused_over_its_own_limit_and_over_the_whole() {
        let budget = Budget::new(100);
        let (head, query) = (budget.account("head", 80), budget.account("query", 80));
        let _held = head.lease(70).expect("fits");
        let own = head.lease(20).map(|_| ()).expect_err("over the account");
        assert_eq!(own.kind, Kind::Overloaded);
        assert!(own.retry_after.is_some());
        let whole = query.lease(40).map(|_| ()).expect_err("over the whole");
        assert_eq!(whole.kind, Kind::Overloaded);
        let never = query.lease(90).map(|_| ()).expect_err("over what there can be");
        assert_eq!((never.kind, never.retry_after), (Kind::Invalid, None));
        assert_eq!((budget.used(), query.used()), (70, 0), "a refused lease holds nothing");
        assert_eq!(budget.accounts()[1].refused, 2);
    }

    #[test]
    fn a_lease_set_over_the_limit_tells_the_truth_and_refuses_others() {
        let budget = Budget::new(100);
        let head = budget.account("head", 80);
        let mut lease = head.empty_lease();
        lease.set(150);
        assert_eq!(budget.used(), 150);
        assert!(head.lease(1).is_err());
        lease.set(10);
        assert!(head.lease(70).is_ok());
    }
}
