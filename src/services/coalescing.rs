//! One look-up for all who ask for the same thing at the same time.
//!
//! It is not a cache: whoever asks gets an answer that was looked up after the asking, so a revoked token or a
//! new champion counts from the next request on, in every replica. But while one look-up is under way, all
//! further callers wait for the next one together: however many requests there are, each thing is looked up by
//! one query at a time. So a look-up has to end by itself, whatever the database does: everybody waits for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Error;

type Waiting<V> = Vec<oneshot::Sender<Result<V, Error>>>;

/// Look-ups by key.
#[derive(Debug)]
pub(super) struct Coalescing<K, V> {
    /// Who waits for the next look-up, of keys that are being looked up.
    waiting: Arc<Mutex<HashMap<K, Waiting<V>>>>,
}

impl<K, V> Clone for Coalescing<K, V> {
    fn clone(&self) -> Self {
        Self {
            waiting: self.waiting.clone(),
        }
    }
}

impl<K, V> Default for Coalescing<K, V> {
    fn default() -> Self {
        Self {
            waiting: Arc::default(),
        }
    }
}

impl<K, V> Coalescing<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// What `look_up` finds for the key, begun no earlier than now.
    ///
    /// # Errors
    /// Those of `look_up`.
    pub(super) async fn get<F>(
        &self,
        key: K,
        look_up: impl Fn() -> F + Send + 'static,
    ) -> Result<V, Error>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let idle = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = !waiting.contains_key(&key);
            waiting.entry(key.clone()).or_default().push(answer);
            idle
        };
        if idle {
            tokio::spawn(self.clone().answer(key, look_up));
        }
        answered
            .await
            .map_err(|_| Error::internal("a look-up ended without an answer"))?
    }

    async fn answer<F>(self, key: K, look_up: impl Fn() -> F + Send)
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        while let Some(waiting) = self.next(&key) {
            // In a task of its own, so that those who wait are told when it panics.
            let looked_up = tokio::spawn(look_up()).await;
            let answer = looked_up.unwrap_or_else(|panic| Err(Error::internal(panic)));
            for caller in waiting {
                // A caller that has gone away needs no answer.
                let _ = caller.send(answer.clone());
            }
        }
    }

    /// Those who wait; nobody, and the key is forgotten, when there are none.
    fn next(&self, key: &K) -> Option<Waiting<V>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let callers = waiting.get_mut(key).map(std::mem::take).unwrap_or_default();
        if callers.is_empty() {
            waiting.remove(key);
            return None;
        }
        Some(callers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn callers_share_a_look_up_that_begins_after_they_asked() {
        let coalescing: Coalescing<&str, u32> = Coalescing::default();
        let count = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let ask = || {
            let (coalescing, count, gate) = (coalescing.clone(), count.clone(), gate.clone());
            tokio::spawn(async move {
                let look_up = move || {
                    let (count, gate) = (count.clone(), gate.clone());
                    async move {
                        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                        gate.acquire().await.map_err(Error::internal)?.forget();
                        Ok(number)
                    }
                };
                coalescing.get("a", look_up).await
            })
        };
        let first = ask();
        while count.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // These ask while the first look-up is under way, so its answer may be too old for them.
        let others: Vec<_> = (0..5).map(|_| ask()).collect();
        let waiting = || coalescing.waiting.lock().expect("sound")["a"].len();
        while waiting() < others.len() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.expect("runs").expect("answers"), 1);
        for other in others {
            assert_eq!(other.await.expect("runs").expect("answers"), 2);
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_up_that_panics_answers_with_an_error_and_the_next_starts_anew() {
        let coalescing: Coalescing<u8, u8> = Coalescing::default();
        async fn fails() -> Result<u8, Error> {
            panic!("on purpose")
        }
        assert!(matches!(
            coalescing.get(1, fails).await,
            Err(Error::Internal(_))
        ));
        assert_eq!(
            coalescing
                .get(1, || async { Ok(7) })
                .await
                .expect("answers"),
            7
        );
    }
}
