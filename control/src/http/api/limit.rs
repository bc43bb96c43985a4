//! Requests an API key may make: a token bucket each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Buckets of all API keys. It grows by authenticated keys only, so the database bounds it.
pub struct RateLimit {
    rate_per_s: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl RateLimit {
    /// `rate_per_s` requests a second on average, `burst` at once.
    pub fn new(rate_per_s: u32, burst: u32) -> Self {
        Self { rate_per_s: rate_per_s.into(), burst: burst.into(), buckets: Mutex::default() }
    }

    /// Takes one request of `key`, or answers after how many whole seconds one will be free.
    pub fn take(&self, key: &str, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { tokens: self.burst, filled_at: now };
        let bucket = buckets.entry(key.to_owned()).or_insert(full);
        let elapsed_s = now.saturating_duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed_s * self.rate_per_s).min(self.burst);
        bucket.filled_at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(((1.0 - bucket.tokens) / self.rate_per_s).ceil().max(1.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_taken_then_the_rate_holds_and_keys_do_not_share() {
        let limit = RateLimit::new(1, 3);
        let start = Instant::now();
        for _ in 0..3 {
            limit.take("a", start).unwrap();
        }
        assert_eq!(limit.take("a", start), Err(1));
        limit.take("b", start).unwrap();
        limit.take("a", start + Duration::from_secs(1)).unwrap();
        assert_eq!(limit.take("a", start + Duration::from_secs(1)), Err(1));
    }
}
