//! `include/treecache.h` is what cbindgen makes of `src/ffi/`. `TREECACHE_BLESS=1` writes it anew.

use std::path::Path;

/// The files of `src/ffi/` in the order of the header.
const SOURCES: [&str; 16] = [
    "status", "boundary", "log", "error", "config", "fault", "client", "node", "children", "event", "state",
    "cache", "stats", "snapshot", "item", "queue",
];

fn generated(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root.join("src/ffi").join(source).with_extension("rs"))
    });
    let mut header = Vec::new();
    builder.generate().expect("cbindgen understands src/ffi").write(&mut header);
    String::from_utf8(header).expect("a header is text")
}

#[test]
fn the_committed_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("include/treecache.h");
    let generated = generated(root);
    if std::env::var_os("TREECACHE_BLESS").is_some() {
        std::fs::write(&file, &generated).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == generated, "{} is stale: run with TREECACHE_BLESS=1", file.display());
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

#[test]
fn the_header_has_only_names_of_this_library() {
    let header = generated(Path::new(env!("CARGO_MANIFEST_DIR")));
    for line in header.lines() {
        let name = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["#define", name, ..] => name,
            ["typedef", .., name] => name.trim_end_matches(';'),
            _ => continue,
        };
        let ours = ["tc_", "TC_"].iter().any(|prefix| name.starts_with(prefix));
        assert!(ours || line.contains("(*tc_") || name == "{", "{line}");
    }
}
