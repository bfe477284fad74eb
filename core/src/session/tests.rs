//! A session against a scripted server, byte by byte, in simulated time.

use super::*;
use crate::path::NodePath;

const TIMEOUT_MS: i32 = 6000;
const LIMIT_FRAME: usize = 1 << 20;

/// A session, and what the other end of its connection says and hears.
struct Lab {
    session: Session<()>,
    now: Instant,
    connected_to: Option<Host>,
    /// The challenges for which the session wants a token of the caller's.
    asked: Vec<Option<Vec<u8>>>,
}

/// What a client says first.
#[derive(Debug, PartialEq, Eq)]
struct Hello {
    last_zxid: i64,
    session_id: i64,
    password: Vec<u8>,
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn reply(xid: i32, zxid: i64, error: i32) -> Vec<u8> {
    frame(&[&xid.to_be_bytes()[..], &zxid.to_be_bytes(), &error.to_be_bytes()].concat())
}

fn welcome(timeout_ms: i32, session_id: i64) -> Vec<u8> {
    let password = [session_id as u8; 16];
    let head = [&0i32.to_be_bytes()[..], &timeout_ms.to_be_bytes(), &session_id.to_be_bytes()].concat();
    frame(&[&head[..], &16i32.to_be_bytes(), &password].concat())
}

fn notification(kind: i32, path: &str) -> Vec<u8> {
    let header = [&(-1i32).to_be_bytes()[..], &(-1i64).to_be_bytes(), &0i32.to_be_bytes()].concat();
    let event = [&kind.to_be_bytes()[..], &3i32.to_be_bytes(), &(path.len() as i32).to_be_bytes()].concat();
    frame(&[&header[..], &event, path.as_bytes()].concat())
}

fn number(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn long(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes[..8].try_into().unwrap())
}

impl Lab {
    fn new(hosts: &str, auth: &[(&str, &str)]) -> Lab {
        Lab::with_sasl(hosts, None, auth)
    }

    fn with_sasl(hosts: &str, sasl: Option<Sasl>, auth: &[(&str, &str)]) -> Lab {
        let auth = auth
            .iter()
            .map(|(scheme, credential)| Auth {
                scheme: (*scheme).to_owned(),
                credential: Secret::new(*credential),
            })
            .collect();
        let settings = Settings {
            hosts: Hosts::parse(hosts).unwrap(),
            session_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(3),
            sasl,
            auth,
            limit_frame: LIMIT_FRAME,
            backoff: Backoff::default(),
        };
        let now = Instant::now();
        let session = Session::new(settings, fastrand::Rng::with_seed(7), now);
        Lab { session, now, connected_to: None, asked: Vec::new() }
    }

    /// One that is connected with session 1.
    fn connected() -> Lab {
        let mut lab = Lab::new("a,b,c", &[]);
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
        lab
    }

    fn events(&mut self) -> Vec<Event<()>> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// The frames that the client has sent since.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        let bytes = std::mem::take(self.session.transmit());
        let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let (frame, behind) = rest[4..].split_at(number(rest) as usize);
            frames.push(frame.to_vec());
            rest = behind;
        }
        frames
    }

    fn say(&mut self, bytes: &[u8]) {
        self.session.handle_bytes(bytes, self.now);
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(host) => self.connected_to = Some(host),
                Action::Disconnect => self.connected_to = None,
                Action::Token { host, challenge } => {
                    assert_eq!(self.connected_to, Some(host));
                    self.asked.push(challenge);
                }
            }
        }
    }

    /// Lets time pass, in the steps that the session asks for.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            assert!(
                self.session.poll_timeout().is_none_or(|at| at > self.now),
                "it would be called for ever"
            );
            self.act();
        }
        self.now = end;
        self.act();
    }

    /// Waits for the next attempt, lets it succeed, and returns the client's first words.
    fn dial(&mut self) -> Hello {
        self.act();
        let end = self.now + Duration::from_secs(6);
        while self.connected_to.is_none() && self.now < end {
            self.advance(Duration::from_millis(1));
        }
        assert!(self.connected_to.is_some(), "no attempt");
        self.session.handle_connected();
        let hello = self.heard().remove(0);
        Hello {
            last_zxid: long(&hello[4..]),
            session_id: long(&hello[16..]),
            password: hello[28..44].to_vec(),
        }
    }

    fn hang_up(&mut self) {
        self.lose(TransportError::Connection("gone".to_owned()));
    }

    fn lose(&mut self, reason: TransportError) {
        self.connected_to = None;
        self.session.handle_disconnected(reason, self.now);
        self.act();
    }

    /// Sends a request that is answered at `zxid`.
    fn exchange(&mut self, zxid: i64) {
        let xid = self.session.request(&Request::Exists(NodePath::root()), (), self.now).expect("connected");
        self.say(&reply(xid, zxid, 0));
    }

    fn drop_events(&mut self) {
        self.events();
        self.heard();
    }
}

fn is_fault(event: &Event<()>) -> bool {
    matches!(event, Event::Fault(_))
}

#[test]
fn a_session_is_made_and_resumed_with_the_zxid_it_has_seen() {
    let mut lab = Lab::new("a,b,c", &[]);
    assert_eq!(lab.dial(), Hello { last_zxid: 0, session_id: 0, password: vec![0; 16] });
    // However the bytes are cut.
    for byte in welcome(TIMEOUT_MS, 5) {
        lab.say(&[byte]);
    }
    assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
    lab.exchange(0x77);
    lab.hang_up();
    let events = lab.events();
    assert!(matches!(&events[0], Event::Reply(reply) if reply.zxid == Zxid(0x77) && reply.body().is_empty()));
    assert_eq!(events[1], Event::Suspended { last_zxid: Some(Zxid(0x77)) });
    assert!(is_fault(&events[2]));
    assert_eq!(lab.session.request(&Request::Sync, (), lab.now), None);
    assert_eq!(lab.dial(), Hello { last_zxid: 0x77, session_id: 5, password: vec![5; 16] });
    lab.say(&welcome(TIMEOUT_MS, 5));
    assert_eq!(lab.events(), [Event::Connected { resumed: true }]);
}

#[test]
fn an_expired_session_is_lost_once_and_another_is_made() {
    let mut lab = Lab::connected();
    lab.exchange(9);
    lab.hang_up();
    lab.drop_events();
    lab.dial();
    // The frame behind it, whole or not, belongs to no other connection.
    lab.say(&[&welcome(0, 0)[..], &[0, 0, 0]].concat());
    assert_eq!(lab.events(), [Event::Lost]);
    let host = lab.session.host().clone();
    assert_eq!(lab.dial(), Hello { last_zxid: 9, session_id: 0, password: vec![0; 16] });
    assert_eq!(lab.session.host(), &host, "the server that would have served is asked again");
    lab.say(&welcome(TIMEOUT_MS, 2));
    assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
}

