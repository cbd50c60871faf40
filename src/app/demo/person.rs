//! The scripted person: signs in like anybody, opens the page of a run, and decides by its form. The forms are
//! the way in, so that what the demo shows is what a person can do.

use anyhow::{Context, bail};

use super::client::Browser;

/// A signed-in person.
#[derive(Debug)]
pub(super) struct Person {
    browser: Browser,
}

impl Person {
    /// Signs in through the page.
    pub(super) async fn sign_in(server: &str, email: &str, password: &str) -> anyhow::Result<Self> {
        let browser = Browser::new(server)?;
        let form = [("email", email), ("password", password)];
        let landed = browser
            .submit("/sign-in", &form)
            .await
            .context("sign the demo's person in")?;
        if landed.ends_with("/sign-in") {
            bail!("sign the demo's person in: the password was not taken");
        }
        Ok(Self { browser })
    }

    /// Approves what a run asks.
    pub(super) async fn approve(
        &self,
        run_id: &str,
        approval_id: &str,
        reason: &str,
    ) -> anyhow::Result<()> {
        let page = self.browser.page(&format!("/runs/{run_id}")).await?;
        let csrf =
            hidden_value(&page, "csrf").context("find the form's token on the page of the run")?;
        let form = [("csrf", csrf), ("decision", "approve"), ("reason", reason)];
        self.browser
            .submit(&format!("/approvals/{approval_id}"), &form)
            .await?;
        Ok(())
    }
}

/// The value of a hidden field of a page's forms.
fn hidden_value<'p>(page: &'p str, name: &str) -> Option<&'p str> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_field_is_found_by_name() {
        let page =
            r#"<form><input type="hidden" name="csrf" value="abc"><input name="reason"></form>"#;
        assert_eq!(hidden_value(page, "csrf"), Some("abc"));
        assert_eq!(hidden_value(page, "other"), None);
    }
}
