//! `include/treecache.h` is what cbindgen makes of `src/ffi/`, laid out by noun, and `docs/reference.md` says the same to
//! people. `TREECACHE_BLESS=1` writes both anew.

mod items;
mod nouns;
mod reference;

use std::path::Path;

use items::Header;

/// The files of `src/ffi/`; what stands where in the header is said by [`nouns::NOUNS`].
const SOURCES: [&str; 17] = [
    "status", "boundary", "log", "error", "config", "fault", "client", "node", "children", "event", "state",
    "cache", "stats", "snapshot", "walk", "item", "queue",
];

fn generated(root: &Path) -> Header {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root.join("src/ffi").join(source).with_extension("rs"))
    });
    let mut header = Vec::new();
    builder.generate().expect("cbindgen understands src/ffi").write(&mut header);
    Header::parse(&String::from_utf8(header).expect("a header is text"))
}

fn assert_is(root: &Path, file: &str, text: &str) {
    let file = root.join(file);
    if std::env::var_os("TREECACHE_BLESS").is_some() {
        std::fs::write(&file, text).expect("it can be written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{} is stale: run with TREECACHE_BLESS=1", file.display());
}

#[test]
fn the_committed_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_is(root, "include/treecache.h", &nouns::header(generated(root)));
}

#[test]
fn the_committed_reference_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = generated(root);
    assert_is(root, "docs/reference.md", &reference::reference(&header.opening, header.items));
}

#[test]
#[should_panic = "tc_banana is no noun's"]
fn an_item_of_no_noun_is_refused() {
    nouns::header(Header::parse("/**\n * Something.\n */\nvoid tc_banana(void);\n"));
}

#[test]
#[should_panic = "tc_event needs tc_queue, which comes later"]
fn what_is_used_before_it_is_declared_is_refused() {
    let mut header = generated(Path::new(env!("CARGO_MANIFEST_DIR")));
    let event = header.items.iter_mut().find(|item| item.name == "tc_event").expect("it is there");
    event.fields[0].kind = "struct tc_queue *".to_owned();
    nouns::header(header);
}

#[test]
#[should_panic = "a comment speaks of tc_banana"]
fn a_comment_that_names_what_is_not_there_is_refused() {
    let mut header = generated(Path::new(env!("CARGO_MANIFEST_DIR")));
    header.items[0].comment = vec!["As `tc_banana`.".to_owned()];
    reference::reference(&header.opening, header.items);
}

#[test]
fn every_file_of_the_c_api_is_in_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ffi");
    for entry in std::fs::read_dir(root).expect("src/ffi is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("names are UTF-8");
        let text = std::fs::read_to_string(&path).expect("it can be read");
        assert!(SOURCES.contains(&name) || !text.contains("no_mangle)]"), "{name} is missing in SOURCES");
    }
}
