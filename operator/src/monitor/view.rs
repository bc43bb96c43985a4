//! Drawing a report on a screen of any size.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::columns::{Cell, Column, INPUTS, InputRow, LINKS, SHARDS, Tone, XDP, fitting};
use super::numbers::{percent, time};
use super::report::{Health, Report, ShardReport, TimeShares};

/// What the middle of the screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// A row a shard.
    Shards,
    /// A row a link and reader.
    Links,
    /// A row a running input.
    Inputs,
}

impl Tab {
    const ALL: [Tab; 3] = [Tab::Shards, Tab::Links, Tab::Inputs];

    /// The one to the right, round and round.
    pub fn next(self) -> Self {
        match self {
            Tab::Shards => Tab::Links,
            Tab::Links => Tab::Inputs,
            Tab::Inputs => Tab::Shards,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Tab::Shards => "1 Shards",
            Tab::Links => "2 Links",
            Tab::Inputs => "3 Inputs",
        }
    }
}

/// Everything that decides what is drawn.
pub struct Screen {
    data: PathBuf,
    colour: bool,
    /// What is shown.
    pub tab: Tab,
    /// Rows that were scrolled by.
    offset: usize,
    /// Time between two samples.
    pub interval: Duration,
    /// The newest report; `None`: there is no engine and never was.
    pub report: Option<Report>,
}

impl Screen {
    /// Without a report yet. Without `colour` only bold, dim and reversed are used.
    pub fn new(data: &Path, interval: Duration, colour: bool) -> Self {
        Self { data: data.to_owned(), colour, tab: Tab::Shards, offset: 0, interval, report: None }
    }

    /// Shows another table, from its beginning.
    pub fn show(&mut self, tab: Tab) {
        (self.tab, self.offset) = (tab, 0);
    }

    /// Scrolls by so many rows, never beyond the last one.
    pub fn scroll(&mut self, rows: isize) {
        let last = self.report.as_ref().map_or(0, |report| self.rows(report)).saturating_sub(1);
        self.offset = self.offset.saturating_add_signed(rows).min(last);
    }

    fn rows(&self, report: &Report) -> usize {
        match self.tab {
            Tab::Shards => report.shards.len(),
            Tab::Links => report.links.len(),
            Tab::Inputs => report.inputs.len(),
        }
    }

    fn style(&self, tone: Tone) -> Style {
        let style = Style::new();
        match (tone, self.colour) {
            (Tone::Plain, _) => style,
            (Tone::Quiet, _) => style.add_modifier(Modifier::DIM),
            (Tone::Warn, true) => style.fg(Color::Yellow),
            (Tone::Bad, true) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Warn, false) => style.add_modifier(Modifier::BOLD),
            (Tone::Bad, false) => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        }
    }

    fn badge(&self, health: Option<Health>) -> Span<'static> {
        let (word, colour) = match health {
            Some(Health::Runs) => (" RUNNING ", Color::Green),
            Some(Health::Starting) => (" STARTING ", Color::Yellow),
            Some(Health::Ending) => (" ENDING ", Color::Yellow),
            Some(Health::Silent { .. } | Health::Ended) | None => (" NO ENGINE ", Color::Red),
        };
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        Span::styled(word, if self.colour { style.fg(colour) } else { style })
    }
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    // A low screen gives its lines to the table.
    let low = area.height < 14;
    let heights = [
        Constraint::Length(if low { 1 } else { 2 }),
        Constraint::Length(if low { 1 } else { 2 }),
        Constraint::Min(0),
        Constraint::Length(if area.height < 6 { 0 } else { 1 }),
    ];
    let [head, tabs, body, foot] = Layout::vertical(heights).areas(area);
    frame.render_widget(Paragraph::new(header(screen, low)), head);
    frame.render_widget(Paragraph::new(tab_line(screen)), tabs);
    let hidden = match &screen.report {
        Some(report) => draw_body(frame, body, screen, report),
        None => {
            let words = format!("No engine runs on {}.\nWaiting for one: streams up", screen.data.display());
            frame.render_widget(Paragraph::new(words).alignment(Alignment::Center), body);
            0
        }
    };
    frame.render_widget(Paragraph::new(footer(hidden)).style(screen.style(Tone::Quiet)), foot);
}

fn header(screen: &Screen, low: bool) -> Vec<Line<'static>> {
    let health = screen.report.as_ref().map(|report| report.health);
    let mut first = vec![Span::styled("streams ", Style::new().add_modifier(Modifier::BOLD)), screen.badge(health)];
    if let Some(report) = &screen.report {
        let words = match report.health.gone() {
            Some(reason) => format!(" {reason}"),
            None => format!(
                " pid {}  up {}  version {}  generation {}",
                report.pid,
                time(report.uptime),
                report.version,
                report.generation
            ),
        };
        let tone = if report.health.gone().is_some() { Tone::Bad } else { Tone::Plain };
        first.push(Span::styled(words, screen.style(tone)));
    }
    let first = Line::from(first);
    if low {
        return vec![first];
    }
    let second = format!("data {}   every {}", screen.data.display(), interval(screen.interval));
    vec![first, Line::styled(second, screen.style(Tone::Quiet))]
}

fn interval(interval: Duration) -> String {
    format!("{} s", interval.as_millis() as f64 / 1000.0)
}

