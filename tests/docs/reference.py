"""scripts/reference leaves nothing of a header out: it fails instead."""

import importlib.machinery
import importlib.util
import pathlib
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts/reference"


def load():
    loader = importlib.machinery.SourceFileLoader("reference", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("reference", loader))
    loader.exec_module(module)
    return module


reference = load()


def header(*declarations):
    return "\n".join(["/*", " * Rules.", " */", *declarations, ""])


def documented(declaration, text="Something."):
    return f"/**\n * {text}\n */\n{declaration}"


class Parsing(unittest.TestCase):
    def parse(self, *declarations):
        return reference.parse(header(*declarations))[1]

    def assert_refused(self, *declarations):
        with self.assertRaises(SystemExit):
            self.parse(*declarations)

    def test_what_a_header_declares_is_taken(self):
        for declaration, kind, name in [
            ("#define TC_ERR_NO_NODE -2", "constant", "TC_ERR_NO_NODE"),
            ("typedef struct tc_cache tc_cache;", "opaque", "tc_cache"),
            ("typedef int32_t tc_state;", "alias", "tc_state"),
            ("typedef void (*tc_log_fn)(int32_t level, void *user);", "callback", "tc_log_fn"),
            ("const char *tc_version(void);", "function", "tc_version"),
            ("int32_t tc_new(struct tc_client *client,\n               struct tc_cache **out);", "function", "tc_new"),
        ]:
            (item,) = self.parse(documented(declaration))
            self.assertEqual((item.kind, item.name, item.code), (kind, name, declaration))

    def test_a_struct_has_its_fields(self):
        fields = documented("const char *const *names;") + "\n" + documented("size_t len;")
        (item,) = self.parse(documented(f"typedef struct tc_children {{\n{fields}\n}} tc_children;"))
        self.assertEqual([(f.code, f.name) for f in item.fields], [("const char *const *", "names"), ("size_t", "len")])

    def test_what_is_not_understood_is_refused(self):
        for declaration in [
            "enum tc_color { RED };",
            "union tc_number { int32_t i; };",
            "extern int32_t tc_errno;",
            "#define TC_MAX(a, b) ((a) > (b) ? (a) : (b))",
            "#define TC_ERR_NAME \"name\"",
            "static inline int32_t tc_inline(void) { return 0; }",
            "typedef struct tc_bits {\n/**\n * Bits.\n */\nuint32_t bits : 3;\n} tc_bits;",
        ]:
            self.assert_refused(documented(declaration))

    def test_a_declaration_without_a_comment_is_refused(self):
        self.assert_refused("const char *tc_version(void);")
        self.assert_refused(documented("typedef struct tc_node {\nsize_t data_len;\n} tc_node;"))


class Page(unittest.TestCase):
    def test_a_name_without_a_section_is_refused(self):
        with self.assertRaises(SystemExit):
            reference.section_of(reference.Item("function", "tc_banana", [], "", 1))

    def test_a_comment_that_names_what_is_not_there_is_refused(self):
        rules, items = reference.parse(reference.HEADER.read_text(encoding="utf-8"))
        reference.Page(rules, items).render()
        items[-1].text = ["As `tc_banana`."]
        with self.assertRaises(SystemExit):
            reference.Page(rules, items).render()


if __name__ == "__main__":
    unittest.main()
