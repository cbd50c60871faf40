//! Signatures after Standard Webhooks 1.0.0: the receiver can tell that a request is ours, is fresh, and
//! which delivery it repeats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, HeaderValue, InvalidHeaderValue};

/// Signs requests with one secret, which it never shows.
pub struct Signer {
    key: standardwebhooks::Webhook,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// A secret that is not one of Standard Webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is written whsec_ and then the base64 of 24 to 64 random bytes")]
pub struct BadSecret;

/// A request that cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("use the delivery's key as a header")]
    Key(#[from] InvalidHeaderValue),
    #[error("sign the body")]
    Body(#[from] standardwebhooks::WebhookError),
}

impl Signer {
    /// Reads a secret of the form `whsec_` and base64.
    ///
    /// # Errors
    /// [`BadSecret`] if it is not of that form, or its key is shorter than 24 bytes or longer than 64.
    pub fn new(secret: &str) -> Result<Self, BadSecret> {
        let encoded = secret.strip_prefix("whsec_").ok_or(BadSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadSecret)?;
        if !(24..=64).contains(&key.len()) {
            return Err(BadSecret);
        }
        let key = standardwebhooks::Webhook::from_bytes(key).map_err(|_| BadSecret)?;
        Ok(Self { key })
    }

    /// The three headers that identify, date and sign `body`.
    ///
    /// # Errors
    /// [`SignError`] if `id` cannot be a header or the body is not text.
    pub fn headers(
        &self,
        id: &str,
        now: DateTime<Utc>,
        body: &[u8],
    ) -> Result<HeaderMap, SignError> {
        let seconds = now.timestamp();
        let signature = self.key.sign(id, seconds, body)?;
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_str(id)?);
        headers.insert("webhook-timestamp", HeaderValue::from(seconds));
        headers.insert("webhook-signature", HeaderValue::from_str(&signature)?);
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_the_published_example() {
        // The example of the Standard Webhooks specification's reference libraries.
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a good secret");
        let now = DateTime::from_timestamp(1_614_265_330, 0).expect("valid");
        let headers = signer
            .headers(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                now,
                br#"{"test": 2432232314}"#,
            )
            .expect("signs");
        assert_eq!(
            headers["webhook-signature"],
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    }

    #[test]
    fn secrets_of_another_form_are_refused() {
        let of_length = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (secret, accepted) in [
            (of_length(23), false),
            (of_length(24), true),
            (of_length(64), true),
            (of_length(65), false),
            (of_length(32).replace("whsec_", ""), false),
            ("whsec_not base64".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(Signer::new(&secret).is_ok(), accepted, "{secret}");
        }
    }

    #[test]
    fn key_cannot_smuggle_a_header_and_the_secret_is_not_printed() {
        let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
        let signer = Signer::new(&secret).expect("a good secret");
        assert!(
            signer
                .headers("a\r\nx-evil: 1", DateTime::UNIX_EPOCH, b"{}")
                .is_err()
        );
        assert_eq!(format!("{signer:?}"), "Signer");
    }
}
