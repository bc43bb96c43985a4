//! The XDP program: loaded, attached, fed with sockets.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, libbpf_sys};

use crate::counters::Counters;
use crate::error::XdpError;
use crate::interface;
use crate::load::{VerifierLog, key_words, silence_libbpf};
use crate::skel::steer::{OpenSteerSkel, SteerSkelBuilder};
use crate::steering::{Steering, SteeringMode, mapped};

const NAME: &str = "steer";

/// Where in the kernel's receive path the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before a packet buffer exists; needed for zero-copy.
    Native,
    /// After the driver, on every interface, slower.
    Generic,
    /// Native where the driver can, generic otherwise; see [`XdpProgram::is_native`].
    NativeOrGeneric,
}

/// The XDP program in the kernel, attached to nothing: [`attach`](Self::attach) it, or run it by `BPF_PROG_TEST_RUN` on its
/// descriptor.
#[derive(Debug)]
pub struct SteerProgram {
    program: OwnedFd,
    sockets: MapHandle,
    counters: MapHandle,
}

impl SteerProgram {
    /// Loads the program. Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root).
    pub fn load(steering: &Steering) -> Result<Self, XdpError> {
        steering.check()?;
        silence_libbpf();
        let mut storage = MaybeUninit::uninit();
        let mut open = SteerSkelBuilder::default().open(&mut storage).map_err(load_error)?;
        configure(&mut open, steering);
        Self::load_open(open, steering)
    }

    fn load_open(mut open: OpenSteerSkel<'_>, steering: &Steering) -> Result<Self, XdpError> {
        let log = VerifierLog::keep(NAME, &mut open.progs.steer)?;
        let loaded = match open.load() {
            Ok(loaded) => loaded,
            Err(error) => return Err(log.explain(error)),
        };
        for &(port, class) in &steering.ports {
            loaded.maps.ports.update(&port.to_ne_bytes(), &[class as u8], MapFlags::ANY).map_err(load_error)?;
        }
        for address in steering.addresses.iter().copied() {
            loaded.maps.addresses.update(&mapped(address), &[1], MapFlags::ANY).map_err(load_error)?;
        }
        // The descriptors keep program and maps in the kernel; libbpf's object is not needed any longer.
        let program = loaded.progs.steer.as_fd().try_clone_to_owned();
        Ok(Self {
            program: program.map_err(|error| load_error(error.into()))?,
            sockets: MapHandle::try_from(&loaded.maps.xsks).map_err(load_error)?,
            counters: MapHandle::try_from(&loaded.maps.counters).map_err(load_error)?,
        })
    }

    /// Attaches the program to `interface`, a name in the calling thread's network namespace. Packets flow to the kernel until
    /// sockets are set. On failure nothing is left attached.
    pub fn attach(self, interface: &str, how: AttachMode) -> Result<XdpProgram, XdpError> {
        let index = interface::index(interface)?;
        let program = self.program.as_fd();
        let (link, native) = match how {
            AttachMode::Native => (create_link(program, index, libbpf_sys::XDP_FLAGS_DRV_MODE), true),
            AttachMode::Generic => (create_link(program, index, libbpf_sys::XDP_FLAGS_SKB_MODE), false),
            AttachMode::NativeOrGeneric => match create_link(program, index, libbpf_sys::XDP_FLAGS_DRV_MODE) {
                Err(error) if driver_cannot(&error) => {
                    (create_link(program, index, libbpf_sys::XDP_FLAGS_SKB_MODE), false)
                }
                native => (native, true),
            },
        };
        let link = link.map_err(|error| attach_error(interface, error))?;
        Ok(XdpProgram { program: self, link, native })
    }

    /// Puts an AF_XDP socket with a receive ring at `index` (below 256): the queue it is bound to in mode
    /// [`PerQueue`](SteeringMode::PerQueue), its shard in mode [`SameQueue`](SteeringMode::SameQueue). It leaves its index
    /// when it is closed.
    pub fn set_socket(&self, index: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        let value = socket.as_raw_fd().to_ne_bytes();
        self.sockets.update(&index.to_ne_bytes(), &value, MapFlags::ANY).map_err(|source| XdpError::Socket {
            index,
            expected: "must be an AF_XDP one with a receive ring",
            source,
        })
    }

    /// What the program counted since it was loaded.
    pub fn counters(&self) -> Result<Counters, XdpError> {
        Counters::read(&self.counters)
    }
}