#[test]
fn a_session_is_lost_when_it_is_away_for_longer_than_its_timeout_and_may_come_back() {
    let mut lab = Lab::connected();
    lab.hang_up();
    let suspended = lab.now;
    lab.drop_events();
    while lab.events().iter().all(|event| *event != Event::Lost) {
        lab.advance(Duration::from_millis(10));
        if lab.connected_to.is_some() {
            lab.hang_up();
        }
    }
    let lost_after = lab.now - suspended;
    let expected = Duration::from_millis(TIMEOUT_MS as u64);
    assert!(expected <= lost_after && lost_after < expected + Duration::from_millis(20), "{lost_after:?}");
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events().last(), Some(&Event::Connected { resumed: true }));
    // Expired only later: it is lost a second time, as it was there again.
    lab.hang_up();
    lab.drop_events();
    lab.dial();
    lab.say(&welcome(0, 0));
    assert_eq!(lab.events(), [Event::Lost]);
}

#[test]
fn a_quiet_session_pings_and_a_silent_server_is_left() {
    let mut lab = Lab::connected();
    let start = lab.now;
    lab.advance(Duration::from_secs(2));
    assert_eq!(lab.heard().len(), 1, "a ping after a third of the timeout");
    lab.say(&reply(-2, 0x42, 0));
    assert_eq!(lab.events(), []);
    lab.advance(Duration::from_secs(3));
    assert_eq!(lab.heard().len(), 1);
    lab.advance(Duration::from_secs(1));
    let events = lab.events();
    assert_eq!(events[0], Event::Suspended { last_zxid: Some(Zxid(0x42)) });
    assert!(is_fault(&events[1]) && events.len() == 2);
    assert_eq!(lab.now - start, Duration::from_secs(6));
}

/// What a session says that cannot connect.
fn reason(lab: &mut Lab) -> String {
    let mut reasons = lab.events().into_iter().filter_map(|event| match event {
        Event::Fault(SessionError::Connection { reason, .. }) => Some(reason.to_string()),
        _ => None,
    });
    reasons.next().expect("a fault")
}

/// Waits for the next attempt.
fn next_attempt(lab: &mut Lab) {
    lab.act();
    while lab.connected_to.is_none() {
        lab.advance(Duration::from_millis(1));
    }
}

#[test]
fn a_name_has_a_bound_of_its_own_and_that_of_the_attempt_begins_where_there_is_an_address() {
    let mut lab = Lab::new("a", &[]);
    lab.act();
    lab.session.handle_leg(Leg::Resolving, lab.now);
    lab.advance(Duration::from_millis(14_999));
    assert_eq!(lab.events(), []);
    lab.session.handle_leg(Leg::Connecting, lab.now);
    lab.advance(Duration::from_millis(2900));
    lab.session.handle_leg(Leg::Securing, lab.now);
    assert_eq!(lab.events(), []);
    lab.advance(Duration::from_millis(100));
    assert_eq!(reason(&mut lab), "the TLS handshake did not end within 3000 ms (connect.timeout.ms)");
    next_attempt(&mut lab);
    lab.session.handle_leg(Leg::Resolving, lab.now);
    lab.advance(Duration::from_secs(15));
    assert_eq!(reason(&mut lab), "the name was not resolved within 15000 ms (resolve.timeout.ms)");
}

#[test]
fn an_attempt_that_took_too_long_says_for_what_and_the_next_ones_may_take_longer() {
    let mut lab = Lab::new("a", &[]);
    next_attempt(&mut lab);
    lab.advance(Duration::from_secs(3));
    assert_eq!(reason(&mut lab), "no connection (TCP) within 3000 ms (connect.timeout.ms)");
    // Two thirds of the session timeout are the most.
    for bound in [6000, 6666, 6666] {
        lab.dial();
        lab.advance(Duration::from_millis(bound - 1));
        assert_eq!(lab.events(), []);
        lab.advance(Duration::from_millis(2));
        let reason = reason(&mut lab);
        assert!(
            reason.starts_with(&format!("no answer to ZooKeeper's handshake within {bound} ms")),
            "{reason}"
        );
        assert!(reason.contains("connect.timeout.ms=3000"), "{reason}");
    }
    lab.dial();
    lab.advance(Duration::from_millis(6500));
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
    lab.hang_up();
    lab.drop_events();
    // Made once, it begins with the setting again.
    next_attempt(&mut lab);
    lab.advance(Duration::from_secs(3));
    assert_eq!(reason(&mut lab), "no connection (TCP) within 3000 ms (connect.timeout.ms)");
}

#[test]
fn one_server_that_is_too_slow_does_not_let_the_others_wait_longer_before_all_were_tried() {
    let mut lab = Lab::new("a,b,c", &[]);
    for bound in [3000, 3000, 3000, 6000, 6000, 6000, 6666] {
        next_attempt(&mut lab);
        lab.advance(Duration::from_millis(bound + 1));
        let reason = reason(&mut lab);
        assert!(reason.contains(&format!("within {bound} ms")), "{reason}");
    }
    // What fails for another reason does not change that.
    next_attempt(&mut lab);
    lab.hang_up();
    lab.drop_events();
    next_attempt(&mut lab);
    lab.advance(Duration::from_millis(6667));
    assert!(reason(&mut lab).contains("within 6666 ms"));
}

#[test]
fn a_server_that_closes_the_connection_in_place_of_an_answer_may_mean_several_things() {
    let mut lab = Lab::new("a", &[]);
    lab.dial();
    lab.lose(TransportError::Closed);
    let first = reason(&mut lab);
    for meaning in ["the server closed the connection", "quorum", "read-only", "maxClientCnxns", "TLS"] {
        assert!(first.contains(meaning), "{first}");
    }
    assert!(!first.contains("zxid"), "{first}");
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    lab.exchange(0x77);
    lab.lose(TransportError::Closed);
    assert_eq!(reason(&mut lab), "the server closed the connection");
    lab.dial();
    lab.lose(TransportError::Closed);
    assert!(reason(&mut lab).contains("has not come up to zxid 0x77 yet"));
}