fn tab_line(screen: &Screen) -> Line<'static> {
    let tab = |tab: Tab| {
        let style = if tab == screen.tab { Modifier::REVERSED } else { Modifier::empty() };
        [Span::styled(format!(" {} ", tab.title()), Style::new().add_modifier(style)), Span::raw(" ")]
    };
    Line::from(Tab::ALL.into_iter().flat_map(tab).collect::<Vec<_>>())
}

fn footer(hidden: usize) -> String {
    let keys = "q quit  tab view  +/- interval  up/down scroll";
    match hidden {
        0 => keys.to_owned(),
        1 => format!("{keys}  (1 more column on a wider screen)"),
        hidden => format!("{keys}  ({hidden} more columns on a wider screen)"),
    }
}

/// Draws the table of the chosen tab. Returns how many of its columns had no room.
fn draw_body(frame: &mut Frame<'_>, area: Rect, screen: &Screen, report: &Report) -> usize {
    match screen.tab {
        Tab::Shards => draw_shards(frame, area, screen, report),
        Tab::Links => draw_table(frame, area, screen, LINKS, &report.links.iter().collect::<Vec<_>>(), screen.offset),
        Tab::Inputs if report.inputs.is_empty() => {
            frame.render_widget(Paragraph::new("No input has an encoder now."), area);
            0
        }
        Tab::Inputs => {
            let rows = InputRow::all(report);
            draw_table(frame, area, screen, INPUTS, &rows.iter().collect::<Vec<_>>(), screen.offset)
        }
    }
}

/// The sum first, so that it is on every screen; below the table what else there is room for: AF_XDP, then bars of time.
fn draw_shards(frame: &mut Frame<'_>, area: Rect, screen: &Screen, report: &Report) -> usize {
    let several = report.shards.len() > 1;
    let mut rows: Vec<&ShardReport> = Vec::new();
    if several && screen.offset == 0 {
        rows.push(&report.all);
    }
    rows.extend(&report.shards);
    let table_len = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX);
    let mut spare = area.height.saturating_sub(table_len);
    let xdp_len = if report.all.has_xdp() && spare >= table_len { table_len } else { 0 };
    spare -= xdp_len;
    let bars_len = u16::try_from(report.shards.len() + 2).unwrap_or(u16::MAX);
    let bars_len = if spare >= bars_len && area.width >= 60 { bars_len } else { 0 };
    let heights = [Constraint::Min(0), Constraint::Length(xdp_len), Constraint::Length(bars_len)];
    // What is left over stays empty at the bottom, not between the tables.
    let used = Rect { height: area.height.min(table_len.saturating_add(xdp_len).saturating_add(bars_len)), ..area };
    let [table, xdp, bars] = Layout::vertical(heights).areas(used);
    let hidden = draw_table(frame, table, screen, SHARDS, &rows, screen.offset);
    if xdp_len > 0 {
        draw_table(frame, xdp, screen, XDP, &rows, screen.offset);
    }
    if bars_len > 0 {
        draw_bars(frame, bars, screen, &report.shards);
    }
    hidden
}

fn draw_table<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    columns: &[Column<T>],
    rows: &[&T],
    offset: usize,
) -> usize {
    let shown = fitting(columns, area.width);
    let text = |column: &Column<T>, text: String, style: Style| {
        let alignment = if column.left { Alignment::Left } else { Alignment::Right };
        ratatui::widgets::Cell::from(Line::from(text).alignment(alignment)).style(style)
    };
    let head = shown.iter().map(|column| text(column, column.title.to_owned(), Style::new()));
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let body = rows.iter().skip(offset).map(|row| {
        Row::new(shown.iter().map(|column| {
            let Cell { text: words, tone } = (column.cell)(row);
            text(column, words, screen.style(tone))
        }))
    });
    let widths = shown.iter().map(|column| Constraint::Length(column.width));
    frame.render_widget(Table::new(body, widths).header(head).column_spacing(1), area);
    columns.len() - shown.len()
}

/// A bar a shard: what its time went into.
fn draw_bars(frame: &mut Frame<'_>, area: Rect, screen: &Screen, shards: &[ShardReport]) {
    let legend =
        Line::styled("time    # busy   e edge   h housekeeping   . awake, idle     asleep", screen.style(Tone::Quiet));
    let width = usize::from(area.width.saturating_sub(20)).min(100);
    let bar = |shard: &ShardReport| {
        let name = shard.shard.map_or(String::new(), |shard| format!("shard {shard:<2}"));
        let Some(time) = shard.time else { return Line::from(name) };
        let tone = if time.busy >= 80.0 { Tone::Warn } else { Tone::Plain };
        Line::from(vec![
            Span::raw(format!("{name}|")),
            Span::styled(bar_text(&time, width), screen.style(tone)),
            Span::raw(format!("| {}% busy", percent(time.busy))),
        ])
    };
    let lines: Vec<Line<'_>> = std::iter::once(legend).chain(shards.iter().map(bar)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// Exactly `width` letters.
fn bar_text(time: &TimeShares, width: usize) -> String {
    let mut text = String::with_capacity(width);
    let mut sum = 0.0;
    for (share, letter) in
        [(time.busy, '#'), (time.edge, 'e'), (time.housekeeping, 'h'), (time.spin, '.'), (time.sleep, ' ')]
    {
        sum += share;
        let end = ((sum / 100.0 * width as f64).round().max(0.0) as usize).min(width);
        text.extend(std::iter::repeat_n(letter, end.saturating_sub(text.len())));
    }
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(text.len())));
    text
}
