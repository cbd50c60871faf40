//! Runbook texts for people, from Markdown to HTML. Raw HTML in the text is shown, not obeyed, and a link
//! must lead to the web or to a page of ours.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

/// HTML that came out of [`render`] and may stand in a page as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered(String);

impl Rendered {
    /// The markup.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Renders a Markdown text. Headings sink by two levels, because the page has its own above them.
#[must_use]
pub fn render(text: &str) -> Rendered {
    let visible = super::escape::visible(text);
    let events = Parser::new_ext(&visible, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Heading {
            level,
            id,
            classes,
            attrs,
        }) => Event::Start(Tag::Heading {
            level: sunk(level),
            id,
            classes,
            attrs,
        }),
        Event::End(pulldown_cmark::TagEnd::Heading(level)) => {
            Event::End(pulldown_cmark::TagEnd::Heading(sunk(level)))
        }
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: safe_address(dest_url),
            title,
            id,
        }),
        // An image would call another host, which the content security policy refuses anyway.
        Event::Start(Tag::Image { dest_url, .. }) => Event::Text(dest_url),
        Event::End(pulldown_cmark::TagEnd::Image) => Event::Text(CowStr::Borrowed("")),
        other => other,
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    Rendered(out)
}

fn sunk(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    use pulldown_cmark::HeadingLevel::{H1, H3, H4, H5, H6};
    match level {
        H1 => H3,
        pulldown_cmark::HeadingLevel::H2 => H4,
        H3 => H5,
        _ => H6,
    }
}

fn safe_address(address: CowStr<'_>) -> CowStr<'_> {
    let lower = address.to_ascii_lowercase();
    let ours = lower.starts_with('/') && !lower.starts_with("//") && !lower.starts_with("/\\");
    let allowed = ours
        || lower.starts_with('#')
        || ["https://", "http://", "mailto:"]
            .iter()
            .any(|scheme| lower.starts_with(scheme));
    if allowed {
        address
    } else {
        CowStr::Borrowed("#")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_html_and_raw_html_becomes_text() {
        let html = render("# Look\n\n<script>alert(1)</script>\n\na <b onclick=x>b</b> `code`");
        assert!(html.as_str().contains("<h3>Look</h3>"));
        assert!(!html.as_str().contains("<script") && !html.as_str().contains("<b "));
        assert!(html.as_str().contains("&lt;script&gt;"));
        assert!(html.as_str().contains("<code>code</code>"));
    }

    #[test]
    fn links_lead_to_the_web_or_to_our_pages() {
        for (address, kept) in [
            ("https://example.org/a", true),
            ("/alerts", true),
            ("mailto:team@example.org", true),
            ("javascript:alert(1)", false),
            ("JaVaScRiPt:alert(1)", false),
            ("data:text/html,x", false),
            ("//example.org", false),
        ] {
            let html = render(&format!("[x]({address})"));
            assert_eq!(
                html.as_str().contains(&format!("href=\"{address}\"")),
                kept,
                "{address}: {}",
                html.as_str()
            );
        }
        assert!(
            !render("![x](https://example.org/pixel.png)")
                .as_str()
                .contains("<img")
        );
    }
}
