//! The text of `streams up --print-config`.

use std::fmt;

use crate::keys::{Config, KEYS, SECTIONS, SectionInfo};

impl Config {
    /// This configuration as a commented `streams.toml`: each key with its meaning, what it accepts, and its default
    /// where the value is another one. The text can be read back by [`Config::parse`].
    pub fn to_toml(&self) -> String {
        format!("{}", Printed(self))
    }

    /// The same for programs: a table a section, with every key.
    pub fn to_table(&self) -> toml::Table {
        let table = |section: &SectionInfo| {
            let keys = KEYS.iter().filter(|key| key.section == section.name);
            keys.map(|key| (key.key.to_owned(), (key.value)(self))).collect()
        };
        SECTIONS.iter().map(|section| (section.name.to_owned(), toml::Value::Table(table(section)))).collect()
    }
}

struct Printed<'a>(&'a Config);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Config::default();
        writeln!(
            f,
            "# streams.toml. Every key may be left out. STREAMS_<SECTION>_<KEY> in the environment wins over it,"
        )?;
        writeln!(f, "# and a command-line flag over both. All keys are read at start.")?;
        for section in SECTIONS {
            writeln!(f)?;
            for line in section.doc {
                writeln!(f, "#{line}")?;
            }
            writeln!(f, "[{}]", section.name)?;
            for key in KEYS.iter().filter(|key| key.section == section.name) {
                for line in key.doc {
                    writeln!(f, "#{line}")?;
                }
                let (value, usual) = ((key.value)(self.0), (key.value)(&default));
                if value == usual {
                    writeln!(f, "# Accepts {}.", (key.expected)())?;
                } else {
                    writeln!(f, "# Accepts {}. Default: {usual}", (key.expected)())?;
                }
                writeln!(f, "{} = {value}", key.key)?;
            }
        }
        Ok(())
    }
}
