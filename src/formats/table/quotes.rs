//! Quotation marks of CSV that take what is not theirs.
//!
//! The library takes a cell whose quotation mark is never closed to the end of the file, without a word, and with it every row
//! that is left. So does one that is closed by the first mark of another cell, lines later. What passes through here is followed
//! by the same rules, and both are told.

use std::io::{self, Read};

/// Passes bytes on and follows what a quotation mark in them means.
#[derive(Debug)]
pub(super) struct Quotes<R> {
    reader: R,
    state: State,
    line: u64,
    /// Where the cell began that is quoted, or was.
    opened: u64,
    fault: Option<(u64, &'static str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first character of a cell.
    Start,
    /// In a cell without quotes, or behind them.
    Plain,
    Quoted,
    /// Behind a mark in a quoted cell: its end, or half of a doubled one.
    Mark,
}

impl<R> Quotes<R> {
    pub(super) fn of(reader: R) -> Self {
        Self {
            reader,
            state: State::Start,
            line: 1,
            opened: 1,
            fault: None,
        }
    }

    /// The first fault in what has passed: the line on which its quotation mark was opened, and the cause.
    pub(super) fn fault(&self) -> Option<(u64, &'static str)> {
        self.fault
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            let passed = match self.state {
                State::Mark => {
                    self.state = self.behind_mark(*first);
                    1
                }
                // Of all that comes before the next mark only the last character matters, and the lines.
                before => {
                    let mark = bytes.iter().position(|byte| *byte == b'"');
                    let passed = &bytes[..mark.unwrap_or(bytes.len())];
                    if before != State::Quoted
                        && let Some(last) = passed.last()
                    {
                        self.state = behind(*last);
                    }
                    self.line += lines(passed);
                    if mark.is_some() {
                        self.mark();
                    }
                    passed.len() + usize::from(mark.is_some())
                }
            };
            bytes = &bytes[passed..];
        }
    }

    fn mark(&mut self) {
        self.state = match self.state {
            State::Start => {
                self.opened = self.line;
                State::Quoted
            }
            State::Quoted => State::Mark,
            State::Mark | State::Plain => State::Plain,
        };
    }

    fn behind_mark(&mut self, byte: u8) -> State {
        let is_late = self.opened < self.line;
        self.line += lines(&[byte]);
        match (byte, behind(byte)) {
            (b'"', _) => State::Quoted,
            // On one line a person may have meant it.
            (_, State::Plain) if is_late => {
                let cause = "a quotation mark is opened, and closed only lines later in the middle of a cell";
                self.fault.get_or_insert((self.opened, cause));
                State::Plain
            }
            (_, state) => state,
        }
    }

    fn end(&mut self) {
        if self.state == State::Quoted {
            let cause = "a quotation mark is opened and never closed: the file is cut short, or a mark is missing";
            self.fault.get_or_insert((self.opened, cause));
        }
    }
}

/// Where a character outside quotes leaves off.
fn behind(byte: u8) -> State {
    match byte {
        b',' | b'\n' | b'\r' => State::Start,
        _ => State::Plain,
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.end();
        }
        self.follow(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_take_other_cells_are_told_with_their_line_and_others_are_not() {
        let cases: [(&str, Option<u64>); 13] = [
            ("", None),
            ("a,b\n1,2\n", None),
            ("a\n\"x\"\n\"y, \"\"z\"\"\"", None),
            ("a,b\n1,\"two\nlines\"\r\n2,\"\"\n", None),
            ("a\n5\" disk\n6\"", None),
            ("a,b\n\"one\" line,2\n", None),
            ("a,b\n\"\n\",\"\n\"", None),
            ("a,b\n1,2\n3,\"x\n4,5\n", Some(3)),
            ("a\n\"x", Some(2)),
            ("a\n\"x\"\"", Some(2)),
            ("a,\"b\n1,2\n", Some(1)),
            ("a,b\n1,\"x\n2,y\n3,\"z\"\n", Some(2)),
            ("a\r1\r\"x\r", Some(1)),
        ];
        for (text, line) in cases {
            // However the file is cut into buffers.
            for size in [1, 2, 3, 1_000] {
                let mut quotes = Quotes::of(text.as_bytes());
                let mut buffer = vec![0; size];
                let mut passed = Vec::new();
                loop {
                    let read = quotes.read(&mut buffer).expect("bytes of memory");
                    if read == 0 {
                        break;
                    }
                    passed.extend_from_slice(&buffer[..read]);
                }
                assert_eq!(passed, text.as_bytes());
                assert_eq!(quotes.fault().map(|(line, _)| line), line, "{text:?}");
            }
        }
    }
}
