//! Where encoders put the stream key.

/// Application and stream key of one publish request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishTarget {
    /// First path segment of the URL, without a query.
    pub app: String,
    /// The stream key; empty when none was given.
    pub key: String,
}

impl PublishTarget {
    /// Finds the key in the application name of `connect` and the name of `publish`. Encoders split the URL differently, so all
    /// of these are the same request for key `K`:
    ///
    /// | typed | `app` | `name` |
    /// |---|---|---|
    /// | server `…/live`, key `K` | `live` | `K` |
    /// | server `…/live/K`, no key | `live/K` | |
    /// | `…/live?sk=K` | `live?sk=K` | |
    /// | key `x?sk=K` or `?sk=K` | `live` | `x?sk=K` |
    /// | key `x?user=U&pass=K` | `live` | `x?user=U&pass=K` |
    ///
    /// `sk` wins over `pass`, and a query over the name; an empty value is as good as none.
    pub fn find(app: &str, name: &str) -> Self {
        let (app_path, app_query) = split_query(app);
        let (name_path, name_query) = split_query(name);
        let app_path = app_path.trim_matches('/');
        let (app_first, app_rest) = app_path.split_once('/').unwrap_or((app_path, ""));
        let queries = [name_query, app_query];
        let in_query = |field: &str| queries.iter().find_map(|query| query_value(query, field));
        let in_path =
            || [name_path, app_rest].into_iter().map(|path| path.trim_matches('/')).find(|path| !path.is_empty());
        let key = in_query("sk").or_else(|| in_query("pass")).or_else(in_path).unwrap_or_default();
        Self { app: app_first.to_owned(), key: key.to_owned() }
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// The first non-empty value of `field` in `a=1&b=2`.
fn query_value<'a>(query: &'a str, field: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == field && !value.is_empty()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_type_a_key_finds_it() {
        for (app, name) in [
            ("live", "K"),
            ("live/", "/K"),
            ("live/K", ""),
            ("live?sk=K", ""),
            ("live?sk=K", "camera"),
            ("live", "?sk=K"),
            ("live", "camera?sk=K"),
            ("live", "camera?user=me&pass=K"),
            ("live?user=me&pass=K", "camera"),
            ("live", "K?user=&pass="),
            ("live", "camera?pass=old&sk=K"),
        ] {
            let found = PublishTarget::find(app, name);
            assert_eq!((found.app.as_str(), found.key.as_str()), ("live", "K"), "app {app:?}, name {name:?}");
        }
    }

    #[test]
    fn no_key_is_an_empty_key() {
        assert_eq!(PublishTarget::find("live", ""), PublishTarget { app: "live".into(), key: String::new() });
        assert_eq!(PublishTarget::find("", "?sk="), PublishTarget { app: String::new(), key: String::new() });
    }
}
