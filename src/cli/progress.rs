//! A bar that shows how far an import has come, where somebody watches.

use std::io::{IsTerminal, Write};

const WIDTH: usize = 24;

/// The bar; silent where standard error is no terminal.
#[derive(Debug)]
pub struct Bar {
    shown: bool,
    files: usize,
    done: usize,
    rows: u64,
}

impl Bar {
    pub fn of(files: usize) -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
            files,
            done: 0,
            rows: 0,
        }
    }

    /// Rows have been taken.
    pub fn rows(&mut self, rows: u64) {
        self.rows += rows;
        self.draw();
    }

    /// A file is done.
    pub fn file(&mut self) {
        self.done += 1;
        self.draw();
    }

    fn draw(&self) {
        if self.shown {
            let mut stderr = std::io::stderr().lock();
            // A terminal that is gone is no reason to stop.
            let _ = write!(stderr, "\r{}", self.text());
            let _ = stderr.flush();
        }
    }

    fn text(&self) -> String {
        let filled = (self.done * WIDTH).checked_div(self.files).unwrap_or(WIDTH);
        let bar = "#".repeat(filled) + &".".repeat(WIDTH - filled);
        format!(
            "[{bar}] {} of {} files, {} rows",
            self.done, self.files, self.rows
        )
    }

    /// Gives the line back.
    pub fn end(&self) {
        if self.shown {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_far_it_is() {
        let mut bar = Bar::of(4);
        assert_eq!(
            bar.text(),
            "[........................] 0 of 4 files, 0 rows"
        );
        bar.rows(1_000);
        bar.file();
        assert_eq!(
            bar.text(),
            "[######..................] 1 of 4 files, 1000 rows"
        );
        assert!(Bar::of(0).text().starts_with("[########"));
    }
}
