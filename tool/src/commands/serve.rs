//! `treecache serve`: a page that shows a tree, live.
//!
//! The page is three files that are part of the program, and asks for JSON: what is in the tree (`look`), how it stands and what
//! happens (`live`, from the `board`). Nothing that is asked changes anything, and each answer has a bound, whatever the tree.
//!
//! What is in a tree was written by others. The page shows it as text, and no script runs that is not the page's own; this file
//! has the head that makes a browser see to that.

mod board;
mod live;
mod look;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::arguments::ServeArguments;
use crate::failure::Failure;
use crate::http::{Answer, FORBIDDEN, Listen, Listener, NOT_FOUND, Names, OK, Request, Rules, Server};
use crate::output;
use crate::progress;
use crate::source::Source;
use live::Live;
use look::Look;

/// Other pages of this machine may have set many cookies.
const LONGEST: usize = 16 * 1024;
/// So many are answered at a time, streams included.
const MOST: usize = 64;

/// With each answer: what a browser may do with it, which is as little as the page needs.
const HEAD: &str = "\
Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r
X-Frame-Options: DENY\r
Referrer-Policy: no-referrer\r
Cross-Origin-Opener-Policy: same-origin\r
Cross-Origin-Resource-Policy: same-origin\r
";

/// The page's files: path, type and content.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("serve/page/page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("serve/page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("serve/page/page.js")),
    ("/icon.svg", "image/svg+xml", include_str!("serve/page/icon.svg")),
];

pub fn run(arguments: &ServeArguments) -> Result<ExitCode, Failure> {
    let address = arguments.listen;
    let nobody = |error| Failure::Other(format!("--listen {address}: {error}"));
    // First, so that a port that is taken costs no session.
    let listener = Listener::bind(&Listen::Address(address)).map_err(nobody)?;
    let source = Arc::new(Source::open(&arguments.place, &[])?);
    let site = Site { look: Look::new(source.clone()), live: Live::start(source)? };
    let is_loopback = address.ip().is_loopback();
    if !is_loopback {
        progress::say(&format!("whoever reaches {address} may read the tree: there is no password"));
    }
    let url = listener.place("/");
    let names = Names { is_loopback, more: arguments.name.clone() };
    let rules =
        Rules { thread: "treecache-serve", longest: LONGEST, most: MOST, names: Some(names), head: HEAD };
    let _server = Server::start(listener, rules, Arc::new(move |request: &Request| site.answer(request)))
        .map_err(|error| Failure::Other(format!("no thread to serve: {error}")))?;
    let mut out = output::stdout();
    writeln!(out, "{url}")?;
    out.flush()?;
    // A signal ends the process.
    loop {
        std::thread::park();
    }
}

struct Site {
    look: Look,
    live: Live,
}

impl Site {
    fn answer(&self, request: &Request) -> Answer {
        let file = FILES.iter().find(|(path, ..)| *path == request.path);
        // A link may lead here from anywhere; but what it leads to asks for all else by itself.
        if request.is_foreign && request.path != "/" {
            return Answer::error(FORBIDDEN, "a page of another site asks");
        }
        if let Some((_, kind, content)) = file {
            return Answer::Whole { status: OK, kind, body: (*content).into() };
        }
        let query = Query(&request.query);
        let answered = match request.path.as_str() {
            "/api/children" => self.look.children(&query),
            "/api/node" => self.look.node(&query),
            "/api/search" => self.look.search(&query),
            "/api/status" => query.only(&[]).map(|()| Answer::json(OK, &self.live.status())),
            "/api/history" => query.only(&[]).map(|()| Answer::json(OK, &self.live.history())),
            "/api/live" => query.only(&[]).map(|()| self.live.follow()),
            _ => Ok(Answer::error(NOT_FOUND, "there is no such page")),
        };
        answered.unwrap_or_else(|message| Answer::bad_request(&message))
    }
}

/// What is asked for behind the question mark. Errors are what is said of it.
struct Query<'a>(&'a [(String, String)]);

impl Query<'_> {
    /// What is not known is refused.
    fn only(&self, keys: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
            Some((key, _)) => Err(format!("{key:?} is not known here")),
            None => Ok(()),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    fn need(&self, key: &str) -> Result<&str, String> {
        self.get(key).ok_or_else(|| format!("{key:?} is missing"))
    }

    /// A number from 1 to the most that there is.
    fn number(&self, key: &str, most: usize) -> Result<usize, String> {
        let Some(text) = self.get(key) else { return Ok(most) };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!("{key:?} is a number from 1 to {most}, not {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_known_and_within_its_bounds() {
        let pairs = [("path", "/a"), ("most", "7")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let query = Query(&pairs);
        assert_eq!(query.only(&["path", "most"]), Ok(()));
        assert_eq!(query.only(&["path"]), Err("\"most\" is not known here".to_owned()));
        assert_eq!((query.need("path"), query.get("from")), (Ok("/a"), None));
        assert_eq!(query.need("from"), Err("\"from\" is missing".to_owned()));
        assert_eq!((query.number("most", 10), query.number("none", 10)), (Ok(7), Ok(10)));
        for most in ["0", "11", "-1", "1e3", "", "99999999999999999999", "\0"] {
            let pairs = [("most".to_owned(), most.to_owned())];
            assert!(Query(&pairs).number("most", 10).is_err(), "{most}");
        }
    }

    /// What a browser refuses is noticed here first.
    #[test]
    fn the_page_has_no_script_and_no_style_of_its_own_and_asks_nobody_else() {
        for (path, _, content) in FILES {
            let content = content.replace("http://www.w3.org/", "");
            for word in ["http:", "https:", "javascript:", "//cdn", "@import", "url(", "\r"] {
                assert!(!content.contains(word), "{word} in {path}");
            }
        }
        let html = FILES[0].2;
        for word in ["style=", "<style", "<script>", " onclick", " onload", "onerror"] {
            assert!(!html.contains(word), "{word}");
        }
        let script = FILES[2].2;
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "setAttribute('style'",
        ] {
            assert!(!script.contains(word), "{word}");
        }
        assert!(HEAD.lines().all(|line| !line.is_empty()) && HEAD.ends_with("\r\n"));
        assert_eq!(HEAD.matches('\n').count(), HEAD.matches("\r\n").count());
    }
}
