//! In what order services start and stop, and which of them wait for one another.

use std::collections::{BTreeMap, HashMap};

use super::go::quote;
use super::schema::Fields;

type Services = BTreeMap<String, Fields>;

/// Services that wait for one another, in order; lanes run side by side.
pub(super) type Lanes = Vec<Vec<String>>;

/// These services and what they require.
pub(super) fn to_start(services: &Services, names: &[String]) -> Result<Lanes, String> {
    lanes(ordered(services, names, false)?, services)
}

/// These services and what requires them.
pub(super) fn to_stop(services: &Services, names: &[String]) -> Result<Lanes, String> {
    lanes(ordered(services, names, true)?, services)
}

fn find<'a>(services: &'a Services, name: &str) -> Result<&'a Fields, String> {
    services.get(name).ok_or_else(|| format!("service {} does not exist", quote(name)))
}

fn ordered(services: &Services, names: &[String], stop: bool) -> Result<Vec<String>, String> {
    let mut after: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut pending = names.to_vec();
    let mut next = 0;
    while let Some(name) = pending.get(next).cloned() {
        next += 1;
        if after.contains_key(&name) {
            continue;
        }
        if stop {
            let requiring = services.iter().filter(|(_, service)| service.texts("requires").contains(&name));
            pending.extend(requiring.map(|(name, _)| name.clone()));
        } else {
            pending.extend(find(services, &name)?.texts("requires").iter().cloned());
        }
        after.insert(name, Vec::new());
    }
    for name in after.keys().cloned().collect::<Vec<_>>() {
        let service = find(services, &name)?;
        let (before, behind) = if stop { ("after", "before") } else { ("before", "after") };
        for other in service.texts(behind) {
            if after.contains_key(other) {
                after.entry(name.clone()).or_default().push(other.clone());
            }
        }
        for other in service.texts(before) {
            if let Some(of_other) = after.get_mut(other) {
                of_other.push(name.clone());
            }
        }
    }
    let mut order = Vec::new();
    for mut component in components(&after) {
        if component.len() > 1 {
            component.sort();
            return Err(format!("services in before/after loop: {}", component.join(", ")));
        }
        order.append(&mut component);
    }
    Ok(order)
}

/// Strongly connected components, those that others wait for first; the alphabet decides where nothing else does.
/// Tarjan's algorithm.
fn components(after: &BTreeMap<String, Vec<String>>) -> Vec<Vec<String>> {
    #[derive(Default)]
    struct Search<'a> {
        /// Its number and the lowest number that can be reached from it.
        seen: HashMap<&'a str, (usize, usize)>,
        stack: Vec<&'a str>,
        found: Vec<Vec<String>>,
    }

    // as deep as services wait for one another
    fn visit<'a>(search: &mut Search<'a>, after: &'a BTreeMap<String, Vec<String>>, name: &'a str) -> usize {
        let number = search.seen.len();
        let mut lowest = number;
        search.seen.insert(name, (number, number));
        search.stack.push(name);
        for other in after.get(name).into_iter().flatten() {
            match search.seen.get(other.as_str()) {
                None => lowest = lowest.min(visit(search, after, other)),
                Some((number, _)) if search.stack.contains(&other.as_str()) => lowest = lowest.min(*number),
                Some(_) => {}
            }
        }
        search.seen.insert(name, (number, lowest));
        if lowest == number {
            let from = search.stack.iter().position(|other| *other == name).unwrap_or_default();
            search.found.push(search.stack.split_off(from).into_iter().map(str::to_owned).collect());
        }
        lowest
    }

    let mut search = Search::default();
    for name in after.keys() {
        if !search.seen.contains_key(name.as_str()) {
            visit(&mut search, after, name);
        }
    }
    search.found
}

/// Services go into the lane of what they require.
fn lanes(order: Vec<String>, services: &Services) -> Result<Lanes, String> {
    let mut of: HashMap<String, usize> = HashMap::new();
    // as in Pebble: after a service that went into an older lane, the next new lane is the one behind that
    let mut current = None;
    let mut last = 0;
    for name in &order {
        let service = find(services, name)?;
        let requires = service.texts("requires");
        let known = of.get(name).or_else(|| requires.iter().find_map(|other| of.get(other))).copied();
        let lane = known.unwrap_or_else(|| current.map_or(0, |lane: usize| lane + 1));
        of.insert(name.clone(), lane);
        of.extend(requires.iter().map(|other| (other.clone(), lane)));
        current = Some(lane);
        last = last.max(lane);
    }
    let mut lanes = vec![Vec::new(); last + 1];
    for name in order {
        let lane = of[&name];
        lanes[lane].push(name);
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::super::schema::Value;
    use super::*;

    fn services(of: &[(&str, &[(&'static str, &str)])]) -> Services {
        of.iter()
            .map(|(name, fields)| {
                let mut service = Fields::default();
                for (field, others) in *fields {
                    let others = others.split(' ').map(str::to_owned).collect();
                    service.set(field, Value::Texts(others));
                }
                ((*name).to_owned(), service)
            })
            .collect()
    }

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_required_shares_a_lane_and_comes_first() {
        let services = services(&[("a", &[("requires", "b"), ("after", "b")]), ("b", &[]), ("c", &[])]);
        assert_eq!(to_start(&services, &names(&["c", "a"])).unwrap(), [names(&["b", "a"]), names(&["c"])]);
        assert_eq!(to_stop(&services, &names(&["b"])).unwrap(), [names(&["a", "b"])]);
    }

    #[test]
    fn loops_and_strangers_are_refused() {
        let services = services(&[("b", &[("after", "a")]), ("a", &[("after", "b")])]);
        let why = to_start(&services, &names(&["a", "b"])).unwrap_err();
        assert_eq!(why, "services in before/after loop: a, b");
        assert_eq!(to_stop(&services, &names(&["x"])).unwrap_err(), "service \"x\" does not exist");
    }
}
