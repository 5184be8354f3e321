//! Which method a path means, from the HTTP options in `proto/`.

use http::Method;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, Value};

/// One method as REST sees it.
pub(super) struct Route {
    http: Method,
    /// Segments of the template; `{field}` takes one.
    segments: Vec<Segment>,
    /// Whether the request's JSON body is the message (else it comes from the query string).
    pub(super) body: bool,
    /// `/package.Service/Method`
    pub(super) path: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
}

enum Segment {
    Literal(String),
    Field(String),
}

pub(super) enum Found<'a> {
    /// `captured`: fields and values from the path.
    Route { route: &'a Route, captured: Vec<(String, String)> },
    /// The path exists, but not for this HTTP method.
    OtherMethod,
}

pub(super) struct Routes(Vec<Route>);

impl Routes {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        Self(methods.filter_map(|method| route(pool, &method)).collect())
    }

    pub(super) fn find(&self, http: &Method, path: &str) -> Option<Found<'_>> {
        let given: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let mut other = None;
        for route in &self.0 {
            let Some(captured) = captured(&route.segments, &given) else { continue };
            if route.http == *http {
                return Some(Found::Route { route, captured });
            }
            other = Some(Found::OtherMethod);
        }
        other
    }
}

fn captured(segments: &[Segment], given: &[&str]) -> Option<Vec<(String, String)>> {
    if segments.len() != given.len() {
        return None;
    }
    let mut captured = Vec::new();
    for (segment, given) in segments.iter().zip(given) {
        match segment {
            Segment::Literal(literal) if literal == given => {}
            Segment::Field(field) if !given.is_empty() => {
                captured.push((field.clone(), super::parameters::percent_decoded(given, false)));
            }
            _ => return None,
        }
    }
    Some(captured)
}

fn route(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Route> {
    let option = pool.get_extension_by_name("google.api.http")?;
    let options = method.options();
    let rule = options.get_extension(&option);
    let rule = rule.as_message()?;
    let text = |name: &str| rule.get_field_by_name(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (http, template) = match (text("get"), text("post")) {
        (Some(template), _) => (Method::GET, template),
        (None, Some(template)) => (Method::POST, template),
        (None, None) => return None,
    };
    let segments = template.trim_start_matches('/').split('/').map(segment).collect();
    let body = matches!(rule.get_field_by_name("body").as_deref(), Some(Value::String(body)) if body == "*");
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    Some(Route { http, segments, body, path, input: method.input(), output: method.output() })
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(field) => Segment::Field(field.to_owned()),
        None => Segment::Literal(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        Routes::new(&crate::proto::pool().expect("our own descriptors"))
    }

    fn found(method: &Method, path: &str) -> String {
        match routes().find(method, path) {
            None => "none".to_owned(),
            Some(Found::OtherMethod) => "other method".to_owned(),
            Some(Found::Route { route, captured }) => format!("{} {captured:?}", route.path),
        }
    }

    #[test]
    fn every_method_with_an_http_option_has_its_route() {
        assert_eq!(found(&Method::GET, "/profiles/types"), "/parca.query.v1alpha1.QueryService/ProfileTypes []");
        assert_eq!(
            found(&Method::GET, "/profiles/labels/a%20b/values"),
            "/parca.query.v1alpha1.QueryService/Values [(\"label_name\", \"a b\")]"
        );
        assert_eq!(
            found(&Method::POST, "/profiles/writeraw"),
            "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw []"
        );
        assert_eq!(found(&Method::GET, "/targets"), "/parca.scrape.v1alpha1.ScrapeService/Targets []");
        assert_eq!(found(&Method::GET, "/agents"), "/parca.profilestore.v1alpha1.AgentsService/Agents []");
        assert_eq!(routes().0.len(), 18);
    }

    #[test]
    fn a_wrong_method_is_told_apart_from_a_wrong_path() {
        assert_eq!(found(&Method::DELETE, "/profiles/types"), "other method");
        assert_eq!(found(&Method::GET, "/nosuch"), "none");
        assert_eq!(found(&Method::GET, "/profiles/labels//values"), "none");
    }
}
