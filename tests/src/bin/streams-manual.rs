//! Writes the manual pages and shell completions of the package, made of the command lines themselves.
//!
//! `streams-manual DIR` makes `man1/`, `man5/`, `man8/` and `completions/` below DIR. `scripts/package` calls it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use streams_cli::Cli;
use streams_config::Config;
use streams_control::process::ControlArgs;

#[derive(Debug, Parser)]
#[command(about = "Writes the manual pages and shell completions of the package")]
struct Arguments {
    /// Folder to write to
    folder: PathBuf,
}

/// Paths of an installation by the package.
const FILES: &[(&str, &str)] = &[
    ("/etc/streams/streams.toml", "settings of the services, see streams.toml(5)"),
    ("/var/lib/streams/data", "database, keys and certificate of the services"),
    ("$XDG_DATA_HOME/streams", "the data directory where --data names no other"),
];

fn main() -> io::Result<()> {
    let Arguments { folder } = Arguments::parse();
    for name in ["man1", "man5", "man8", "completions"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let mut streams = Cli::command();
    streams.build();
    write_pages(&streams, &folder.join("man1"))?;
    for mut daemon in [ControlArgs::command(), streams_engine::Flags::command()] {
        daemon.build();
        write_page(&daemon, "8", "streams(1), streams.toml(5), systemctl(1)", &folder.join("man8"))?;
    }
    write_settings(&folder.join("man5"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "streams", folder.join("completions"))?;
    }
    Ok(())
}

/// A page for a command and for each of its subcommands: `streams-live-create(1)`.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    let shown = || command.get_subcommands().filter(|one| !one.is_hide_set());
    for one in shown() {
        write_pages(one, folder)?;
    }
    let parent = page_name(command).rsplit_once('-').map(|(parent, _)| format!("{parent}(1)"));
    let others = parent.into_iter().chain(shown().map(|one| format!("{}(1)", page_name(one))));
    let others = others.chain(["streams.toml(5)".to_owned()]).collect::<Vec<_>>().join(", ");
    write_page(command, "1", &others, folder)
}

fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn write_page(command: &Command, section: &str, see_also: &str, folder: &Path) -> io::Result<()> {
    let source = concat!("streams ", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).section(section).manual("Streams").source(source);
    let mut file = fs::File::create(folder.join(page.get_filename()))?;
    page.render_title(&mut file)?;
    page.render_name_section(&mut file)?;
    page.render_synopsis_section(&mut file)?;
    page.render_description_section(&mut file)?;
    page.render_options_section(&mut file)?;
    if command.get_subcommands().any(|one| !one.is_hide_set()) {
        page.render_subcommands_section(&mut file)?;
    }
    if let Some(notes) = command.get_after_help() {
        writeln!(file, ".SH NOTES")?;
        for line in notes.to_string().lines() {
            writeln!(file, ".PP\n{}", escaped(line))?;
        }
    }
    writeln!(file, ".SH FILES")?;
    for (path, meaning) in FILES {
        writeln!(file, ".TP\n{}\n{}", escaped(path), escaped(meaning))?;
    }
    writeln!(file, ".SH \"SEE ALSO\"\n{}", escaped(see_also))
}

/// `streams.toml(5)`: the text of `streams up --print-config`.
fn write_settings(folder: &Path) -> io::Result<()> {
    let mut file = fs::File::create(folder.join("streams.toml.5"))?;
    writeln!(file, ".TH streams.toml 5 \"\" \"streams {}\" Streams", env!("CARGO_PKG_VERSION"))?;
    writeln!(file, ".SH NAME\nstreams.toml \\- settings of Streams")?;
    writeln!(file, ".SH DESCRIPTION\nEvery key with its meaning, what it accepts, and its default.")?;
    writeln!(file, ".PP\n.nf")?;
    for line in Config::default().to_toml().lines() {
        writeln!(file, "{}", escaped(line))?;
    }
    writeln!(file, ".fi\n.SH \"SEE ALSO\"\nstreams(1), streams\\-control(8), streams\\-engine(8)")
}

/// Text that roff shows as it stands.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
