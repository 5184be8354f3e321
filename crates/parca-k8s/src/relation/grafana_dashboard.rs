//! `grafana-dashboard` (`grafana_dashboard`): the dashboard, compressed into a data bag.
//!
//! The bag holds something random and compressed bytes that differ between encoders: it is compared by what it holds, and
//! rewritten only where that differs.

use base64::prelude::{BASE64_STANDARD, Engine};
use juju::json::{Json, Object};
use juju::model::{Bag, Relation};

use super::{bag, current};
use crate::identity::{CHARM, Identity};
use crate::xz;

/// Our dashboard, as Grafana reads it.
pub const DASHBOARD: &str = include_str!("../../data/dashboard.json");

/// The name of the template: the Python charm read it from a file of this name.
const TEMPLATE: &str = "file:parca";

/// `shake_256("parca-k8s-file:parca")`, eight bytes of it: under which Grafana's charm knows the dashboard if its own
/// uid is taken.
const ALT_UID: &str = "7cbf93da1f411cbb";

/// A dashboard of someone else, decompressed, has some hundred kilobytes.
const DASHBOARD_BYTES_MAX: usize = 16 << 20;

/// Our application's bag. `new_uuid` is asked for only if the bag is rewritten.
pub fn app_bag(relation: &Relation, identity: &Identity, new_uuid: impl FnOnce() -> String) -> Bag {
    let text = current(relation.local_app.as_ref(), "dashboards");
    if let Some(text) = text.filter(|text| is_ours(text, identity)) {
        return bag([("dashboards", text.to_owned())]);
    }
    let Some(content) = encode(DASHBOARD) else { return Bag::new() };
    let Json::Object(mut template) = fields(identity) else { return Bag::new() };
    template.insert("content".to_owned(), Json::from(content));
    // where Python has it
    template.move_index(template.len() - 1, 1);
    let dashboards = Json::object([
        ("templates", Json::object([(TEMPLATE, Json::Object(template))])),
        ("uuid", Json::from(new_uuid())),
    ]);
    bag([("dashboards", dashboards.dumps())])
}

/// A template but for its content.
fn fields(identity: &Identity) -> Json {
    Json::object([
        ("charm", Json::from(CHARM)),
        ("juju_topology", Json::Object(identity.topology())),
        ("inject_dropdowns", Json::from(true)),
        ("dashboard_alt_uid", Json::from(ALT_UID)),
    ])
}

/// Whether the bag has our template, by meaning, and no other.
fn is_ours(text: &str, identity: &Identity) -> bool {
    let Ok(dashboards) = Json::parse(text) else { return false };
    let templates = dashboards.get("templates").and_then(Json::as_object).filter(|templates| templates.len() == 1);
    let Some(Json::Object(template)) = templates.and_then(|templates| templates.get(TEMPLATE)) else { return false };
    let mut rest: Object = template.clone();
    let Some(Json::String(content)) = rest.shift_remove("content") else { return false };
    Json::Object(rest) == fields(identity)
        && decode(&content).is_some_and(|dashboard| Ok(dashboard) == Json::parse(DASHBOARD))
}

fn encode(dashboard: &str) -> Option<String> {
    // spaces are for people
    let compact = Json::parse(dashboard).ok()?.dumps();
    let compressed = xz::compress(compact.as_bytes())
        .inspect_err(|error| tracing::error!(%error, "cannot compress the dashboard"))
        .ok()?;
    Some(BASE64_STANDARD.encode(compressed))
}

