//! A request, as it came: bytes that anybody may have sent. What is not understood is refused, with the reason.

use std::net::IpAddr;

/// What is asked for, and nothing else of a request.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// The answer's head is asked for, without its body.
    pub is_head: bool,
    /// As it was written: no path that is answered has anything to be decoded.
    pub path: String,
    /// Behind the question mark, decoded. No key is there twice.
    pub query: Vec<(String, String)>,
    /// A page of somebody else's has a browser ask.
    pub is_foreign: bool,
}

/// Why a request is not answered: a status of HTTP, and what is said.
#[derive(Debug, PartialEq)]
pub struct Refusal(pub &'static str, pub String);

pub const BAD_REQUEST: &str = "400 Bad Request";
const METHOD_NOT_ALLOWED: &str = "405 Method Not Allowed\r\nAllow: GET, HEAD";
const MISDIRECTED: &str = "421 Misdirected Request";
pub const TOO_LARGE: &str = "431 Request Header Fields Too Large";

/// No browser or proxy sends as many.
const MOST_HEADERS: usize = 128;

/// By which names it may be asked for. Where a page elsewhere has a name of its own that leads to this machine, its scripts could
/// read what is answered; the name that the browser was given tells.
pub struct Names {
    /// Only this machine may ask.
    pub is_loopback: bool,
    pub more: Vec<String>,
}

impl Names {
    /// Whether it may be asked for by what stands behind `Host:`. (No name leads elsewhere if it is an address.)
    fn has(&self, host: &str) -> bool {
        let (name, behind) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((name, behind)) => (name, behind),
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        if !(behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port)) {
            return false;
        }
        match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || !self.is_loopback,
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    || self.more.iter().any(|more| name.eq_ignore_ascii_case(more))
            }
        }
    }
}

impl Request {
    /// Reads a whole head, with its empty line. With `names`, it has to name one of these.
    pub fn parse(head: &[u8], names: Option<&Names>) -> Result<Request, Refusal> {
        let bad = |message: &str| Refusal(BAD_REQUEST, message.to_owned());
        let mut room = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut room);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(httparse::Status::Complete(_)) => return Err(bad("a request has no body here")),
            Ok(httparse::Status::Partial) => return Err(bad("the request has no end")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal(TOO_LARGE, format!("a request has at most {MOST_HEADERS} headers")));
            }
            Err(error) => return Err(bad(&format!("this is no request: {error}"))),
        }
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        let (mut hosts, mut is_foreign) = (Vec::new(), false);
        for httparse::Header { name, value } in &*parsed.headers {
            match name.to_ascii_lowercase().as_str() {
                "host" => hosts.push(*value),
                "content-length" if *value == b"0" => {}
                "content-length" | "transfer-encoding" => return Err(bad("a request has no body here")),
                "sec-fetch-site" => is_foreign = !matches!(*value, b"same-origin" | b"none"),
                _ => {}
            }
        }
        if let Some(names) = names {
            let [host] = hosts[..] else { return Err(bad("a request has one Host")) };
            let host = String::from_utf8_lossy(host);
            if !names.has(&host) {
                let said =
                    format!("not answered under the name {host:?}; see `treecache serve --help`, --name");
                return Err(Refusal(MISDIRECTED, said));
            }
        }
        let is_head = match method {
            "GET" => false,
            "HEAD" => true,
            _ => {
                return Err(Refusal(
                    METHOD_NOT_ALLOWED,
                    format!("{method:?} is not answered: it is only read here"),
                ));
            }
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !path.starts_with('/') || !target.is_ascii() {
            return Err(bad("the path begins with a slash, and is ASCII"));
        }
        let query = pairs(query).map_err(|message| Refusal(BAD_REQUEST, message))?;
        Ok(Request { is_head, path: path.to_owned(), query, is_foreign })
    }
}

