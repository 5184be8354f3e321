//! The users and groups of the container.

use super::go::quote;
use super::schema::Fields;
use crate::pebble::types::Owner;

#[derive(Clone, Debug)]
pub(super) struct Accounts {
    /// Name, ID and the ID of the primary group.
    pub(super) users: Vec<(String, u32, u32)>,
    pub(super) groups: Vec<(String, u32)>,
    /// Whom Pebble runs as.
    pub(super) user_id: u32,
    pub(super) group_id: u32,
}

impl Default for Accounts {
    fn default() -> Accounts {
        let root = || "root".to_owned();
        Accounts { users: vec![(root(), 0, 0)], groups: vec![(root(), 0)], user_id: 0, group_id: 0 }
    }
}

impl Accounts {
    pub(super) fn user_name(&self, id: u32) -> &str {
        self.users.iter().find(|user| user.1 == id).map_or("", |user| &user.0)
    }

    pub(super) fn group_name(&self, id: u32) -> &str {
        self.groups.iter().find(|group| group.1 == id).map_or("", |group| &group.0)
    }

    pub(super) fn of_fields(&self, fields: &Fields) -> Result<Option<(u32, u32)>, String> {
        let named = |name: &str| Some(fields.text(name)).filter(|text| !text.is_empty()).map(str::to_owned);
        self.of_owner(&Owner {
            user_id: fields.id("user-id"),
            user: named("user"),
            group_id: fields.id("group-id"),
            group: named("group"),
        })
    }

    /// IDs of user and group. `None`: nobody is named.
    pub(super) fn of_owner(&self, owner: &Owner) -> Result<Option<(u32, u32)>, String> {
        let Owner { mut user_id, mut group_id, .. } = *owner;
        let (user, group) = (owner.user.as_deref().unwrap_or_default(), owner.group.as_deref().unwrap_or_default());
        if !user.is_empty() {
            let known = self.users.iter().find(|known| known.0 == user);
            let id = known.ok_or_else(|| format!("user: unknown user {user}"))?.1;
            if let Some(told) = user_id.filter(|told| *told != id) {
                return Err(format!("user {} UID ({id}) does not match user-id ({told})", quote(user)));
            }
            user_id = Some(id);
        }
        if !group.is_empty() {
            let known = self.groups.iter().find(|known| known.0 == group);
            let id = known.ok_or_else(|| format!("group: unknown group {group}"))?.1;
            if let Some(told) = group_id.filter(|told| *told != id) {
                return Err(format!("group {} GID ({id}) does not match group-id ({told})", quote(group)));
            }
            group_id = Some(id);
        }
        match (user_id, group_id) {
            (None, None) => Ok(None),
            (Some(user), Some(group)) => Ok(Some((user, group))),
            (Some(user), None) => {
                let known = self.users.iter().find(|known| known.1 == user);
                Ok(Some((user, known.ok_or_else(|| format!("user: unknown userid {user}"))?.2)))
            }
            (None, Some(_)) => Err("must specify user, not just group".to_owned()),
        }
    }
}