fn decode(content: &str) -> Option<Json> {
    let compressed = BASE64_STANDARD.decode(content).ok()?;
    let dashboard = xz::decompress(&compressed, DASHBOARD_BYTES_MAX).ok()?;
    Json::parse(std::str::from_utf8(&dashboard).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn relation(dashboards: Option<String>) -> Relation {
        let mut relation = Relation::new(6, "grafana-dashboard", "grafana");
        relation.local_app = dashboards.map(|text| bag([("dashboards", text)]));
        relation
    }

    fn fresh() -> String {
        app_bag(&relation(None), &recorded(), || "u".to_owned())["dashboards"].clone()
    }

    #[test]
    fn vectors_of_the_dashboards_bag_have_its_keys_in_their_order() {
        let recording = Recording::open("grafana-dashboard");
        let path = ["relations", "6", "app", "dashboards", "json", "templates"];
        let theirs = recording.at(0, &path).unwrap().get(TEMPLATE).unwrap().as_object().unwrap().clone();
        let ours = Json::parse(&fresh()).unwrap();
        let ours = ours.get("templates").unwrap().get(TEMPLATE).unwrap().as_object().unwrap();
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for key in ["charm", "juju_topology", "inject_dropdowns", "dashboard_alt_uid"] {
            assert_eq!(ours[key].dumps(), theirs[key].dumps());
        }
        let (dashboard, described) = (decode(ours["content"].as_str().unwrap()).unwrap(), &theirs["content"]);
        for key in ["title", "uid", "tags"] {
            assert_eq!(dashboard.get(key), described.get(key), "{key}");
        }
    }

    #[test]
    fn the_dashboard_is_written_once_per_content() {
        let unasked = || -> String { panic!("nothing is rewritten") };
        let first = fresh();
        assert_eq!(app_bag(&relation(Some(first.clone())), &recorded(), unasked)["dashboards"], first);

        // the same content from another encoder, in another order, with another random text
        let mut other = Json::parse(&first).unwrap();
        let Json::Object(members) = &mut other else { panic!("an object") };
        members.reverse();
        members["uuid"] = Json::from("v");
        let stored = xz::compress(DASHBOARD.as_bytes()).unwrap();
        let Json::Object(templates) = &mut members["templates"] else { panic!("an object") };
        let Json::Object(template) = &mut templates[TEMPLATE] else { panic!("an object") };
        template["content"] = Json::from(BASE64_STANDARD.encode(stored));
        let other = other.dumps();
        assert_ne!(other, first);
        assert_eq!(app_bag(&relation(Some(other.clone())), &recorded(), unasked)["dashboards"], other);
    }

    #[test]
    fn what_differs_or_makes_no_sense_is_rewritten() {
        let first = fresh();
        let broken = [
            "{".to_owned(),
            "{}".to_owned(),
            first.replace("\"charm\": \"parca-k8s\"", "\"charm\": \"parca\""),
            first.replace("parca-k8s/0", "parca-k8s/1"),
            first.replace("\"content\": \"/Td6", "\"content\": \"Td6/"),
            first.replace("\"templates\": {", "\"templates\": {\"file:other\": {}, "),
        ];
        for text in broken {
            assert_ne!(text, first);
            assert_eq!(app_bag(&relation(Some(text)), &recorded(), || "u".to_owned())["dashboards"], first);
        }
    }

    #[test]
    fn the_alternative_uid_is_the_hash_that_python_makes() {
        assert_eq!(shake_256(b"parca-k8s-file:parca"), ALT_UID);
    }

    /// SHAKE256 (FIPS 202) of a text shorter than one block, eight bytes of it as hex.
    fn shake_256(text: &[u8]) -> String {
        const RATE: usize = 136;
        let mut block = [0u8; 200];
        block[..text.len()].copy_from_slice(text);
        block[text.len()] = 0x1f;
        block[RATE - 1] |= 0x80;
        let mut state = [0u64; 25];
        for (lane, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
            *lane = u64::from_le_bytes(bytes.try_into().unwrap());
        }
        keccak_f(&mut state);
        state[0].to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn keccak_f(a: &mut [u64; 25]) {
        let mut constant = 1u8;
        for _ in 0..24 {
            let c: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ a[x + 5 * y]));
            for at in 0..25 {
                a[at] ^= c[(at % 5 + 4) % 5] ^ c[(at % 5 + 1) % 5].rotate_left(1);
            }
            let (mut x, mut y, mut lane) = (1, 0, a[1]);
            for step in 0..24 {
                (x, y) = (y, (2 * x + 3 * y) % 5);
                lane = std::mem::replace(&mut a[x + 5 * y], lane.rotate_left((step + 1) * (step + 2) / 2 % 64));
            }
            for row in a.chunks_exact_mut(5) {
                let old: [u64; 5] = row.try_into().unwrap();
                for (at, lane) in row.iter_mut().enumerate() {
                    *lane = old[at] ^ (!old[(at + 1) % 5] & old[(at + 2) % 5]);
                }
            }
            for power in 0..7 {
                if constant & 1 == 1 {
                    a[0] ^= 1 << ((1 << power) - 1);
                }
                constant = if constant & 0x80 == 0 { constant << 1 } else { (constant << 1) ^ 0x71 };
            }
        }
    }
}