impl AsFd for SteerProgram {
    /// The program's descriptor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// The XDP program on an interface. It is detached when this value is dropped or the process ends in whatever way: the kernel
/// holds the attachment only as long as the link's descriptor is open.
#[derive(Debug)]
pub struct XdpProgram {
    program: SteerProgram,
    link: OwnedFd,
    native: bool,
}

impl XdpProgram {
    /// Loads the program and attaches it to `interface`. Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root); from Linux 5.19 on nothing
    /// later on this value does.
    pub fn attach(interface: &str, steering: &Steering, how: AttachMode) -> Result<Self, XdpError> {
        // The cheap mistake first, and without rights.
        interface::index(interface)?;
        SteerProgram::load(steering)?.attach(interface, how)
    }

    /// Whether the program runs in the driver.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// See [`SteerProgram::set_socket`].
    pub fn set_socket(&self, index: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        self.program.set_socket(index, socket)
    }

    /// See [`SteerProgram::counters`].
    pub fn counters(&self) -> Result<Counters, XdpError> {
        self.program.counters()
    }
}

impl Drop for XdpProgram {
    fn drop(&mut self) {
        // Kernels before 6.5 put off the work of closing a link; detaching is immediate. Should it fail, closing still works.
        // SAFETY: the descriptor is a link of ours and open.
        let _ = unsafe { libbpf_sys::bpf_link_detach(self.link.as_raw_fd()) };
    }
}

fn configure(open: &mut OpenSteerSkel<'_>, steering: &Steering) {
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        let (key_low, key_high) = key_words(steering);
        rodata.config.key_low = key_low;
        rodata.config.key_high = key_high;
        rodata.config.mode = match steering.mode {
            SteeringMode::PerQueue => 0,
            SteeringMode::SameQueue => 1,
        };
        rodata.config.shards = steering.shards.into();
        rodata.config.cid_epoch = steering.cid_epoch.into();
        rodata.config.addresses_only = u32::from(!steering.addresses.is_empty());
    }
}

fn load_error(source: libbpf_rs::Error) -> XdpError {
    XdpError::Load { program: NAME, source }
}

/// `flags` choose native or generic mode; libbpf-rs' own attach leaves that to the kernel.
fn create_link(program: BorrowedFd<'_>, interface: i32, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: all bits zero is a value of this struct of integers and pointers: no option set.
    let mut options: libbpf_sys::bpf_link_create_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of_val(&options) as libbpf_sys::size_t;
    options.flags = flags;
    // SAFETY: the program's descriptor is open and `options` lives during the call.
    let link =
        unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), interface, libbpf_sys::BPF_XDP, &raw const options) };
    if link < 0 {
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// Whether generic mode may do what native mode did not: not when something else is attached, gone or forbidden.
fn driver_cannot(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::ENODEV))
}

fn attach_error(interface: &str, source: io::Error) -> XdpError {
    let interface = interface.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => XdpError::NoRights,
        // EEXIST: the other program is in the other mode.
        Some(libc::EBUSY | libc::EEXIST) => XdpError::AnotherProgram { interface },
        Some(libc::EOPNOTSUPP) => XdpError::NoNativeMode { interface },
        Some(libc::ENODEV) => XdpError::UnknownInterface { interface },
        _ => XdpError::Refused { interface, source },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use libbpf_rs::ProgramType;

    use super::*;
    use crate::PortClass;

    #[test]
    fn a_refused_program_tells_the_verifiers_reason_and_keeps_its_log() {
        let steering = Steering {
            mode: SteeringMode::PerQueue,
            shards: 1,
            cid_epoch: 0,
            cid_mask_key: [0; 16],
            ports: vec![(4433, PortClass::Quic)],
            addresses: Vec::new(),
        };
        silence_libbpf();
        let mut storage = MaybeUninit::uninit();
        let mut open = SteerSkelBuilder::default().open(&mut storage).expect("the object file is sound");
        // A socket filter may not read what an XDP program may.
        open.progs.steer.set_prog_type(ProgramType::SocketFilter);
        match SteerProgram::load_open(open, &steering) {
            // Not by `eprintln!`, whose output the test harness hides when a test passes.
            Err(XdpError::NoRights) => io::stderr()
                .write_all(
                    b"a_refused_program_tells_the_verifiers_reason_and_keeps_its_log did not run: needs CAP_BPF\n",
                )
                .expect("stderr"),
            Err(error @ XdpError::Verifier { .. }) => {
                let line = error.to_string();
                assert!(line.starts_with("the kernel's verifier refuses the program `steer`: "), "{line}");
                assert!(!line.contains('\n'), "{line}");
                let XdpError::Verifier { reason, log, .. } = error else { unreachable!() };
                assert!(log.contains(&reason) && log.lines().count() > 3, "{log}");
            }
            other => panic!("{other:?}"),
        }
    }
}
