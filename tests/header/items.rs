//! What cbindgen wrote, item by item.

/// What an item is, in the order in which the items of a noun stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Constant,
    Opaque,
    Alias,
    Struct,
    Callback,
    Function,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub kind: String,
    pub comment: Vec<String>,
}

/// One declaration with its comment.
#[derive(Debug)]
pub struct Item {
    pub kind: Kind,
    pub name: String,
    /// Without what makes it a comment.
    pub comment: Vec<String>,
    /// As it stands in the header, without the comment.
    pub code: String,
    /// Of a struct.
    pub fields: Vec<Field>,
}

impl Item {
    /// What ends the life of something.
    pub fn frees(&self) -> bool {
        self.kind == Kind::Function && self.name.ends_with("_free")
    }

    /// The value of a constant.
    pub fn value(&self) -> &str {
        self.code.rsplit(' ').next().unwrap_or_default()
    }

    /// The names of this library in the declaration, each once, in order, without its own and those in its comments.
    pub fn mentions(&self) -> Vec<&str> {
        let declared = match self.kind {
            Kind::Struct => self.fields.iter().map(|field| field.kind.as_str()).collect(),
            _ => vec![self.code.as_str()],
        };
        let mut names = Vec::new();
        for name in declared.into_iter().flat_map(words) {
            if name.starts_with("tc_") && name != self.name && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// As it stands in the header.
    pub fn text(&self) -> String {
        let comment: String =
            self.comment.iter().map(|line| format!(" * {line}").trim_end().to_owned() + "\n").collect();
        format!("/**\n{comment} */\n{}\n", self.code)
    }
}

/// The names and numbers in a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_in_name(c)).filter(|word| !word.is_empty())
}

/// Whether a name of C may have it.
pub fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A header of cbindgen, taken apart.
pub struct Header {
    /// What stands before the first item.
    pub opening: String,
    pub items: Vec<Item>,
    /// What stands behind the last item.
    pub closing: String,
}

impl Header {
    /// Takes a header apart. Panics, with the line, at what it does not know: nothing is left out.
    pub fn parse(text: &str) -> Header {
        let mut lines = text.lines().peekable();
        let mut opening = String::new();
        while let Some(line) = lines.next_if(|line| *line != "/**") {
            opening += &format!("{line}\n");
        }
        let mut items = Vec::new();
        while lines.next_if_eq(&"/**").is_some() {
            items.push(item(&mut lines));
            while lines.next_if_eq(&"").is_some() {}
        }
        let closing: String = lines.map(|line| format!("{line}\n")).collect();
        assert!(!closing.contains("tc_"), "an item without a comment: {closing}");
        Header { opening, items, closing }
    }
}

/// What is left of a comment whose first line was taken.
fn comment<'t>(lines: &mut impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut comment = Vec::new();
    for line in lines {
        match line.trim_start() {
            "*/" => return comment,
            line => {
                let text = line.strip_prefix('*').unwrap_or_else(|| panic!("no line of a comment: {line}"));
                comment.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
            }
        }
    }
    panic!("a comment does not end: {comment:?}")
}

