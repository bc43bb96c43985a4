//! The types a key may have: how each is read from TOML and from an environment variable, and how it is written back.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::de::DeValue;

/// A type that a key of `streams.toml` may have.
pub trait Value: Sized {
    /// What a reader is told to write, without the range: "a whole number", "one of adaptive, busy".
    fn kind() -> String;
    /// From a TOML value; `None` when it is of another type.
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;
    /// From an environment variable's text.
    fn from_text(text: &str) -> Option<Self>;
    /// As a TOML value.
    fn to_toml(&self) -> toml::Value;
}

/// A type whose keys have a range.
pub trait Ranged: Value {
    /// The type of the range's ends.
    type End: PartialOrd;
    /// The number that has to be in the range.
    fn number(&self) -> Self::End;
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Ranged for $type {
            type End = Self;
            fn number(&self) -> Self {
                *self
            }
        }
        impl Value for $type {
            fn kind() -> String {
                "a whole number".into()
            }
            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                let number = value.as_integer()?;
                <$type>::from_str_radix(number.as_str(), number.radix()).ok()
            }
            fn from_text(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
            fn to_toml(&self) -> toml::Value {
                // TOML's whole numbers have a sign; no key's range goes beyond them.
                toml::Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )*};
}
whole_number!(u16, u32, u64, usize);

/// A power of two: the length of a ring that the kernel makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerOfTwo(u32);

impl PowerOfTwo {
    /// 2^`exponent`, 31 at most.
    pub const fn two_to_the(exponent: u8) -> Self {
        assert!(exponent < u32::BITS as u8);
        Self(1 << exponent)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Ranged for PowerOfTwo {
    type End = u32;
    fn number(&self) -> u32 {
        self.0
    }
}

impl Value for PowerOfTwo {
    fn kind() -> String {
        "a power of two".into()
    }
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u32::from_toml(value).filter(|number| number.is_power_of_two()).map(Self)
    }
    fn from_text(text: &str) -> Option<Self> {
        u32::from_text(text).filter(|number| number.is_power_of_two()).map(Self)
    }
    fn to_toml(&self) -> toml::Value {
        self.0.to_toml()
    }
}

impl Value for bool {
    fn kind() -> String {
        "true or false".into()
    }
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
    fn from_text(text: &str) -> Option<Self> {
        match text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
    fn to_toml(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }
}

impl Value for String {
    fn kind() -> String {
        "a string".into()
    }
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
}

impl Value for PathBuf {
    fn kind() -> String {
        "a path".into()
    }
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(PathBuf::from)
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(PathBuf::from(text))
    }
    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string_lossy().into_owned())
    }
}

impl Value for IpAddr {
    fn kind() -> String {
        "an IP address such as \"127.0.0.1\" or \"::1\"".into()
    }
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// The word of the file and of the command line.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Value for $name {
            fn kind() -> String {
                concat!("one of" $(, " \"", $text, "\"")+).into()
            }
            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                Self::from_text(value.as_str()?)
            }
            fn from_text(text: &str) -> Option<Self> {
                match text.trim() { $($text => Some($name::$variant),)+ _ => None }
            }
            fn to_toml(&self) -> toml::Value {
                toml::Value::String(self.as_str().into())
            }
        }
    };
}

choice! {
    /// What the installation is for.
    Profile {
        /// A laptop or a test machine: self-signed certificate, plain HTTP on loopback.
        Dev = "dev",
        /// A POP: TLS only, certificates come from the operator.
        Production = "production",
    }
}
choice! {
    /// How a shard waits.
    Poll {
        /// Sleeps when idle and is woken by the first packet: a laptop stays cool.
        Adaptive = "adaptive",
        /// Never sleeps: a core a shard, lowest latency.
        Busy = "busy",
    }
}
choice! {
    /// By which calls kernel UDP sockets send.
    UdpIo {
        /// io_uring where the kernel and its policies allow it, else one call a train.
        Auto = "auto",
        /// io_uring or not at all.
        IoUring = "io_uring",
        /// One call a train.
        Plain = "plain",
    }
}
choice! {
    /// The shape of a log line.
    LogFormat {
        /// For a person.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
choice! {
    /// Who may read the metrics.
    MetricsAccess {
        /// This machine, and whoever has a key.
        Local = "local",
        /// Whoever has a key.
        Key = "key",
        /// Everybody.
        Open = "open",
    }
}
choice! {
    /// What becomes of an engine that makes a system call which a running engine has no need of.
    Seccomp {
        /// The kernel ends it (SIGSYS), and it is started again.
        Kill = "kill",
        /// The kernel writes the call to its log (dmesg, audit) and allows it.
        Log = "log",
        /// There is no filter.
        Off = "off",
    }
}

/// How packets reach the engine and leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Io {
    /// The best one this machine can run.
    Auto,
    /// Kernel UDP sockets, one a shard.
    Udp,
    /// AF_XDP on this interface.
    Xdp(String),
}

impl std::fmt::Display for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Io::Auto => f.write_str("auto"),
            Io::Udp => f.write_str("udp"),
            Io::Xdp(interface) => write!(f, "xdp:{interface}"),
        }
    }
}

impl Value for Io {
    fn kind() -> String {
        "one of \"auto\", \"udp\", \"xdp:INTERFACE\"".into()
    }
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        /// Linux: IFNAMSIZ without the end mark; neither slash nor blank may stand in a name.
        const INTERFACE_LEN_MAX: usize = 15;
        match text.trim() {
            "auto" => Some(Io::Auto),
            "udp" => Some(Io::Udp),
            other => {
                let interface = other.strip_prefix("xdp:")?;
                let named = (1..=INTERFACE_LEN_MAX).contains(&interface.len());
                let plain = !interface.contains(|c: char| c == '/' || c.is_whitespace());
                (named && plain).then(|| Io::Xdp(interface.to_owned()))
            }
        }
    }
    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_backend_is_read_as_it_is_written() {
        for io in [Io::Auto, Io::Udp, Io::Xdp("eth0".into())] {
            assert_eq!(Io::from_text(&io.to_string()), Some(io));
        }
        for text in ["", "xdp", "xdp:", "xdp:a/b", "xdp:a b", "xdp:a-name-too-long-", "kernel"] {
            assert_eq!(Io::from_text(text), None, "{text}");
        }
    }
}