/// What is asked behind the question mark.
fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decoded(key)?, decoded(value)?);
        if pairs.iter().any(|(other, _)| *other == key) {
            return Err(format!("{key:?} is there twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// As forms and `URLSearchParams` encode it.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not percent-encoded UTF-8");
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, behind @ ..] = rest else { return Err(wrong()) };
                let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(wrong);
                let byte = digit(*high)? * 16 + digit(*low)?;
                bytes.push(u8::try_from(byte).map_err(|_| wrong())?);
                rest = behind;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { is_loopback: true, more: vec!["tree.example.org".to_owned()] }
    }

    /// The status that a request is refused with.
    fn status(request: &[u8]) -> u16 {
        match Request::parse(request, Some(&names())) {
            Ok(_) => 200,
            Err(Refusal(status, _)) => status[..3].parse().expect("a status"),
        }
    }

    fn get(target: &str) -> Result<Request, Refusal> {
        Request::parse(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(), Some(&names()))
    }

    #[test]
    fn a_request_is_a_path_and_what_is_asked_of_it() {
        let request = get("/api/node?path=%2Fa%20b%2B%00+%e2%82%ac&empty&&x=1=2").expect("a request");
        assert_eq!((&*request.path, request.is_head, request.is_foreign), ("/api/node", false, false));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(request.query, [pair("path", "/a b+\0 €"), pair("empty", ""), pair("x", "1=2")]);
        // What is no route is none, also where another server would make one of it.
        for path in ["/../etc/passwd", "/%2e%2e/x", "//x", "/api/node/", "/\\"] {
            assert_eq!(get(path).expect("a request").path, path);
        }
        let request =
            Request::parse(b"HEAD / HTTP/1.0\r\nSec-Fetch-Site: cross-site\r\n\r\n", None).expect("one");
        assert!(request.is_head && request.is_foreign);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for target in [
            "/?a=%",
            "/?a=%4",
            "/?a=%zz",
            "/?%ff=1",
            "/?a=%c3",
            "/?a=1&a=2",
            "/?a=1&%61=2",
            "x",
            "*",
            "http://x/",
            "",
        ] {
            assert_eq!(get(target).err().map(|refusal| refusal.0), Some(BAD_REQUEST), "{target}");
        }
        for (request, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: \xff=\xe4\r\n\r\n"[..], 200),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 200),
            (b"", 400),
            (b"\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n", 400),
            (b"GET / HTTP/2\r\nHost: localhost\r\n\r\n", 400),
            (b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            (b"GET /\t HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rHost: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            (b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
            // What ends earlier for some than for others.
            (b"GET / HTTP/1.1\nHost: localhost\n\nHost: evil.example\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ] {
            assert_eq!(status(request), expected, "{}", String::from_utf8_lossy(request));
        }
        let many = |count| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!((status(many(127).as_bytes()), status(many(128).as_bytes())), (200, 431));
    }

    #[test]
    fn a_name_is_this_machines_or_was_given() {
        let anywhere = Names { is_loopback: false, more: Vec::new() };
        for (host, is_one, is_one_anywhere) in [
            ("localhost", true, true),
            ("LocalHost:7181", true, true),
            ("127.0.0.1:7181", true, true),
            ("127.1.2.3", true, true),
            ("[::1]:80", true, true),
            ("[::1]", true, true),
            ("tree.example.org", true, false),
            ("Tree.Example.org:443", true, false),
            ("10.1.2.3:80", false, true),
            ("[2001:db8::1]", false, true),
            ("", false, false),
            (":80", false, false),
            ("evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("localhost:80:80", false, false),
            ("localhost:http", false, false),
            ("localhost:123456", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("evil.example@localhost", false, false),
            ("[::1", false, false),
            ("[::1]x", false, false),
            ("2130706433", false, false),
            ("0x7f.1", false, false),
        ] {
            assert_eq!((names().has(host), anywhere.has(host)), (is_one, is_one_anywhere), "{host}");
        }
    }

    #[test]
    fn no_bytes_end_the_thread_that_reads_them() {
        let whole: &[u8] = b"GET /api/node?path=%2Fa%c3%a4&x=+ HTTP/1.1\r\nHost: [::1]:80\r\nSec-Fetch-Site: none\r\nA: b\r\n\r\n";
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).expect("small")
        };
        let mut answered = 0;
        for _ in 0..50_000 {
            let mut bytes = whole.to_vec();
            for _ in 0..random(4) {
                let at = random(bytes.len());
                match random(4) {
                    0 if bytes.len() > 1 => _ = bytes.remove(at),
                    1 => bytes.insert(at, b" %\r\n:?&=[]\0\xff+/"[random(14)]),
                    2 => bytes[at] = u8::try_from(random(256)).expect("a byte"),
                    _ => bytes.truncate(at + 1), // never to nothing
                }
            }
            answered += usize::from(Request::parse(&bytes, Some(&names())).is_ok());
        }
        assert!(answered > 5_000, "{answered}");
    }
}