/// The item whose comment has begun.
fn item<'t>(lines: &mut impl Iterator<Item = &'t str>) -> Item {
    let comment = comment(lines);
    let mut code = Vec::new();
    for line in lines {
        code.push(line);
        let ends_struct = line.starts_with('}');
        let ends_other = line.ends_with(';') && !code[0].ends_with('{');
        if ends_struct || ends_other || line.starts_with("#define ") {
            break;
        }
    }
    let (kind, name) = declared(&code.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "));
    let fields = if kind == Kind::Struct { fields(&code[1..code.len() - 1]) } else { Vec::new() };
    Item { kind, name, comment, code: code.join("\n"), fields }
}

/// What a declaration declares, with its lines joined.
fn declared(code: &str) -> (Kind, String) {
    let unknown = || -> ! { panic!("a declaration that is not known: {code}") };
    let is_number = |text: &str| text.parse::<i64>().is_ok();
    let kind = match code.strip_prefix("typedef ") {
        Some(code) if code.contains("(*") => Kind::Callback,
        Some(code) if code.contains('{') => Kind::Struct,
        Some(code) if code.starts_with("struct ") => Kind::Opaque,
        Some(_) => Kind::Alias,
        None if matches!(code.split(' ').collect::<Vec<_>>()[..], ["#define", _, value] if is_number(value)) => {
            Kind::Constant
        }
        None if code.ends_with(");") => Kind::Function,
        None => unknown(),
    };
    let name = match kind {
        Kind::Constant => words(code).nth(1),
        Kind::Callback => code.split("(*").nth(1).and_then(|behind| words(behind).next()),
        Kind::Function => code.split('(').next().and_then(|before| words(before).last()),
        Kind::Opaque | Kind::Alias | Kind::Struct => words(code).last(),
    };
    match name {
        Some(name) if name.starts_with("tc_") || name.starts_with("TC_") => (kind, name.to_owned()),
        _ => unknown(),
    }
}

fn fields(code: &[&str]) -> Vec<Field> {
    let mut lines = code.iter().copied();
    let mut fields = Vec::new();
    while let Some(line) = lines.next() {
        assert_eq!(line.trim(), "/**", "a field without a comment");
        let comment = comment(&mut lines);
        let code = lines.next().unwrap_or_default().trim().trim_end_matches(';');
        let name = words(code).last().unwrap_or_default();
        assert!(!code.contains([':', '[']) && code.ends_with(name), "a field that is not known: {code}");
        let kind = code[..code.len() - name.len()].trim_end().to_owned();
        fields.push(Field { name: name.to_owned(), kind, comment });
    }
    fields
}

#[test]
fn what_a_header_declares_is_taken() {
    for (code, kind, name) in [
        ("#define TC_ERR_NO_NODE -2", Kind::Constant, "TC_ERR_NO_NODE"),
        ("typedef struct tc_cache tc_cache;", Kind::Opaque, "tc_cache"),
        ("typedef int32_t tc_state;", Kind::Alias, "tc_state"),
        ("typedef void (*tc_log_fn)(int32_t level, void *user);", Kind::Callback, "tc_log_fn"),
        ("const char *tc_version(void);", Kind::Function, "tc_version"),
        ("int32_t tc_new(struct tc_client *client,\n               void *out);", Kind::Function, "tc_new"),
    ] {
        let item = &Header::parse(&documented(code)).items[0];
        assert_eq!((item.kind, &*item.name, &*item.code), (kind, name, code));
        assert_eq!(item.text(), documented(code));
    }
}

#[test]
fn a_struct_has_its_fields() {
    let fields = documented("const char *const *names;") + &documented("size_t len;");
    let code = format!("typedef struct tc_children {{\n{fields}}} tc_children;");
    let item = &Header::parse(&documented(&code)).items[0];
    let fields = item.fields.iter().map(|field| (&*field.kind, &*field.name));
    assert_eq!(fields.collect::<Vec<_>>(), [("const char *const *", "names"), ("size_t", "len")]);
}

#[test]
fn what_is_not_known_is_refused() {
    let unnamed = "size_t tc_len(void);\n".to_owned();
    let field = documented("typedef struct tc_node {\nsize_t data_len;\n} tc_node;");
    let bits = format!("typedef struct tc_bits {{\n{}}} tc_bits;", documented("uint32_t bits : 3;"));
    let others = [
        "enum tc_color { RED };",
        "union tc_number { int32_t i; };",
        "extern int32_t tc_errno;",
        "#define TC_MAX(a, b) ((a) > (b) ? (a) : (b))",
        "#define TC_ERR_NAME \"name\"",
        "static inline int32_t tc_inline(void) { return 0; }",
        "int32_t banana(void);",
        &bits,
    ];
    let known = documented("#define TC_OK 0");
    for text in others.map(documented).into_iter().chain([known + &unnamed, field]) {
        assert!(std::panic::catch_unwind(|| Header::parse(&text)).is_err(), "{text}");
    }
}

fn documented(code: &str) -> String {
    format!("/**\n * Something.\n */\n{code}\n")
}
