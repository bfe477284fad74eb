//! What a server tells without a session: four-letter words, and the date in an answer of its AdminServer. None of it is
//! believed to be more than text.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// No answer is longer.
const LONGEST: usize = 1 << 16;
/// The AdminServer's port, where nobody has said another.
const ADMIN_PORT: u16 = 8080;

/// What a server says of itself.
pub struct Srvr {
    pub version: String,
    pub mode: String,
    pub zxid: i64,
}

impl Srvr {
    /// `None`: it is no answer to `srvr`.
    pub fn read(answer: &str) -> Option<Srvr> {
        let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // Behind it stands what it was built from.
        let version = field("Zookeeper version:")?.split([',', ' ', '-']).next()?;
        let zxid = i64::from_str_radix(field("Zxid:")?.trim_start_matches("0x"), 16).ok()?;
        Some(Srvr { version: version.to_owned(), mode: field("Mode:")?.to_owned(), zxid })
    }
}

/// Asks a server for a four-letter word.
pub fn four_letter(address: SocketAddr, word: &str, patience: Duration) -> io::Result<String> {
    ask(address, word.as_bytes(), patience)
}

/// How many seconds a server's clock is ahead of the one here.
pub fn clock_ahead(address: SocketAddr, patience: Duration) -> Option<f64> {
    let admin = SocketAddr::new(address.ip(), ADMIN_PORT);
    let request = b"GET /commands/ruok HTTP/1.0\r\n\r\n";
    let answer = ask(admin, request, patience.min(Duration::from_secs(2))).ok()?;
    let date = answer.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| value.trim())
    })?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(seconds_of(date)? as f64 - here)
}

fn ask(address: SocketAddr, request: &[u8], patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request)?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while answer.len() < LONGEST {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Seconds since 1970 of a date as in HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<_> = date.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year) = (day.parse::<i64>().ok()?, year.parse::<i64>().ok()?);
    let clock: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    let is_date = (1..=31).contains(&day) && (1970..=9999).contains(&year);
    if !is_date || !(0..24).contains(&hours) || !(0..60).contains(&minutes) || !(0..=60).contains(&seconds) {
        return None;
    }
    // Years begin with March, so that the day that some of them have more comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read_and_nonsense_is_none() {
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Tue, 29 Feb 2028 23:59:59 GMT"), Some(1_835_481_599));
        for nonsense in
            ["", "Sun", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT", "a b Jan d e GMT"]
        {
            assert_eq!(seconds_of(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let answer = "Zookeeper version: 3.8.0-5a02a05, built on 2022\nLatency min/avg/max: 0/0/0\nZxid: 0x100000002\nMode: follower\n";
        let srvr = Srvr::read(answer).unwrap();
        assert_eq!((&*srvr.version, &*srvr.mode, srvr.zxid), ("3.8.0", "follower", 0x1_0000_0002));
        assert!(Srvr::read("srvr is not executed because it is not in the whitelist.").is_none());
    }
}