#[test]
fn what_waited_in_a_pause_is_no_news_until_a_ping_sent_behind_it_is_answered() {
    let mut lab = Lab::connected();
    // One ping is under way.
    lab.advance(Duration::from_secs(2));
    let before = lab.session.request(&Request::Sync, (), lab.now).unwrap();
    assert_eq!(lab.heard().len(), 2);
    lab.now += Duration::from_secs(3);
    lab.session.handle_pause(lab.now);
    let pings: Vec<_> = lab.heard().iter().map(|frame| number(frame)).collect();
    assert_eq!((lab.events(), pings), (vec![Event::Paused], vec![-2]));
    lab.say(&[reply(before, 5, 0), reply(-2, 5, 0), notification(3, "/a")].concat());
    assert_eq!(lab.events().len(), 2, "a reply and a notification, which are handed out");
    lab.say(&[notification(3, "/b"), reply(-2, 6, 0), notification(3, "/c")].concat());
    let events = lab.events();
    assert!(
        matches!(&events[..], [Event::Notification(_), Event::Heard, Event::Notification(_)]),
        "{events:?}"
    );
    // The next answers are as ever.
    lab.advance(Duration::from_secs(2));
    lab.say(&reply(-2, 7, 0));
    assert_eq!(lab.events(), []);
}

#[test]
fn a_server_that_could_not_be_heard_in_a_pause_gets_time_to_answer_and_only_once() {
    let mut lab = Lab::connected();
    lab.now += Duration::from_secs(5);
    lab.session.handle_pause(lab.now);
    lab.session.handle_timeout(lab.now);
    assert_eq!(lab.events(), [Event::Paused]);
    lab.advance(Duration::from_secs(2));
    // Again, before an answer. What comes may still be from before the first.
    lab.session.handle_pause(lab.now);
    lab.advance(Duration::from_millis(1999));
    assert_eq!(lab.events(), []);
    lab.advance(Duration::from_millis(1));
    assert_eq!(lab.events()[0], Event::Suspended { last_zxid: None });
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: true }]);
    lab.advance(Duration::from_secs(2));
    lab.say(&reply(-2, 7, 0));
    assert_eq!(lab.events(), [], "another connection was not there");
}

#[test]
fn a_connection_is_given_up_when_a_pause_was_longer_than_its_session_may_live() {
    let mut lab = Lab::connected();
    lab.now += Duration::from_secs(3600);
    lab.session.handle_pause(lab.now);
    let events = lab.events();
    assert_eq!(events[0], Event::Suspended { last_zxid: None });
    assert!(is_fault(&events[1]) && events.len() == 2);
    // What it had said is not looked at.
    lab.say(&reply(-2, 9, 0));
    assert_eq!(lab.events(), []);
    lab.session.handle_pause(lab.now);
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: true }], "nothing was asked before the pause");
}

#[test]
fn what_a_server_says_to_who_connects_may_have_waited_in_a_pause() {
    let mut lab = Lab::new("a", &[]);
    lab.dial();
    lab.session.handle_pause(lab.now);
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: false }, Event::Paused]);
    lab.say(&reply(-2, 7, 0));
    assert_eq!(lab.events(), [Event::Heard]);
    // The next connection knows nothing of that.
    lab.hang_up();
    lab.drop_events();
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: true }]);
}

#[test]
fn credentials_go_before_all_else_on_every_connection_and_their_refusal_ends_it() {
    let mut lab = Lab::new("a", &[("digest", "me:secret"), ("x", "y")]);
    for session_id in [1, 1] {
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, session_id));
        lab.session.request(&Request::AddWatch(NodePath::root()), (), lab.now).unwrap();
        let heard: Vec<_> = lab.heard().iter().map(|frame| (number(frame), number(&frame[4..]))).collect();
        assert_eq!(heard[..2], [(-4, 100), (-4, 100)]);
        assert_eq!(heard[2].1, 106);
        lab.hang_up();
        lab.drop_events();
    }
    lab.dial();
    lab.say(&[welcome(TIMEOUT_MS, 1), reply(-4, 0, 0), reply(-4, 0, -115), reply(1, 1, 0)].concat());
    let events = lab.events();
    assert_eq!(events[..2], [Event::Connected { resumed: true }, Event::Suspended { last_zxid: None }]);
    let error = ServerError::AUTH_FAILED;
    assert_eq!(events[2], Event::Fault(SessionError::AuthFailed { host: "a:2181".to_owned(), error }));
    assert_eq!(events.len(), 3, "nothing that came behind the refusal counts");
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: true }]);
}

fn sasl_reply(xid: i32, token: &[u8]) -> Vec<u8> {
    let header = [&xid.to_be_bytes()[..], &[0; 8], &0i32.to_be_bytes()].concat();
    frame(&[&header[..], &(token.len() as i32).to_be_bytes(), token].concat())
}

/// The token of the one frame that the client has sent, which is a step of SASL, and its xid.
fn sasl_step(lab: &mut Lab) -> (i32, Vec<u8>) {
    let [heard] = &lab.heard()[..] else { panic!("not one frame") };
    assert_eq!(number(&heard[4..]), 102);
    assert_eq!(number(&heard[8..]) as usize, heard.len() - 12);
    (number(heard), heard[12..].to_vec())
}

const CHALLENGE: &[u8] = b"realm=\"zk-sasl-md5\",nonce=\"n\",qop=\"auth\",charset=utf-8,algorithm=md5-sess";

fn bobs_password() -> DigestMd5 {
    DigestMd5 { username: "bob".to_owned(), password: Secret::new("hunter2"), nonce: || Some([7; 16]) }
}

fn bob() -> Sasl {
    Sasl::DigestMd5(bobs_password())
}

/// Has tickets, where bob has a password.
fn ada() -> Sasl {
    Sasl::Gssapi { principal: Some("ada@TREE".to_owned()) }
}

/// What a server says that knows the password too.
fn proof_for(answer: &[u8]) -> Vec<u8> {
    let answer = std::str::from_utf8(answer).unwrap();
    let cnonce = answer.split_once("cnonce=\"").unwrap().1.split_once('"').unwrap().0;
    let (same, proof) =
        digest_md5::respond_with(CHALLENGE, &bobs_password(), digest_md5::DIGEST_URI, cnonce).unwrap();
    assert_eq!(std::str::from_utf8(&same), Ok(answer));
    format!("rspauth={}", proof.0).into_bytes()
}

#[test]
fn sasl_comes_before_credentials_and_requests_on_every_connection() {
    let mut lab = Lab::with_sasl("a", Some(bob()), &[("digest", "me:secret")]);
    for resumed in [false, true, true] {
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        let (xid, token) = sasl_step(&mut lab);
        assert!(token.is_empty());
        // However the bytes are cut.
        for byte in sasl_reply(xid, CHALLENGE) {
            lab.say(&[byte]);
        }
        let (xid, answer) = sasl_step(&mut lab);
        assert_eq!(lab.events(), []);
        assert_eq!(lab.session.request(&Request::Sync, (), lab.now), None);
        lab.say(&sasl_reply(xid, &proof_for(&answer)));
        assert_eq!(lab.events(), [Event::Connected { resumed }]);
        lab.session.request(&Request::AddWatch(NodePath::root()), (), lab.now).unwrap();
        let heard: Vec<_> = lab.heard().iter().map(|frame| number(&frame[4..])).collect();
        assert_eq!(heard, [100, 106]);
        lab.hang_up();
        lab.drop_events();
    }
}

