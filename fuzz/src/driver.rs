//! Runs one target until its time is over, or until an input breaks it.

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::random::Random;
use crate::{corpus, mutate};

/// An input on which a target works for longer holds a shard up for everyone. Real limits are milliseconds. It is time of the
/// processor: on a busy machine a target may wait for its core as long as it likes.
const INPUT_TIME_MAX: Duration = Duration::from_secs(2);
/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(500);

/// Options of every fuzz target.
#[derive(Parser)]
struct Options {
    /// How long to go on.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Begins the same inputs again; a run prints its own.
    #[arg(long)]
    seed: Option<u64>,
    /// Inputs to run once each, as they are, instead of making some.
    files: Vec<PathBuf>,
}

/// What runs at this moment, for the watch over time.
#[derive(Default)]
struct Current {
    /// Counts inputs; even: none runs.
    number: u64,
    input: Vec<u8>,
}

/// The body of a target's `main`.
pub fn drive(target: &'static str, function: fn(&[u8])) -> ExitCode {
    let options = Options::parse();
    if !options.files.is_empty() {
        return replay(target, function, &options.files);
    }
    let seeds = match corpus::seeds(target) {
        Ok(seeds) if !seeds.is_empty() => seeds,
        Ok(_) => return complain(target, "its corpus is empty"),
        Err(error) => return complain(target, &format!("its corpus cannot be read: {error}")),
    };
    let seed = options
        .seed
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64));
    println!("{target}: seed {seed}, {} inputs to begin with", seeds.len());
    let current = Arc::new(Mutex::new(Current::default()));
    watch(target, current.clone());
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut random = Random::new(seed);
    let mut runs = 0_u64;
    // The seeds as they are come first: real traffic has to pass.
    let mut unchanged = seeds.iter();
    while Instant::now() < end {
        let input = unchanged.next().cloned().unwrap_or_else(|| mutate::input(&mut random, &seeds));
        if !run(target, function, input, &current) {
            println!("{target}: failed after {runs} inputs of seed {seed}");
            return ExitCode::FAILURE;
        }
        runs += 1;
    }
    println!("{target}: {runs} inputs in {} s, none broke it", options.seconds);
    ExitCode::SUCCESS
}

/// Runs every seed of a target and `changed` inputs made of them, always the same ones.
///
/// # Panics
/// When an input breaks the target, or there are no seeds.
pub fn check(target: &str, function: fn(&[u8]), changed: u32) {
    let seeds = corpus::seeds(target).unwrap_or_default();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds.iter().for_each(|seed| function(seed));
    let mut random = Random::new(1);
    for _ in 0..changed {
        function(&mutate::input(&mut random, &seeds));
    }
}

fn run(target: &str, function: fn(&[u8]), input: Vec<u8>, current: &Mutex<Current>) -> bool {
    let mut now = current.lock().unwrap_or_else(PoisonError::into_inner);
    now.number += 1;
    now.input.clone_from(&input);
    drop(now);
    let passed = catch_unwind(|| function(&input)).is_ok();
    current.lock().unwrap_or_else(PoisonError::into_inner).number += 1;
    if !passed {
        report(target, "a panic", &input);
    }
    passed
}

/// Ends the process when one input takes too long: a thread cannot be stopped from outside.
fn watch(target: &'static str, current: Arc<Mutex<Current>>) {
    std::thread::spawn(move || {
        let (mut seen, mut began) = (0, processor_time());
        loop {
            std::thread::sleep(LOOK);
            let current = current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.number != seen || current.number.is_multiple_of(2) {
                (seen, began) = (current.number, processor_time());
            } else if processor_time().saturating_sub(began) > INPUT_TIME_MAX {
                report(target, "more than 2 s of work", &current.input);
                std::process::exit(1);
            }
        }
    });
}

/// What this process has used, all of it by the target; in the kernel's ticks of 10 ms. Zero where the kernel does not tell.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name stands in parentheses and may hold blanks; user and system time are the twelfth and thirteenth field behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>())
}

fn report(target: &str, what: &str, input: &[u8]) {
    match corpus::keep(target, input) {
        Ok(path) => println!("{target}: {what} by an input of {} bytes, kept in {}", input.len(), path.display()),
        Err(error) => println!("{target}: {what} by {input:02x?}, which could not be kept: {error}"),
    }
}

fn replay(target: &str, function: fn(&[u8]), files: &[PathBuf]) -> ExitCode {
    for file in files {
        match std::fs::read(file) {
            Ok(input) => {
                let started = Instant::now();
                function(&input);
                println!("{target}: {} passed in {:?}", file.display(), started.elapsed());
            }
            Err(error) => return complain(target, &format!("{} cannot be read: {error}", file.display())),
        }
    }
    ExitCode::SUCCESS
}

fn complain(target: &str, what: &str) -> ExitCode {
    eprintln!("{target}: {what}");
    ExitCode::FAILURE
}
