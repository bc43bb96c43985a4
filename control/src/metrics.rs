//! `/metrics`: counters of the API, and those of every shard read from shared memory at each scrape.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use streams_contract::{self as contract, CounterKind};

use crate::program::Program;

/// Bounds of the API's latency in seconds: a look-up takes about a millisecond, an RSA key some hundred.
const LATENCY_BOUNDS_S: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

/// The registry and what handlers count.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Histogram,
    /// Connections that were closed because there were too many.
    pub connections_refused: Counter,
}

impl Metrics {
    /// A registry over the API and the engine that `program` sees.
    pub fn new(program: Arc<Program>) -> Self {
        let mut registry = Registry::with_prefix("streams");
        let requests = Family::<RequestLabels, Counter>::default();
        let latency = Histogram::new(LATENCY_BOUNDS_S);
        registry.register("api_requests", "Requests to the API", requests.clone());
        registry.register("api_request_seconds", "Time to answer a request", latency.clone());
        let connections_refused = Counter::default();
        let help = "Connections closed because there were too many";
        registry.register("api_connections_refused", help, connections_refused.clone());
        registry.register_collector(Box::new(Shards(program)));
        Self { registry, requests, latency, connections_refused }
    }

    /// Counts one request.
    pub fn request(&self, method: &Method, route: &str, status: u16, elapsed: Duration) {
        let known =
            [Method::GET, Method::POST, Method::PATCH, Method::DELETE, Method::HEAD, Method::PUT, Method::OPTIONS];
        let method = if known.contains(method) { method.as_str() } else { "other" };
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.latency.observe(elapsed.as_secs_f64());
    }

    /// OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics cannot be written");
        }
        text
    }
}

/// Counters in shared memory.
struct Shards(Arc<Program>);

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shards")
    }
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (engine, counters) = (self.0.engine(), self.0.counters());
        let ready = engine.shards.iter().map(|shard| u64::from(shard.ready()));
        family(&mut encoder, "engine_shard_ready", "Whether a shard runs", CounterKind::Gauge, ready)?;
        for counter in contract::Counter::ALL {
            let name = format!("engine_{}", counter.name());
            let values = counters.iter().map(|shard| shard.get(counter.index()).copied().unwrap_or_default());
            family(&mut encoder, &name, counter.help().trim_end_matches('.'), counter.kind(), values)?;
        }
        Ok(())
    }
}

/// One metric with a value a shard.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: CounterKind,
    values: impl Iterator<Item = u64>,
) -> fmt::Result {
    let label = |shard: usize| [("shard", shard.to_string())];
    match kind {
        CounterKind::Total => {
            let metric_type = ConstCounter::new(0u64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
            for (shard, value) in values.enumerate() {
                ConstCounter::new(value).encode(metric.encode_family(&label(shard))?)?;
            }
        }
        CounterKind::Gauge => {
            let metric_type = ConstGauge::new(0i64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
            for (shard, value) in values.enumerate() {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(metric.encode_family(&label(shard))?)?;
            }
        }
    }
    Ok(())
}
