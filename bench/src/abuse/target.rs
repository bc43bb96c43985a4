//! What is abused, and how an abuse is carried out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::setpriority_process;
use streams_sdk::SessionUrl;

use crate::cores;
use crate::error::BenchError;
use crate::stack::Input;

/// An abuse gives way to viewers and encoder on its core: what they see is then the engine's doing.
const NICE: i32 = 19;

/// Where everything is, and what the one who abuses owns: an input like any tenant's.
#[derive(Debug, Clone)]
pub struct Target {
    /// QUIC.
    pub quic: SocketAddr,
    /// RTMP.
    pub rtmp: SocketAddr,
    /// The input of the one who abuses.
    pub own: Input,
    /// Its playback URL, with a token.
    pub playback: SessionUrl,
}

impl Target {
    /// Path of a MoQT publisher of the own input.
    pub fn publish_path(&self) -> String {
        format!("/publish/{}?sk={}", self.own.id, self.own.key)
    }
}

/// How far an abuse is, and whether it goes on.
#[derive(Debug, Default)]
pub struct Going {
    over: AtomicBool,
    deeds: AtomicU64,
}

impl Going {
    /// Whether to go on.
    pub fn on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// One more of what the abuse does.
    pub fn did(&self) {
        self.deeds.fetch_add(1, Ordering::Relaxed);
    }
}

/// One way to take more than one's share. It runs on a thread of its own, as fast as it can.
pub trait Abuse: Send {
    /// Key in the JSON.
    fn key(&self) -> &'static str;
    /// What it is, and what it counts.
    fn name(&self) -> &'static str;
    /// Goes on until told to stop. What the server refuses or closes is its right, and no error.
    ///
    /// # Errors
    /// [`BenchError`] when the abuse itself cannot be carried out.
    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError>;
}

/// An abuse that goes on.
pub struct Running {
    going: Arc<Going>,
    thread: JoinHandle<Result<(), BenchError>>,
}

impl Running {
    /// Starts it on the load's core.
    ///
    /// # Errors
    /// [`BenchError::File`] when there is no thread to be had.
    pub fn start(mut abuse: Box<dyn Abuse>, target: &Target) -> Result<Self, BenchError> {
        let (going, target) = (Arc::<Going>::default(), target.clone());
        let told = going.clone();
        let run = move || {
            cores::pin(cores::Pair::find()?.load)?;
            setpriority_process(None, NICE)
                .map_err(|error| BenchError::file("lower", "the priority of a thread".as_ref())(error.into()))?;
            abuse.run(&target, &told)
        };
        let thread = std::thread::Builder::new().name("abuse".to_owned()).spawn(run);
        Ok(Self { going, thread: thread.map_err(BenchError::file("start", "a thread".as_ref()))? })
    }

    /// Ends it; how often it did what it does.
    ///
    /// # Errors
    /// What kept it from being carried out.
    pub fn end(self) -> Result<u64, BenchError> {
        self.going.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| BenchError::Died("abuse"))??;
        Ok(self.going.deeds.load(Ordering::Relaxed))
    }
}

/// One of the addresses that abuses come from: loopback's, but neither viewers' nor the encoder's.
pub fn elsewhere(index: usize) -> IpAddr {
    let last = u8::try_from(index % 250).unwrap_or_default();
    IpAddr::V4(Ipv4Addr::new(127, 0, 66, last.saturating_add(1)))
}

/// A UDP socket elsewhere, connected to the engine, that does not block.
///
/// # Errors
/// [`BenchError::File`].
pub fn udp_from(index: usize, server: SocketAddr) -> Result<UdpSocket, BenchError> {
    let failed = || BenchError::file("connect", "a UDP socket".as_ref());
    let socket = UdpSocket::bind((elsewhere(index), 0)).map_err(failed())?;
    socket.connect(server).map_err(failed())?;
    socket.set_nonblocking(true).map_err(failed())?;
    Ok(socket)
}

/// A TCP connection from elsewhere.
///
/// # Errors
/// What the system says: the server refuses, or there are no ports left.
pub fn tcp_from(index: usize, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(elsewhere(index), 0))?;
    rustix::net::connect(&socket, &server)?;
    Ok(TcpStream::from(socket))
}
