//! The thread of a shard: it makes executor and shard while the process may still ask the kernel for new things, and waits to be
//! told to go on.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use glommio::LocalExecutor;
use tracing::error;

use super::plane::{DataPlane, Descriptors};
use super::{HostSettings, executor};
use crate::EngineError;
use crate::edge::HostedSockets;
use crate::shard::ShardParts;

/// A shard's thread.
pub(crate) struct ShardThread {
    shard: usize,
    made: Receiver<Result<(), EngineError>>,
    go: SyncSender<()>,
    thread: JoinHandle<Result<(), EngineError>>,
}

impl ShardThread {
    /// Waits until the shard is made.
    ///
    /// # Errors
    /// Why it cannot be; its thread is over then.
    pub(crate) fn made(&self) -> Result<(), EngineError> {
        self.made.recv().unwrap_or_else(|_| Err(panicked(self.shard)))
    }

    /// Lets it run. A thread that is dropped without that ends.
    pub(crate) fn go(&self) {
        // One whose shard could not be made is gone.
        let _ = self.go.send(());
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> Result<(), EngineError> {
        drop(self.go);
        self.thread.join().map_err(|_| panicked(self.shard))?
    }
}

fn panicked(shard: usize) -> EngineError {
    EngineError::Host { shard, detail: "its thread panicked".into() }
}

/// Starts the thread of one shard. `make` runs on it, for a shard's parts stay on their thread.
pub(crate) fn spawn(
    index: usize,
    settings: HostSettings,
    make: impl FnOnce() -> Result<ShardParts, EngineError> + Send + 'static,
) -> Result<ShardThread, EngineError> {
    let (tell, made) = sync_channel(1);
    let (go, told) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(move || host(index, settings, make, &tell, &told))
        .map_err(|problem| EngineError::Host { shard: index, detail: problem.to_string() })?;
    Ok(ShardThread { shard: index, made, go, thread })
}

/// What a shard runs on.
fn prepare(
    index: usize,
    settings: &mut HostSettings,
) -> Result<(LocalExecutor, Descriptors, HostedSockets), EngineError> {
    let entries = executor::ring_entries(settings.edge.connections());
    let executor = executor::make(index, executor::core_of(index), entries)?;
    let packets = std::mem::take(&mut settings.packets);
    let watched =
        |source| EngineError::Socket { action: "watch the sockets", address: format!("shard {index}"), source };
    let descriptors = Descriptors::new(packets, &settings.mailbox).map_err(watched)?;
    let hosted = HostedSockets::host(&mut settings.sockets).map_err(watched)?;
    Ok((executor, descriptors, hosted))
}

fn host(
    index: usize,
    mut settings: HostSettings,
    make: impl FnOnce() -> Result<ShardParts, EngineError>,
    tell: &SyncSender<Result<(), EngineError>>,
    told: &Receiver<()>,
) -> Result<(), EngineError> {
    let made = prepare(index, &mut settings).and_then(|prepared| Ok((prepared, make()?)));
    let ((executor, descriptors, hosted), parts) = match made {
        Ok(made) => made,
        Err(problem) => {
            let _ = tell.send(Err(problem));
            return Ok(());
        }
    };
    if tell.send(Ok(())).is_err() || told.recv().is_err() {
        return Ok(());
    }
    let stop = settings.stop.clone();
    let ended =
        executor.run(async move { DataPlane::new(parts, descriptors, hosted, settings)?.with_spares().run().await });
    if let Err(problem) = &ended {
        error!(shard = index, error = %problem, "the shard ends");
        stop.store(true, Ordering::Release);
    }
    ended
}
