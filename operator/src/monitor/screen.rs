//! The terminal: full screen, keys, and leaving it as it was whatever happens.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::report::Report;
use super::sample::Sample;
use super::view::{self, Screen, Tab};
use super::watcher::Watcher;
use crate::Error;

/// Steps of `+` and `-`.
const INTERVALS_MS: [u64; 8] = [100, 250, 500, 1_000, 2_000, 5_000, 10_000, 60_000];
/// A signal is seen within this.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// Shows the engine until `q`, Ctrl-C, or a signal.
pub fn run(data: &Path, watcher: Watcher, interval: Duration) -> Result<(), Error> {
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        let registered = signal_hook::flag::register(signal, asked_to_stop.clone());
        registered.map_err(Error::file("watch for signals in", "this process"))?;
    }
    let failed = Error::file("use", "the terminal");
    // Sets a panic hook too, that puts the terminal back before the message.
    let terminal = ratatui::try_init().map_err(failed)?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let screen = Screen::new(data, interval, colour);
    let ended = watch(terminal, watcher, screen, &asked_to_stop);
    let restored = ratatui::try_restore();
    ended.and(restored).map_err(Error::file("use", "the terminal"))
}

fn watch(
    mut terminal: DefaultTerminal,
    mut watcher: Watcher,
    mut screen: Screen,
    asked_to_stop: &AtomicBool,
) -> std::io::Result<()> {
    let typed_here = std::io::stdin().is_terminal();
    let mut before: Option<Sample> = None;
    let mut due = Instant::now();
    while !asked_to_stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let mut changed = false;
        if now >= due {
            let sample = watcher.sample();
            screen.report = sample.as_ref().map(|sample| Report::between(before.as_ref(), sample));
            before = sample;
            due = now + screen.interval;
            changed = true;
        }
        let wait = due.saturating_duration_since(Instant::now()).min(KEY_WAIT);
        if changed {
            terminal.draw(|frame| view::draw(frame, &screen))?;
        }
        // Without a terminal at its input crossterm opens one itself.
        let wait = match typed_here {
            true if terminal_is_gone(wait) => return Ok(()),
            true => Duration::ZERO,
            false => wait,
        };
        if !event::poll(wait)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if key_pressed(&mut screen, key) == Pressed::Quit {
                    return Ok(());
                }
                due = due.min(Instant::now() + screen.interval);
            }
            Event::Resize(..) => {}
            _ => continue,
        }
        terminal.draw(|frame| view::draw(frame, &screen))?;
    }
    Ok(())
}

/// Waits for a key. True when the terminal has hung up: reading from it any more would end in a loop inside of crossterm, which
/// goes on reading at the end of a file.
fn terminal_is_gone(wait: Duration) -> bool {
    let stdin = std::io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec::try_from(wait).ok();
    // An interrupted wait is a short one.
    let _ = poll(&mut polled, timeout.as_ref());
    polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Pressed {
    /// To go on.
    Stay,
    /// To end.
    Quit,
}

/// Changes what is shown.
pub fn key_pressed(screen: &mut Screen, key: KeyEvent) -> Pressed {
    let page = 10;
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Pressed::Quit,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Pressed::Quit,
        KeyCode::Tab | KeyCode::Right => screen.show(screen.tab.next()),
        KeyCode::BackTab | KeyCode::Left => screen.show(screen.tab.next().next()),
        KeyCode::Char('1') => screen.show(Tab::Shards),
        KeyCode::Char('2') => screen.show(Tab::Links),
        KeyCode::Char('3') => screen.show(Tab::Inputs),
        KeyCode::Down | KeyCode::Char('j') => screen.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => screen.scroll(-1),
        KeyCode::PageDown => screen.scroll(page),
        KeyCode::PageUp => screen.scroll(-page),
        KeyCode::Char('+' | '=') => screen.interval = next_interval(screen.interval, true),
        KeyCode::Char('-') => screen.interval = next_interval(screen.interval, false),
        _ => {}
    }
    Pressed::Stay
}

fn next_interval(now: Duration, longer: bool) -> Duration {
    let mut steps = INTERVALS_MS.map(Duration::from_millis).into_iter();
    let next = if longer { steps.find(|step| *step > now) } else { steps.rfind(|step| *step < now) };
    next.unwrap_or(now)
}
