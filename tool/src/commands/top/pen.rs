//! One line, written from left to right into its place on a screen, and never beyond that.

use ratatui::buffer::Buffer;
use ratatui::style::{Modifier, Style};
use unicode_width::UnicodeWidthChar;

use super::look::{Look, Part};
use crate::text::{self, Sign};

pub struct Pen<'b> {
    buffer: &'b mut Buffer,
    look: Look,
    row: u16,
    column: u16,
    style: Style,
    is_reversed: bool,
}

/// A character as it is written, and how many columns it takes.
type Glyph = (String, u16);

impl<'b> Pen<'b> {
    /// At the beginning of a line of the screen. If the screen has no such line, nothing is written.
    pub fn new(buffer: &'b mut Buffer, row: u16, look: Look) -> Pen<'b> {
        Pen { buffer, look, row, column: 0, style: Style::new(), is_reversed: false }
    }

    /// From now on everything is reversed.
    pub fn reverse(&mut self) {
        self.is_reversed = true;
        self.set(Part::Plain);
    }

    /// What follows is of this kind.
    pub fn set(&mut self, part: Part) {
        self.style = self.look.style(part);
        if self.is_reversed {
            self.style = self.style.add_modifier(Modifier::REVERSED);
        }
    }

    pub fn look(&self) -> Look {
        self.look
    }

    pub fn column(&self) -> u16 {
        self.column
    }

    pub fn width(&self) -> u16 {
        self.buffer.area.width
    }

    /// Names, paths and our own words.
    pub fn put(&mut self, text: &str) {
        self.put_within(text, u16::MAX);
    }

    /// As [`put`](Self::put), in so many columns. If not all fits, an ellipsis is the last.
    pub fn put_within(&mut self, text: &str, columns: u16) {
        self.put_signs(text::signs_of_name(text), columns);
    }

    /// As [`put_within`](Self::put_within), but it is the beginning that is left out: the end of a path tells more.
    pub fn put_end_within(&mut self, text: &str, columns: u16) {
        let columns = columns.min(self.left());
        // A character may be escaped, but takes at least one column: so no more of them are of use.
        let first = text.char_indices().rev().nth(usize::from(columns)).map_or(0, |(at, _)| at);
        let (look, end) = (self.look, &text[first..]);
        let mut glyphs: Vec<Glyph> = text::signs_of_name(end).map(|sign| glyph(look, sign)).collect();
        let width = |glyphs: &[Glyph]| glyphs.iter().map(|(_, width)| usize::from(*width)).sum::<usize>();
        if first > 0 || width(&glyphs) > usize::from(columns) {
            while !glyphs.is_empty() && width(&glyphs) + 1 > usize::from(columns) {
                glyphs.remove(0);
            }
            if columns > 0 {
                self.write(look.signs().ellipsis, 1);
            }
        }
        glyphs.iter().for_each(|(sign, width)| self.write(sign, *width));
    }

    /// Data, up to the end of the line.
    pub fn put_data(&mut self, data: &[u8]) {
        self.put_signs(text::signs_of_data(data), u16::MAX);
    }

    fn put_signs(&mut self, signs: impl Iterator<Item = Sign>, columns: u16) {
        let end = self.column + columns.min(self.left());
        // What would end in the last column: whether it stays is up to what follows.
        let mut last: Option<Glyph> = None;
        for sign in signs {
            let (sign, width) = glyph(self.look, sign);
            if last.is_some() || self.column + width > end {
                if self.column < end {
                    self.write(self.look.signs().ellipsis, 1);
                }
                return;
            }
            match self.column + width == end {
                true => last = Some((sign, width)),
                false => self.write(&sign, width),
            }
        }
        if let Some((sign, width)) = last {
            self.write(&sign, width);
        }
    }

    /// Leaves out what is before a column.
    pub fn move_to(&mut self, column: u16) {
        self.column = column;
    }

    /// Blanks up to a column.
    pub fn pad_to(&mut self, column: u16) {
        while self.column < column && self.left() > 0 {
            self.write(" ", 1);
        }
    }

    /// Right-aligned, to end before the column.
    pub fn put_before(&mut self, column: u16, text: &str) {
        self.pad_to(column.saturating_sub(columns_of(self.look, text)));
        self.put(text);
    }

    fn left(&self) -> u16 {
        self.width().saturating_sub(self.column)
    }

    fn write(&mut self, sign: &str, width: u16) {
        let area = self.buffer.area;
        if self.row < area.height && width <= self.left() {
            self.buffer.set_stringn(
                area.x + self.column,
                area.y + self.row,
                sign,
                usize::from(width),
                self.style,
            );
        }
        self.column = self.column.saturating_add(width);
    }
}

/// How many columns a text takes.
pub fn columns_of(look: Look, text: &str) -> u16 {
    text::signs_of_name(text).fold(0u16, |columns, sign| columns.saturating_add(glyph(look, sign).1))
}

/// What has no width, or is none of the terminal's characters, is escaped too.
fn glyph(look: Look, sign: Sign) -> Glyph {
    let width =
        |c: char| if look.is_utf8 || c.is_ascii() { c.width().filter(|width| *width > 0) } else { None };
    match sign {
        Sign::Plain(c) => match width(c) {
            Some(columns) => (c.to_string(), columns as u16),
            None => glyph(look, Sign::escaped(c)),
        },
        Sign::Escaped(text) => {
            let columns = text.len() as u16;
            (text, columns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::Palette;
    use super::*;
    use ratatui::layout::Rect;

    fn written(width: u16, write: impl FnOnce(&mut Pen<'_>)) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 1));
        write(&mut Pen::new(&mut buffer, 0, Look { palette: Palette::Many, is_utf8: true }));
        (0..width).map(|column| buffer[(column, 0)].symbol()).collect()
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(written(5, |pen| pen.put("abcde")), "abcde");
        assert_eq!(written(5, |pen| pen.put("abcdef")), "abcd…");
        assert_eq!(written(5, |pen| pen.put_within("abc", 2)), "a…   ");
        assert_eq!(written(5, |pen| pen.put_within("abc", 0)), "     ");
        assert_eq!(written(0, |pen| pen.put("abc")), "");
        // An escape is shown as a whole or not at all.
        assert_eq!(written(5, |pen| pen.put_data(b"ab\x1bc")), "ab…  ");
        assert_eq!(written(4, |pen| pen.put_data(b"a\\b")), "a\\\\b");
        assert_eq!(written(4, |pen| pen.put_data(b"ab\\c")), "ab… ");
    }

    #[test]
    fn of_a_long_path_the_end_is_shown() {
        assert_eq!(written(5, |pen| pen.put_end_within("/a/b", 5)), "/a/b ");
        assert_eq!(written(5, |pen| pen.put_end_within("/ab/cd", 5)), "…b/cd");
        assert_eq!(written(5, |pen| pen.put_end_within("/ab/cd", 0)), "     ");
        assert_eq!(written(9, |pen| pen.put_end_within("/\u{202e}/c", 9)), "…/c      ");
        assert_eq!(written(5, |pen| pen.put_end_within(&"é".repeat(100_000), 3)), "…éé  ");
    }

    #[test]
    fn wide_characters_take_two_columns_and_those_of_no_width_are_escaped() {
        assert_eq!(written(6, |pen| pen.put("日本x")), "日 本 x ");
        assert_eq!(written(3, |pen| pen.put("日本")), "日 …");
        assert_eq!(written(9, |pen| pen.put("e\u{301}")), "e\\u{301} ");
    }

    #[test]
    fn in_ascii_everything_else_is_escaped() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
        Pen::new(&mut buffer, 0, Look { palette: Palette::None, is_utf8: false })
            .put_data("größe".as_bytes());
        let written: String = (0..12u16).map(|column| buffer[(column, 0)].symbol()).collect();
        assert_eq!(written, "gr\\u{f6}~   ");
    }

    #[test]
    fn numbers_end_before_their_column() {
        assert_eq!(written(6, |pen| pen.put_before(5, "12")), "   12 ");
        assert_eq!(written(6, |pen| pen.put_before(1, "123")), "123   ");
    }

    #[test]
    fn beyond_the_screen_nothing_is_written() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        Pen::new(&mut buffer, 7, Look { palette: Palette::Many, is_utf8: true }).put("abc");
        assert_eq!(buffer, Buffer::empty(Rect::new(0, 0, 2, 1)));
    }
}
