//! How text reaches a page. Every `{{ … }}` of a page template goes through [`PageText`] (named in
//! `askama.toml`), because names of models, features, categories and labels come from outside: besides the
//! five characters of HTML it makes control and bidirectional characters visible, so that a name cannot
//! reorder or hide the words around it.

use std::fmt::{Result, Write};

use askama::filters::Escaper;

/// The escaper of all page templates.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageText;

impl Escaper for PageText {
    fn write_escaped_str<W: Write>(&self, mut to: W, text: &str) -> Result {
        for c in text.chars() {
            self.write_escaped_char(&mut to, c)?;
        }
        Ok(())
    }

    fn write_escaped_char<W: Write>(&self, mut to: W, c: char) -> Result {
        match c {
            '&' => to.write_str("&amp;"),
            '<' => to.write_str("&lt;"),
            '>' => to.write_str("&gt;"),
            '"' => to.write_str("&quot;"),
            '\'' => to.write_str("&#39;"),
            c if is_deceptive(c) => write!(to, "⟨U+{:04X}⟩", u32::from(c)),
            c => to.write_char(c),
        }
    }
}

/// The text with characters that would deceive a reader written out.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON that can stand inside a `<script type="application/json">` element: nothing in it can end the
/// element or begin a comment.
#[must_use]
pub fn json_for_script(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value)
        .expect("chart data are numbers, texts and lists, which always serialise");
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Encodes one segment of a path.
#[must_use]
pub fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
        || (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_loses_its_power_and_stays_readable() {
        let mut out = String::new();
        PageText
            .write_escaped_str(
                &mut out,
                "<script>alert('1')</script> \"&\" \u{202e}gpj.exe",
            )
            .expect("writes");
        assert_eq!(
            out,
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &quot;&amp;&quot; ⟨U+202E⟩gpj.exe"
        );
        assert_eq!(visible("a\u{202e}b\u{7}"), "a⟨U+202E⟩b⟨U+0007⟩");
    }

    #[test]
    fn json_cannot_leave_its_element_and_means_the_same() {
        let hostile = "</script><!-- & \u{2028}";
        let json = json_for_script(&hostile);
        assert!(!json.contains('<') && !json.contains('>') && !json.contains('&'));
        assert_eq!(
            serde_json::from_str::<String>(&json).expect("parses"),
            hostile
        );
    }

    #[test]
    fn path_segments_hold_any_name() {
        assert_eq!(path_segment("a/b ?#é"), "a%2Fb%20%3F%23%C3%A9");
    }
}
