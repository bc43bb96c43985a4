//! Colours and line ends, where a person looks at a terminal.

use std::io::IsTerminal;

/// How a word stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// A head.
    Bold,
    /// Of no concern.
    Dim,
    /// As it should be.
    Green,
    /// To be looked at.
    Yellow,
    /// To be mended.
    Red,
}

/// Where text goes.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    colours: bool,
    /// Letters of a line; `None` where lines have no end (a file, a pipe).
    columns: Option<usize>,
}

impl Screen {
    /// Standard output. NO_COLOR (no-color.org) takes the colours away.
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self { colours: false, columns: None };
        }
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Self { colours: !no_color, columns }
    }

    /// The text, standing out.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Bold => 1,
            Paint::Dim => 2,
            Paint::Red => 31,
            Paint::Green => 32,
            Paint::Yellow => 33,
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text in lines that fit behind `indent` letters, each but the first indented so. Words stay whole.
    pub fn wrapped(self, text: &str, indent: usize) -> String {
        /// Narrower than this, lines are left to the terminal.
        const WIDTH_MIN: usize = 20;
        let Some(width) =
            self.columns.and_then(|columns| columns.checked_sub(indent)).filter(|room| *room >= WIDTH_MIN)
        else {
            return text.to_owned();
        };
        let mut lines = vec![String::new()];
        for word in text.split(' ') {
            let Some(line) = lines.last_mut() else { break };
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(word.to_owned());
            } else {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(word);
            }
        }
        lines.join(&format!("\n{:indent$}", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_only_on_a_screen() {
        let screen = Screen { colours: false, columns: Some(34) };
        assert_eq!(screen.wrapped("one two three four five six", 4), "one two three four five six");
        assert_eq!(
            screen.wrapped("one two three four five sixty seven", 4),
            "one two three four five sixty\n    seven"
        );
        let pipe = Screen { colours: false, columns: None };
        assert_eq!(pipe.wrapped(&"word ".repeat(100), 4).lines().count(), 1);
        assert_eq!(pipe.paint(Paint::Red, "x"), "x");
        assert_eq!(Screen { colours: true, columns: None }.paint(Paint::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
