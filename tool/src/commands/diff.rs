//! `treecache diff`: two exports, or an export and the tree as it is now.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use treecache::Walk;

use crate::arguments::{DiffArguments, Place};
use crate::failure::{Failure, NO};
use crate::output::{self, Colour};
use crate::source::Source;
use crate::text;

/// What is compared of the nodes: their data.
type Nodes = BTreeMap<String, Box<[u8]>>;

pub fn run(arguments: &DiffArguments) -> Result<ExitCode, Failure> {
    let old = read(&arguments.export)?;
    let new = match (&arguments.other, &arguments.hosts, &arguments.attach) {
        (Some(file), None, None) => read(file)?,
        (None, None, None) => {
            return Err(Failure::Usage("a second EXPORT, or --hosts HOSTS, or --attach FILE".to_owned()));
        }
        // Where the export begins: paths sort behind those that they are below.
        _ => now(arguments, old.keys().next().map_or("/", |path| path))?,
    };
    let (mut out, colour) = (output::stdout(), Colour::of_stdout());
    let mut is_same = true;
    let mut theirs = new.iter().peekable();
    for (path, data) in &old {
        while let Some((path, data)) = theirs.next_if(|(other, _)| *other < path) {
            is_same = false;
            write(&mut out, colour, '+', path, data)?;
        }
        match theirs.next_if(|(other, _)| *other == path) {
            Some((_, other)) if other == data => {}
            Some((_, other)) => {
                is_same = false;
                write(&mut out, colour, '-', path, data)?;
                write(&mut out, colour, '+', path, other)?;
            }
            None => {
                is_same = false;
                write(&mut out, colour, '-', path, data)?;
            }
        }
    }
    for (path, data) in theirs {
        is_same = false;
        write(&mut out, colour, '+', path, data)?;
    }
    out.flush()?;
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn write(out: &mut impl Write, colour: Colour, sign: char, path: &str, data: &[u8]) -> Result<(), Failure> {
    let line = format!("{sign} {} {}", output::name(path), text::one_line(data));
    colour.write(out, if sign == '+' { "32" } else { "31" }, line.trim_end())?;
    writeln!(out)?;
    Ok(())
}

/// The tree as it is, from where the export begins.
fn now(arguments: &DiffArguments, root: &str) -> Result<Nodes, Failure> {
    let path = Some(root.to_owned());
    let (first, second) = match &arguments.hosts {
        Some(hosts) => (Some(hosts.clone()), path),
        None => (path, None),
    };
    let place = Place { first, second, attach: arguments.attach.clone(), given: arguments.given.clone() };
    let mut source = Source::open(&place, &[])?;
    let cut = source.cut()?;
    let mut nodes = Nodes::new();
    match cut.walk(&source.path, |path, node| {
        nodes.insert(path.to_owned(), node.data().into());
        Walk::Continue
    }) {
        // All of it is gone.
        Err(treecache::Error::NoNode(_)) | Ok(()) => Ok(nodes),
        Err(error) => Err(error.into()),
    }
}

fn read(file: &Path) -> Result<Nodes, Failure> {
    let opened = File::open(file).map_err(|error| Failure::file(file, &error))?;
    let export: Export = serde_json::from_reader(BufReader::new(opened))
        .map_err(|error| Failure::Other(format!("{}: not an export: {error}", file.display())))?;
    Ok(export.0)
}

/// An export, of which only what is compared is kept.
struct Export(Nodes);

impl<'de> Deserialize<'de> for Export {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Export, D::Error> {
        deserializer.deserialize_map(ExportVisitor)
    }
}

struct ExportVisitor;

impl<'de> Visitor<'de> for ExportVisitor {
    type Value = Export;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an export of a tree")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Export, A::Error> {
        let mut nodes = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "nodes" => nodes = Some(map.next_value::<BTreeMap<String, Bytes>>()?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let nodes = nodes.ok_or_else(|| A::Error::custom("there are no \"nodes\""))?;
        Ok(Export(nodes.into_iter().map(|(path, bytes)| (path, bytes.0)).collect()))
    }
}

/// A node, of which only the data is kept.
struct Bytes(Box<[u8]>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_map(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a node with its data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        let mut data = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => data = Some(map.next_value::<Option<String>>()?.unwrap_or_default()),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let data = data.ok_or_else(|| A::Error::custom("a node has no \"data\""))?;
        STANDARD.decode(data).map(|bytes| Bytes(bytes.into())).map_err(A::Error::custom)
    }
}
