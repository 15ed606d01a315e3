//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once. SIGUSR1: asks for
//! a dump of the flight recorder.

use std::io;

use tokio::sync::watch;

use crate::trace_ui::screen;

/// Whether somebody asked this process to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Listens from now on. A second signal ends the process with exit code 1, whatever it does.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            ask.send_replace(true);
            signals.next().await;
            screen::leave();
            eprintln!("trunkline: interrupted again, ending at once");
            std::process::exit(1);
        });
        Ok(Self { asked })
    }

    /// Waits for the first signal. Cancel safe; resolves again and again once there was one.
    pub(crate) async fn asked(&mut self) {
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            // The listening task lives as long as the process: no more signals, so none ever.
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Somebody wants to see the flight recorder.
#[derive(Debug)]
pub(crate) struct DumpSignals {
    #[cfg(unix)]
    asked: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl DumpSignals {
    /// Listens from now on: until then SIGUSR1 would end the process.
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { asked: signal(SignalKind::user_defined1())? })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn asked(&mut self) {
        if self.asked.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
impl DumpSignals {
    /// There is no such signal here.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Never.
    pub(crate) async fn asked(&mut self) {
        std::future::pending().await
    }
}
