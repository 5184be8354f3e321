//! Making jobs fit for parca.yaml, which refuses a job without a name and two of one name.

use std::collections::BTreeSet;

use juju::json::{Json, Object};

/// The jobs that a configuration takes: one without a name is left out, with a warning in the log; the second and later of
/// one name get `_2`, `_3`, in order.
pub fn fit(jobs: Vec<Object>) -> Vec<Object> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut fitting = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        let name = match name(&job) {
            Some(name) => name.to_owned(),
            None => {
                let job = Json::Object(job).dumps();
                tracing::warn!(job, "a scrape job without a name is left out: its provider told no `scrape_metadata`");
                continue;
            }
        };
        let mut free = name.clone();
        let mut count = 2;
        while !taken.insert(free.clone()) {
            free = format!("{name}_{count}");
            count += 1;
        }
        job.insert("job_name".to_owned(), Json::from(free));
        fitting.push(job);
    }
    fitting
}

/// Whether the job has a name that parca.yaml takes.
pub fn is_named(job: &Object) -> bool {
    name(job).is_some()
}

fn name(job: &Object) -> Option<&str> {
    job.get("job_name")?.as_str().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &str) -> Vec<String> {
        let Ok(Json::Array(jobs)) = Json::parse(given) else { panic!("a list") };
        let jobs = jobs.into_iter().map(|job| job.as_object().cloned().unwrap_or_default()).collect();
        fit(jobs).iter().map(|job| job["job_name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn names_are_made_unique_in_order() {
        let job = |name: &str| format!(r#"{{"job_name": "{name}"}}"#);
        let jobs = |given: &[&str]| format!("[{}]", given.iter().map(|n| job(n)).collect::<Vec<_>>().join(","));
        assert_eq!(names(&jobs(&["a", "b", "a", "a"])), ["a", "b", "a_2", "a_3"]);
        assert_eq!(names(&jobs(&["a", "a", "a_2"])), ["a", "a_2", "a_2_2"]);
        assert_eq!(names(&jobs(&["a_2", "a", "a"])), ["a_2", "a", "a_3"]);
    }

    #[test]
    fn a_job_without_a_name_is_left_out() {
        assert_eq!(names(r#"[{}, {"job_name": ""}, {"job_name": 5}, {"job_name": null}, {"job_name": "x"}]"#), ["x"]);
    }
}