/// Answers the connect request, and proves that the server knows the password.
fn prove(lab: &mut Lab, welcome: &[u8]) {
    lab.say(welcome);
    let (xid, _) = sasl_step(lab);
    lab.say(&sasl_reply(xid, CHALLENGE));
    let (xid, answer) = sasl_step(lab);
    lab.say(&sasl_reply(xid, &proof_for(&answer)));
}

/// One that has a proven session 1, and is not connected any more.
fn left_alone_with_sasl() -> Lab {
    let mut lab = Lab::with_sasl("a", Some(bob()), &[]);
    lab.dial();
    prove(&mut lab, &welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
    lab.hang_up();
    assert_eq!(lab.events()[0], Event::Suspended { last_zxid: None });
    lab
}

#[test]
fn a_server_that_proves_nothing_does_not_put_off_the_loss() {
    let mut lab = left_alone_with_sasl();
    let suspended = lab.now;
    let mut told = Vec::new();
    while lab.now - suspended < Duration::from_secs(20) {
        lab.advance(Duration::from_millis(10));
        if lab.connected_to.is_some() {
            assert_eq!(lab.dial(), Hello { last_zxid: 0, session_id: 1, password: vec![1; 16] });
            lab.say(&welcome(i32::MAX, 2));
            sasl_step(&mut lab);
            lab.hang_up();
        }
        told.extend(lab.events().into_iter().filter(|event| !is_fault(event)).map(|event| (event, lab.now)));
    }
    let [(Event::Lost, lost)] = &told[..] else { panic!("{told:?}") };
    let (after, expected) = (*lost - suspended, Duration::from_millis(TIMEOUT_MS as u64));
    assert!(expected <= after && after < expected + Duration::from_millis(20), "{after:?}");
}

#[test]
fn a_server_that_proves_nothing_ends_no_session_but_makes_it_be_forgotten() {
    let mut lab = left_alone_with_sasl();
    let suspended = lab.now;
    lab.dial();
    lab.say(&welcome(0, 0));
    assert_eq!(lab.events(), []);
    assert_eq!(lab.dial(), Hello { last_zxid: 0, session_id: 0, password: vec![0; 16] });
    lab.hang_up();
    while lab.events().iter().all(|event| *event != Event::Lost) {
        lab.advance(Duration::from_millis(10));
        if lab.connected_to.is_some() {
            lab.hang_up();
        }
    }
    assert_eq!((lab.now - suspended).as_secs(), TIMEOUT_MS as u64 / 1000);
    // A server that is proven and gives another session: that before is lost, for certain.
    let mut lab = left_alone_with_sasl();
    lab.dial();
    lab.say(&welcome(0, 0));
    lab.dial();
    prove(&mut lab, &welcome(TIMEOUT_MS, 2));
    assert_eq!(lab.events(), [Event::Lost, Event::Connected { resumed: false }]);
}

/// After how long of silence a server is left that grants so much to a client that asks for 10 s.
fn patience(granted_ms: i32, sasl: bool) -> Duration {
    let mut lab = Lab::with_sasl("a", sasl.then(bob), &[]);
    lab.dial();
    match sasl {
        true => prove(&mut lab, &welcome(granted_ms, 1)),
        false => lab.say(&welcome(granted_ms, 1)),
    }
    assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
    let since = lab.now;
    while lab.events().is_empty() && lab.now - since < Duration::from_secs(1000) {
        lab.advance(Duration::from_millis(10));
    }
    lab.now - since
}

#[test]
fn a_server_grants_more_than_was_asked_for_but_not_as_much_as_it_likes() {
    for sasl in [false, true] {
        // What `minSessionTimeout` may make of it.
        assert_eq!(patience(40_000, sasl).as_millis() / 100, 266);
        for granted in [40_001, 3_600_000, i32::MAX] {
            assert_eq!(patience(granted, sasl).as_millis() / 100, 266, "{granted} ms granted");
        }
    }
}

#[test]
fn where_sasl_fails_a_fault_says_why_and_the_next_attempt_follows() {
    let rejected = SaslFailure::Rejected(ServerError::AUTH_FAILED);
    let not_offered = SaslFailure::NotUnderstood(SaslError::NotOffered);
    let not_proven = SaslFailure::NotUnderstood(SaslError::NotProven);
    let malformed = SaslFailure::NotUnderstood(SaslError::Malformed("no '='"));
    for (first, second, reason) in [
        (&b""[..], None, not_offered),
        (b"?", None, malformed),
        (CHALLENGE, None, rejected),
        (CHALLENGE, Some(&b"rspauth=0123456789abcdef0123456789abcdef"[..]), not_proven.clone()),
        // A server that lets those go on whom it has not accepted.
        (CHALLENGE, Some(b""), not_proven),
    ] {
        let mut lab = Lab::with_sasl("a", Some(bob()), &[]);
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        let (xid, _) = sasl_step(&mut lab);
        lab.say(&sasl_reply(xid, first));
        match (second, &reason) {
            (Some(second), _) => {
                let (xid, _) = sasl_step(&mut lab);
                lab.say(&sasl_reply(xid, second));
            }
            (None, SaslFailure::Rejected(error)) => {
                let (xid, _) = sasl_step(&mut lab);
                lab.say(&reply(xid, 0, error.0));
            }
            _ => {}
        }
        let (host, identity) = ("a:2181".to_owned(), "DIGEST-MD5 as \"bob\"".to_owned());
        assert_eq!(lab.events(), [Event::Fault(SessionError::Sasl { host, identity, reason })]);
        assert_eq!(lab.dial().session_id, 0, "no session is taken from a server that has proven nothing");
    }
}

#[test]
fn a_step_of_sasl_that_is_none_ends_the_connection_in_time() {
    for bytes in [reply(77, 0, 0), notification(1, "/a"), frame(&[0; 3]), vec![0, 1, 0, 0]] {
        let mut lab = Lab::with_sasl("a", Some(bob()), &[]);
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        lab.say(&bytes);
        assert!(matches!(lab.events()[..], [Event::Fault(SessionError::Protocol { .. })]), "{bytes:?}");
    }
    let mut lab = Lab::with_sasl("a", Some(bob()), &[]);
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    let since = lab.now;
    sasl_step(&mut lab);
    while lab.events().is_empty() {
        lab.advance(Duration::from_millis(10));
        assert!(lab.heard().is_empty(), "nothing is said to a server that has to answer");
    }
    assert_eq!((lab.now - since).as_secs(), 3);
}

/// Gives the session the token that it asks for; returns the challenge that it is for, and the xid of what is sent.
fn give_token(lab: &mut Lab, bytes: &[u8], is_last: bool) -> (Option<Vec<u8>>, i32) {
    lab.act();
    let asked = lab.asked.pop().expect("asked for a token");
    assert!(lab.asked.is_empty() && lab.heard().is_empty(), "nothing is said before there is a token");
    lab.session.handle_token(Ok(Token { bytes: bytes.to_vec(), is_last }), lab.now);
    let (xid, sent) = sasl_step(lab);
    assert_eq!(sent, bytes);
    (asked, xid)
}

#[test]
fn the_caller_makes_the_tokens_of_kerberos_and_the_server_has_the_last_word() {
    let mut lab = Lab::with_sasl("a", Some(ada()), &[("digest", "me:secret")]);
    for resumed in [false, true, true] {
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        let (challenge, xid) = give_token(&mut lab, b"ticket", false);
        assert_eq!(challenge, None);
        for byte in sasl_reply(xid, b"proof") {
            lab.say(&[byte]);
        }
        // The token may be empty, the server's word behind it is not.
        let (challenge, xid) = give_token(&mut lab, b"", false);
        assert_eq!(challenge.as_deref(), Some(&b"proof"[..]));
        lab.say(&sasl_reply(xid, b"layers"));
        let (challenge, xid) = give_token(&mut lab, b"none", true);
        assert_eq!(challenge.as_deref(), Some(&b"layers"[..]));
        assert_eq!((lab.events(), lab.session.is_proven()), (vec![], false));
        lab.say(&sasl_reply(xid, b""));
        assert_eq!(lab.events(), [Event::Connected { resumed }]);
        assert_eq!(number(&lab.heard()[0][4..]), 100, "the credentials follow");
        lab.hang_up();
        lab.drop_events();
    }
}

#[test]
fn a_server_that_accepts_a_ticket_at_once_has_proven_nothing() {
    for word in [&b""[..], b"welcome"] {
        let mut lab = Lab::with_sasl("a", Some(ada()), &[]);
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        let (_, xid) = give_token(&mut lab, b"ticket", false);
        lab.say(&sasl_reply(xid, word));
        assert!(!lab.session.is_proven() && !lab.session.is_ready());
        let events = lab.events();
        assert!(!events.contains(&Event::Connected { resumed: false }), "{events:?}");
        lab.act();
        assert_eq!(lab.asked.len(), usize::from(!word.is_empty()));
    }
}

#[test]
fn what_a_server_with_kerberos_says_counts_when_it_has_proven_itself() {
    let mut lab = Lab::with_sasl("a", Some(ada()), &[]);
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    let (_, xid) = give_token(&mut lab, b"ticket", false);
    lab.say(&sasl_reply(xid, b"layers"));
    let (_, xid) = give_token(&mut lab, b"none", true);
    lab.say(&sasl_reply(xid, b""));
    lab.hang_up();
    lab.drop_events();
    let suspended = lab.now;
    // Says that the session is another one, and lasts for ever; and goes no further.
    while lab.events().iter().all(|event| *event != Event::Lost) {
        lab.advance(Duration::from_millis(10));
        if lab.connected_to.is_some() {
            assert_eq!(lab.dial().session_id, 1);
            lab.say(&welcome(i32::MAX, 2));
            give_token(&mut lab, b"ticket", false);
            lab.hang_up();
        }
        assert!(lab.now - suspended < Duration::from_secs(20), "the loss was put off");
    }
    assert_eq!((lab.now - suspended).as_secs(), TIMEOUT_MS as u64 / 1000);
}

#[test]
fn where_kerberos_fails_a_fault_says_why_and_the_next_attempt_follows() {
    let no_token = SaslFailure::NoToken("no ticket cache".to_owned());
    let rejected = SaslFailure::TicketRejected(ServerError::AUTH_FAILED);
    let behind = SaslFailure::NotUnderstood(SaslError::Malformed("it comes behind the last token"));
    let late = SaslFailure::NoToken("no ticket from the KDC within 3000 ms (connect.timeout.ms)".to_owned());
    for reason in [no_token, SaslFailure::NotUnderstood(SaslError::NotOffered), rejected, behind, late] {
        let mut lab = Lab::with_sasl("a", Some(ada()), &[]);
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        match &reason {
            SaslFailure::NoToken(reason) if reason.contains("3000 ms") => {
                lab.advance(Duration::from_secs(3));
                lab.session.handle_token(Err("too late".to_owned()), lab.now);
            }
            SaslFailure::NoToken(reason) => lab.session.handle_token(Err(reason.clone()), lab.now),
            SaslFailure::TicketRejected(error) => {
                let (_, xid) = give_token(&mut lab, b"ticket", false);
                lab.say(&reply(xid, 0, error.0));
            }
            SaslFailure::NotUnderstood(SaslError::NotOffered) => {
                let (_, xid) = give_token(&mut lab, b"ticket", false);
                lab.say(&sasl_reply(xid, b""));
            }
            _ => {
                let (_, xid) = give_token(&mut lab, b"ticket", true);
                lab.say(&sasl_reply(xid, b"and so on"));
            }
        }
        let (host, identity) = ("a:2181".to_owned(), "GSSAPI as \"ada@TREE\"".to_owned());
        assert_eq!(lab.events(), [Event::Fault(SessionError::Sasl { host, identity, reason })]);
        lab.asked.clear();
        assert_eq!(lab.dial().session_id, 0, "no session is taken from a server that has proven nothing");
    }
}

#[test]
fn what_a_server_says_while_a_token_is_made_ends_the_connection() {
    let mut lab = Lab::with_sasl("a", Some(ada()), &[]);
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    lab.say(&sasl_reply(1, b"proof"));
    assert!(matches!(lab.events()[..], [Event::Fault(SessionError::Protocol { .. })]));
    lab.session.handle_token(Ok(Token { bytes: Vec::new(), is_last: true }), lab.now);
    assert!(lab.heard().is_empty(), "a token of a connection that is gone");
}

#[test]
fn no_secret_is_shown_by_what_holds_it() {
    let auth = Auth { scheme: "digest".to_owned(), credential: Secret::new("me:secret") };
    let settings = Settings {
        hosts: Hosts::parse("a").unwrap(),
        session_timeout: Duration::ZERO,
        resolve_timeout: Duration::ZERO,
        connect_timeout: Duration::ZERO,
        sasl: Some(bob()),
        auth: vec![auth],
        limit_frame: 1 << 20,
        backoff: Backoff::default(),
    };
    let shown = format!("{settings:?} {settings:#?}");
    assert!(shown.contains("bob") && shown.contains("digest"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("secret"), "{shown}");
}

#[test]
fn all_servers_are_tried_in_turn_and_ever_more_slowly() {
    let mut lab = Lab::new("a,b,c", &[]);
    let start = lab.now;
    let mut tried = Vec::new();
    for _ in 0..30 {
        lab.act();
        while lab.connected_to.is_none() {
            lab.advance(Duration::from_millis(1));
        }
        tried.push(lab.connected_to.clone().unwrap().name);
        lab.hang_up();
    }
    for round in tried.chunks(3) {
        assert_eq!(round, &tried[..3]);
    }
    assert_eq!(lab.events().iter().filter(|event| is_fault(event)).count(), 30);
    assert!(lab.now - start > Duration::from_secs(20), "thirty attempts within {:?}", lab.now - start);
}

#[test]
fn a_server_that_says_yes_and_hangs_up_is_not_called_ever_again_at_full_speed() {
    let mut lab = Lab::connected();
    let start = lab.now;
    for zxid in 1..30 {
        lab.exchange(zxid);
        lab.hang_up();
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        lab.drop_events();
    }
    assert!(lab.now - start > Duration::from_secs(20), "thirty connections within {:?}", lab.now - start);
    lab.advance(OF_USE_AFTER);
    lab.hang_up();
    let hung_up = lab.now;
    lab.dial();
    assert!(lab.now - hung_up <= Backoff::default().first + Duration::from_millis(1));
}

/// Servers have refused so often that one is asked for a transaction, in the request that is returned.
fn probing() -> (Lab, Vec<u8>) {
    let mut lab = Lab::connected();
    lab.exchange(100);
    lab.hang_up();
    refuse_all(&mut lab, 100);
    lab.say(&welcome(TIMEOUT_MS, 1));
    let probe = lab.heard().remove(0);
    (lab, probe)
}

/// Refuses the session as often as it takes to make it give up its zxid.
fn refuse_all(lab: &mut Lab, zxid: i64) {
    for _ in 0..REFUSED_ROUNDS * 3 {
        assert_eq!(lab.dial().last_zxid, zxid);
        lab.hang_up();
    }
    lab.drop_events();
    assert_eq!(lab.dial().last_zxid, 0);
}

#[test]
fn an_ensemble_that_refuses_the_zxid_is_asked_whether_it_was_reset() {
    let mut lab = Lab::connected();
    lab.exchange(100);
    lab.hang_up();
    refuse_all(&mut lab, 100);
    // Expired, in that same attempt: the next one asks too.
    lab.say(&welcome(0, 0));
    lab.drop_events();
    assert_eq!(lab.dial(), Hello { last_zxid: 0, session_id: 0, password: vec![0; 16] });
    lab.say(&welcome(TIMEOUT_MS, 2));
    assert_eq!(lab.events(), []);
    assert_eq!(lab.session.request(&Request::Exists(NodePath::root()), (), lab.now), None);
    let sync = lab.heard().remove(0);
    assert_eq!(number(&sync[4..]), 14, "a transaction, which no server makes that has lost its quorum");
    // The connection goes before the answer: the next attempt asks again, at once.
    lab.hang_up();
    lab.drop_events();
    assert_eq!(lab.dial().last_zxid, 0);
    lab.say(&welcome(TIMEOUT_MS, 2));
    let sync = lab.heard().remove(0);
    lab.say(&reply(number(&sync), 7, 0));
    let reset = SessionError::Reset { seen: Zxid(100), now: Zxid(7) };
    assert_eq!(lab.events(), [Event::Fault(reset), Event::Reset, Event::Connected { resumed: false }]);
    lab.exchange(8);
    lab.hang_up();
    assert_eq!(lab.dial().last_zxid, 8);
}

#[test]
fn a_server_that_does_not_trust_the_client_says_nothing_of_its_zxid() {
    let mut lab = Lab::connected();
    lab.exchange(100);
    lab.hang_up();
    lab.drop_events();
    for _ in 0..=REFUSED_ROUNDS * 3 {
        assert_eq!(lab.dial().last_zxid, 100);
        let reason = TransportError::Tls("no certificate".to_owned());
        let host = lab.session.host.to_string();
        lab.lose(reason.clone());
        assert_eq!(
            lab.events().iter().filter(|event| **event != Event::Lost).collect::<Vec<_>>(),
            [&Event::Fault(SessionError::Connection { host, reason })]
        );
    }
}

#[test]
fn an_ensemble_that_had_only_lost_its_quorum_is_no_other_one() {
    let (mut lab, probe) = probing();
    lab.say(&reply(number(&probe), 100, 0));
    assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
    lab.hang_up();
    assert_eq!(lab.dial().last_zxid, 100);
}

#[test]
fn what_a_leader_names_before_its_first_transaction_is_not_insisted_on() {
    const EPOCH: i64 = 7 << 32;
    let mut lab = Lab::connected();
    lab.exchange(EPOCH - 5);
    lab.hang_up();
    lab.drop_events();
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    lab.exchange(EPOCH);
    lab.say(&reply(-2, EPOCH, 0));
    lab.drop_events();
    lab.hang_up();
    // A follower has not heard of any such zxid, and would refuse it. What was found there has no date.
    assert!(lab.events().contains(&Event::Suspended { last_zxid: None }));
    assert_eq!(lab.dial().last_zxid, EPOCH - 5);
    lab.say(&welcome(TIMEOUT_MS, 1));
    lab.exchange(EPOCH - 5);
    lab.hang_up();
    assert!(lab.events().contains(&Event::Suspended { last_zxid: Some(Zxid(EPOCH - 5)) }));
}

#[test]
fn a_pause_before_a_probe_is_answered_is_one_of_that_connection_alone() {
    for is_answered in [true, false] {
        let (mut lab, probe) = probing();
        lab.session.handle_pause(lab.now);
        assert_eq!(lab.events(), [], "there is nobody yet to whom it matters");
        if is_answered {
            lab.say(&reply(number(&probe), 100, 0));
            assert_eq!(lab.events(), [Event::Connected { resumed: false }, Event::Paused]);
            lab.say(&reply(-2, 100, 0));
            assert_eq!(lab.events(), [Event::Heard]);
        }
        lab.hang_up();
        lab.drop_events();
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        if !is_answered {
            let probe = lab.heard().remove(0);
            lab.say(&reply(number(&probe), 100, 0));
        }
        assert!(matches!(&lab.events()[..], [Event::Connected { .. }]));
    }
}

#[test]
fn a_probe_that_is_no_transaction_says_nothing_of_a_reset() {
    for (zxid, error) in [(7, -119), (7, -118), (-1, -127), (0, 0)] {
        let (mut lab, probe) = probing();
        lab.say(&reply(number(&probe), zxid, error));
        assert!(matches!(&lab.events()[..], [Event::Fault(SessionError::Connection { .. })]), "{error}");
        // The same question to the next server; one that may not look at the root has decided on it, too.
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        let probe = lab.heard().remove(0);
        lab.say(&reply(number(&probe), 101, -102));
        assert_eq!(lab.events(), [Event::Connected { resumed: false }]);
    }
}

#[test]
fn a_zxid_that_goes_down_on_one_connection_ends_it_be_it_that_of_a_ping() {
    for (xid, error) in [(-2, 0), (1, 0), (1, -101)] {
        let mut lab = Lab::connected();
        lab.say(&reply(-2, 50, 0));
        lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
        lab.drop_events();
        // Notifications and authentications name none of their own.
        lab.say(&[notification(1, "/a"), reply(-4, 0, 0), reply(-2, 50, 0)].concat());
        assert!(matches!(lab.events()[..], [Event::Notification(_)]));
        lab.say(&reply(xid, 49, error));
        let events = lab.events();
        assert_eq!(events[0], Event::Suspended { last_zxid: None });
        assert!(matches!(events[1], Event::Fault(SessionError::Protocol { .. })));
    }
}

#[test]
fn a_server_that_lets_a_barrier_wait_is_pinged_ever_more_slowly_until_it_answers() {
    let mut lab = Lab::connected();
    let begun = lab.now;
    let xid = lab.session.request(&Request::Barrier(None), (), lab.now).unwrap();
    lab.heard();
    let mut pings = Vec::new();
    while lab.now - begun < Duration::from_millis(1000) {
        lab.advance(Duration::from_millis(1));
        pings.extend(lab.heard().iter().map(|ping| (number(ping), (lab.now - begun).as_millis())));
    }
    assert_eq!(pings, [(-2, 50), (-2, 100), (-2, 200), (-2, 400), (-2, 800)]);
    lab.say(&reply(xid, 60, 0));
    lab.advance(Duration::from_millis(1000));
    assert_eq!(lab.heard().len(), 0, "it was answered");
    // Nor is one that was lost with its connection waited for.
    lab.session.request(&Request::Barrier(None), (), lab.now).unwrap();
    lab.hang_up();
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    lab.heard();
    lab.advance(Duration::from_millis(500));
    assert_eq!(lab.heard().len(), 0);
}

#[test]
fn how_long_a_pause_is_goes_by_the_timeout() {
    let mut lab = Lab::new("a", &[]);
    assert_eq!(lab.session.shortest_pause(), Duration::from_secs(2), "10 s were asked for");
    for (timeout_ms, pause_ms) in [(3000, 1000), (6000, 2000), (12_000, 2000), (300, 100)] {
        lab.dial();
        lab.say(&welcome(timeout_ms, 1));
        assert_eq!(lab.session.shortest_pause(), Duration::from_millis(pause_ms));
        lab.hang_up();
    }
}

#[test]
fn after_a_pause_a_server_that_lets_a_barrier_wait_is_pinged_once() {
    let mut lab = Lab::connected();
    lab.session.request(&Request::Barrier(None), (), lab.now).unwrap();
    lab.heard();
    lab.now += Duration::from_millis(900);
    lab.session.handle_timeout(lab.now);
    assert_eq!(lab.heard().len(), 1);
    assert!(lab.session.poll_timeout().is_some_and(|at| at > lab.now));
}

#[test]
fn what_came_behind_that_which_shows_another_history_is_not_handed_out() {
    let mut lab = Lab::connected();
    let ask = |lab: &mut Lab| lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
    let (first, second) = (ask(&mut lab), ask(&mut lab));
    lab.say(&[reply(first, 9, 0), notification(3, "/a"), reply(second, 9, 0)].concat());
    assert!(matches!(lab.session.poll_event(), Some(Event::Reply(reply)) if reply.xid == first));
    lab.session.handle_other_history("what shows it".to_owned(), lab.now);
    let events = lab.events();
    assert!(matches!(events[..], [Event::Suspended { .. }, Event::Fault(_), Event::Reset]), "{events:?}");
}

#[test]
fn what_is_dropped_leads_to_no_zxid_though_something_behind_it_ended_the_connection_first() {
    let mut lab = Lab::connected();
    let ask = |lab: &mut Lab| lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
    let (first, second) = (ask(&mut lab), ask(&mut lab));
    // One read: the reply that is bad, what is told behind it, a zxid behind that, and a frame that is too long.
    let long = i32::MAX.to_be_bytes();
    lab.say(&[&reply(first, 9, 0)[..], &notification(3, "/a"), &reply(second, 57, 0), &long].concat());
    assert!(matches!(lab.session.poll_event(), Some(Event::Reply(reply)) if reply.xid == first));
    lab.session.handle_malformed(Malformed { what: "stream of notifications" }, lab.now);
    let events = lab.events();
    assert!(matches!(events[..], [Event::Suspended { last_zxid: None }, Event::Fault(_)]), "{events:?}");
}

#[test]
fn another_history_is_told_though_something_behind_it_ended_the_connection_first() {
    let mut lab = Lab::connected();
    let xid = lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
    // One read: the reply that shows it, and a frame that is none.
    lab.say(&[&reply(xid, 9, 0)[..], &(-1i32).to_be_bytes()].concat());
    assert!(matches!(lab.session.poll_event(), Some(Event::Reply(_))));
    lab.session.handle_other_history("what shows it".to_owned(), lab.now);
    let events = lab.events();
    let is_told = |event: &Event<()>| matches!(event, Event::Fault(SessionError::OtherHistory { .. }));
    assert!(matches!(events[0], Event::Suspended { .. }) && is_told(&events[2]), "{events:?}");
    assert_eq!(events.last(), Some(&Event::Reset));
}

#[test]
fn another_history_ends_the_connection_and_is_told_before_the_next_one() {
    let mut lab = Lab::connected();
    lab.exchange(100);
    lab.drop_events();
    let host = lab.session.host.to_string();
    lab.session.handle_other_history("what shows it".to_owned(), lab.now);
    let fault = SessionError::OtherHistory { host, evidence: "what shows it".to_owned() };
    assert!(fault.to_string().contains("what shows it"));
    assert_eq!(lab.events(), [Event::Suspended { last_zxid: None }, Event::Fault(fault), Event::Reset]);
    lab.dial();
    lab.say(&welcome(TIMEOUT_MS, 1));
    assert_eq!(lab.events(), [Event::Connected { resumed: true }]);
}

#[test]
fn a_close_ends_the_session_in_every_phase() {
    // Waiting for the next attempt, connecting, and without an answer yet.
    for phase in 0..3 {
        let mut lab = Lab::new("a", &[]);
        lab.act();
        match phase {
            0 => lab.hang_up(),
            1 => {}
            _ => lab.session.handle_connected(),
        }
        lab.drop_events();
        lab.session.handle_close(lab.now);
        lab.session.handle_close(lab.now);
        assert_eq!(lab.events(), [Event::Closed]);
        assert_eq!(lab.session.poll_timeout(), None);
    }
    // Connected: the server is told, and waited for a little.
    for answers in [true, false] {
        let mut lab = Lab::connected();
        lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
        lab.heard();
        lab.session.handle_close(lab.now);
        assert!(!lab.session.is_ready());
        assert_eq!(lab.session.request(&Request::Sync, (), lab.now), None);
        let close = lab.heard().remove(0);
        assert_eq!(number(&close[4..]), -11);
        lab.say(&[reply(1, 1, 0), notification(1, "/a"), reply(number(&close), 2, 0)].concat());
        assert_eq!(lab.events(), []);
        match answers {
            true => lab.hang_up(),
            false => lab.advance(CLOSE_TIMEOUT),
        }
        assert_eq!(lab.events(), [Event::Closed]);
        assert_eq!((lab.session.poll_timeout(), lab.connected_to.clone()), (None, None));
    }
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let mut not_utf8 = notification(1, "/a");
    *not_utf8.last_mut().unwrap() = 0xff;
    let mut negative = notification(1, "");
    negative.splice(28.., (-2i32).to_be_bytes());
    let bad: [(&str, Vec<u8>); 7] = [
        ("a reply without a header", frame(&[0; 15])),
        ("a reply that nothing was asked for", reply(3, 50, 0)),
        ("a reply out of turn", reply(2, 50, 0)),
        ("a notification without a path", frame(&[&[0xff; 12][..], &[0; 4]].concat())),
        ("a notification whose path has a negative length", negative),
        ("a notification whose path is not UTF-8", not_utf8),
        ("a zxid that went back", reply(1, 4, 0)),
    ];
    for (what, bytes) in bad {
        let mut lab = Lab::connected();
        lab.say(&reply(-2, 5, 0));
        lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
        lab.say(&bytes);
        let events = lab.events();
        assert_eq!(events[0], Event::Suspended { last_zxid: None }, "{what}");
        assert!(matches!(events[1], Event::Fault(SessionError::Protocol { .. })), "{what}");
        lab.dial();
        lab.say(&welcome(TIMEOUT_MS, 1));
        assert_eq!(lab.events(), [Event::Connected { resumed: true }], "{what}");
    }
    let mut lab = Lab::new("a", &[]);
    lab.dial();
    lab.say(&welcome(0, 0));
    assert!(is_fault(&lab.events()[0]), "a session that was not there cannot expire");
}

#[test]
fn an_xid_that_comes_again_ends_the_connection() {
    let mut lab = Lab::connected();
    for _ in 0..2 {
        lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
    }
    lab.say(&[reply(1, 50, 0), reply(1, 50, 0), reply(2, 50, 0)].concat());
    let events = lab.events();
    assert!(matches!(&events[0], Event::Reply(reply) if reply.xid == 1));
    assert_eq!(events[1], Event::Suspended { last_zxid: None });
    assert!(matches!(events[2], Event::Fault(SessionError::Protocol { .. })));
    assert_eq!(events.len(), 3);
}

#[test]
fn a_success_without_a_zxid_ends_the_connection_and_a_failure_may_have_none() {
    for zxid in [0, -1, i64::MIN] {
        let mut lab = Lab::connected();
        for _ in 0..2 {
            lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
        }
        lab.say(&reply(1, zxid, -101));
        assert!(matches!(&lab.events()[..], [Event::Reply(reply)] if reply.zxid == Zxid(zxid)));
        lab.say(&reply(2, zxid, 0));
        let events = lab.events();
        assert_eq!(events[0], Event::Suspended { last_zxid: None });
        assert!(matches!(events[1], Event::Fault(SessionError::Protocol { .. })));
    }
}

#[test]
fn a_frame_beyond_the_limit_is_told_of_with_its_length_and_the_limit() {
    let limit = LIMIT_FRAME as i32;
    for len in [limit + 1, i32::MAX, -1, i32::MIN] {
        let mut lab = Lab::connected();
        let host = lab.connected_to.as_ref().unwrap().to_string();
        lab.say(&len.to_be_bytes());
        let error = SessionError::FrameTooLong { host, len, limit: LIMIT_FRAME };
        assert!(error.to_string().ends_with(&format!(" {len} bytes; limit.frame.bytes={limit}")), "{error}");
        assert_eq!(lab.events(), [Event::Suspended { last_zxid: None }, Event::Fault(error)]);
    }
    let mut lab = Lab::connected();
    lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap();
    let mut longest = reply(1, 5, 0);
    longest.splice(..4, limit.to_be_bytes());
    longest.resize(4 + LIMIT_FRAME, 0);
    lab.say(&longest);
    assert!(matches!(&lab.events()[..], [Event::Reply(reply)] if reply.body().len() == LIMIT_FRAME - 16));
    // What answers a connect request is short, whatever the limit is.
    let mut lab = Lab::new("a", &[]);
    lab.dial();
    lab.say(&(wire::MAX_CONNECT_RESPONSE as i32 + 1).to_be_bytes());
    assert!(matches!(&lab.events()[..], [Event::Fault(SessionError::Protocol { .. })]));
}

#[test]
fn events_keep_the_order_of_the_stream_and_xids_begin_again_behind_the_last() {
    let mut lab = Lab::connected();
    lab.session.next_xid = i32::MAX;
    let xids: Vec<_> = (0..2)
        .map(|_| lab.session.request(&Request::Exists(NodePath::root()), (), lab.now).unwrap())
        .collect();
    assert_eq!(xids, [i32::MAX, 1]);
    let stream =
        [notification(1, "/a"), reply(i32::MAX, 5, -101), notification(3, "/b"), reply(1, 6, 0)].concat();
    for chunk in stream.chunks(7) {
        lab.say(chunk);
    }
    let kinds: Vec<_> = lab
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Notification(notification) => notification.path,
            Event::Reply(reply) => format!("{} {}", reply.xid, reply.error),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["/a", "2147483647 NONODE (-101)", "/b", "1 OK (0)"]);
}
