//! What the figures were measured on.

use std::fs;

use serde_json::{Value, json};

/// The machine and the build.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Model of the first processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Load average of the last minute when the measurement began: above 0.3 a core, the figures are noisy.
    pub load_before: f64,
    /// `release` or `debug`: how this program was built, and with it the stack that `--start` starts.
    pub profile: &'static str,
}

impl Machine {
    /// Reads what the kernel tells; what it does not tell is `unknown`.
    pub fn read() -> Self {
        let unknown = || "unknown".to_owned();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = text("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
        let kernel = text("/proc/sys/kernel/osrelease").trim().to_owned();
        let load = text("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
        Self {
            cpu: model.map_or_else(unknown, |(_, model)| model.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: if kernel.is_empty() { unknown() } else { kernel },
            load_before: load.unwrap_or_default(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Self { cpu, cores, kernel, load_before, profile } = self;
        format!("{cpu}, {cores} cores, Linux {kernel}, {profile} build, load before {load_before:.2}")
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({ "cpu": self.cpu, "cores": self.cores, "kernel": self.kernel, "load_before": self.load_before })
    }
}
