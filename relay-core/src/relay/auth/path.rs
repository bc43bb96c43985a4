//! What the path of a session says: its role, the id it is about, and the token or key it carries.

/// Roles by path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathRole {
    Playback { id: String, token: Option<String> },
    Publish { id: String, key: String },
    Other,
}

impl PathRole {
    pub(crate) fn parse(path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (kind, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let id = id.trim_end_matches('/');
        if id.is_empty() || id.contains('/') {
            return Self::Other;
        }
        match kind {
            "playback" => Self::Playback { id: id.to_owned(), token: query_value(query, "tok") },
            "publish" => Self::Publish { id: id.to_owned(), key: query_value(query, "sk").unwrap_or_default() },
            _ => Self::Other,
        }
    }
}

fn query_value(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decoded(pair))
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match pair.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_decides_the_role() {
        let playback =
            |id: &str, token: Option<&str>| PathRole::Playback { id: id.to_owned(), token: token.map(str::to_owned) };
        assert_eq!(PathRole::parse("/playback/lv_1?tok=a.b.c"), playback("lv_1", Some("a.b.c")));
        assert_eq!(PathRole::parse("/playback/lv_1"), playback("lv_1", None));
        assert_eq!(PathRole::parse("/playback/lv_1?x=1&tok=a%2Eb"), playback("lv_1", Some("a.b")));
        let publish = PathRole::Publish { id: "lv_1".to_owned(), key: "k".to_owned() };
        assert_eq!(PathRole::parse("/publish/lv_1?sk=k"), publish);
        for path in ["", "/", "/playback", "/playback/", "/playback/a/b", "/other/lv_1"] {
            assert_eq!(PathRole::parse(path), PathRole::Other, "{path}");
        }
    }
}
