//! How one contender is measured once: two ends in this process, a warm-up, then a window whose
//! answers and CPU time count.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::message;
use crate::tally::{Tally, Window};

/// A failure that ends the bench: a contender that is broken must not look fast.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is asked of a contender.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many peers the asking node has, each with a connection of its own.
    pub peers: usize,
    /// How many requests are in flight to each of them at any time.
    pub in_flight: usize,
    /// How long callers run before it counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub secs: Duration,
}

/// One way to carry requests and answers.
pub trait Contender: Sync {
    /// Its name in the report: `ours`, `rr`, `raw`.
    fn name(&self) -> &'static str;

    /// What tells it from others of the same name, such as the negotiation or where callers run.
    fn variant(&self) -> &'static str;

    /// Runs the load. Called on the thread that is the asking end; the answering end gets a thread
    /// of its own (see [`serve_beside`]), and neither gets more.
    ///
    /// Connects to all peers, then calls [`Gate::open`], keeps the load going until the window is
    /// over, checks every answer with [`message::check`] and returns what was counted.
    fn run(&self, load: Load, gate: Gate) -> Result<Tally, Failure>;
}

/// Starts the clock when everything is connected.
#[derive(Debug)]
pub struct Gate {
    load: Load,
    opened: SyncSender<Window>,
}

impl Gate {
    /// Everything is connected: the warm-up begins now.
    pub fn open(self) -> Window {
        let from = Instant::now() + self.load.warm_up;
        let window = Window { from, until: from + self.load.secs };
        // Nobody waits for it any more only if the bench is ending.
        let _ = self.opened.send(window);
        window
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Answers per second.
    pub rate: f64,
    /// CPU time of the process per answer, both ends and their helper threads, in microseconds.
    pub cpu_us: f64,
    /// Half of the answers took at most this, in microseconds.
    pub p50_us: f64,
    /// All but 1 % of the answers took at most this, in microseconds.
    pub p99_us: f64,
}

/// Measures a contender once.
pub fn measure(contender: &dyn Contender, load: Load) -> Result<Sample, Failure> {
    let (opened, window) = sync_channel(1);
    std::thread::scope(|scope| {
        let asking = std::thread::Builder::new()
            .name("asking".into())
            .spawn_scoped(scope, || contender.run(load, Gate { load, opened }))?;
        let cpu = cpu_within(&window);
        let tally = asking.join().map_err(|_| "the asking end panicked")??;
        let Some(cpu) = cpu else { return Err("it ended without opening the gate".into()) };
        if tally.answers() == 0 {
            return Err("not one answer within the window".into());
        }
        let us = |d: Duration| d.as_secs_f64() * 1e6;
        Ok(Sample {
            rate: tally.answers() as f64 / load.secs.as_secs_f64(),
            cpu_us: us(cpu) / tally.answers() as f64,
            p50_us: us(tally.quantile(0.5)),
            p99_us: us(tally.quantile(0.99)),
        })
    })
}

/// The CPU time that the process takes within the window, once it is known.
fn cpu_within(window: &Receiver<Window>) -> Option<Duration> {
    let window = window.recv().ok()?;
    std::thread::sleep(window.from.saturating_duration_since(Instant::now()));
    let before = ProcessTime::now();
    std::thread::sleep(window.until.saturating_duration_since(Instant::now()));
    Some(before.elapsed())
}

/// Keeps this thread on the core with this index, counted round. Without it the system puts the two
/// ends on one core in one run and on two in the next, and a wake-up costs three times as much.
fn stay_on_core(index: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = index.checked_rem(cores.len()).map(|index| cores[index]) {
        core_affinity::set_for_current(core);
    }
}

/// A single-threaded runtime, as each end has one.
pub fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs callers on a runtime of two workers, beside the session's thread, and adds up their tallies.
///
/// To be called on the asking end, whose thread stays free for the session meanwhile.
pub async fn on_two_workers<C>(window: Window, callers: impl IntoIterator<Item = C>) -> Result<Tally, Failure>
where
    C: Future<Output = Result<Tally, Failure>> + Send + 'static,
{
    let next_core = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(move || stay_on_core(next_core.fetch_add(1, Ordering::Relaxed)))
        .enable_all()
        .build()?;
    let calling: Vec<_> = callers.into_iter().map(|caller| runtime.spawn(caller)).collect();
    let total = total(window, calling).await;
    // Waiting for workers is not allowed here; they have nothing left to do.
    runtime.shutdown_background();
    total
}

/// Runs callers on this very thread, and adds up their tallies. To be called within a `LocalSet`.
pub async fn on_this_thread<C>(window: Window, callers: impl IntoIterator<Item = C>) -> Result<Tally, Failure>
where
    C: Future<Output = Result<Tally, Failure>> + 'static,
{
    total(window, callers.into_iter().map(tokio::task::spawn_local).collect()).await
}

async fn total(
    window: Window,
    calling: Vec<tokio::task::JoinHandle<Result<Tally, Failure>>>,
) -> Result<Tally, Failure> {
    let mut total = Tally::new(window);
    for caller in calling {
        total.merge(&caller.await??);
    }
    Ok(total)
}

/// Runs the answering end on a thread of its own, and `ask` here with what `serve` announced.
///
/// `serve` gets a way to announce (addresses, say) and a future that ends when it shall end.
pub fn serve_beside<A: Send + 'static, T>(
    serve: impl AsyncFnOnce(
        tokio::sync::oneshot::Sender<A>,
        tokio::sync::oneshot::Receiver<()>,
    ) -> Result<(), Failure>
    + Send
    + 'static,
    ask: impl AsyncFnOnce(A) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (announce, announced) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    stay_on_core(0);
    let serving = std::thread::Builder::new().name("answering".into()).spawn(move || {
        stay_on_core(1);
        let runtime = one_thread()?;
        tokio::task::LocalSet::new().block_on(&runtime, serve(announce, stopped))
    })?;
    let asked = one_thread().map_err(Failure::from).and_then(|runtime| {
        tokio::task::LocalSet::new().block_on(&runtime, async {
            match announced.await {
                Ok(what) => ask(what).await,
                Err(_) => Err("the answering end did not start".into()),
            }
        })
    });
    drop(stop);
    let served = serving.join().map_err(|_| "the answering end panicked")?;
    // If both failed, the answering end knows why.
    served.and(asked)
}

/// One caller in a closed loop: asks, awaits, checks, asks again, until the window is over.
///
/// `ask` gets the request's bytes. Callers must use different `first_tag`s, some billions apart.
pub async fn call_in_a_loop<B: AsRef<[u8]>>(
    window: Window,
    first_tag: u64,
    mut ask: impl AsyncFnMut([u8; message::REQUEST_BYTES]) -> Result<B, Failure>,
) -> Result<Tally, Failure> {
    let mut tally = Tally::new(window);
    let mut tag = first_tag;
    loop {
        let asked = Instant::now();
        let answer = ask(message::request(tag)).await?;
        message::check(answer.as_ref(), tag)?;
        if !tally.note(asked, Instant::now()) {
            return Ok(tally);
        }
        tag += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Calls(bool);

    impl Contender for Calls {
        fn name(&self) -> &'static str {
            "calls"
        }

        fn variant(&self) -> &'static str {
            ""
        }

        fn run(&self, _: Load, gate: Gate) -> Result<Tally, Failure> {
            let wrong = self.0;
            one_thread()?.block_on(call_in_a_loop(gate.open(), 0, async |request| {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let mut answer = message::answer(&request)?;
                answer[7] ^= u8::from(wrong);
                Ok(answer)
            }))
        }
    }

    const LOAD: Load =
        Load { peers: 1, in_flight: 1, warm_up: Duration::from_millis(20), secs: Duration::from_millis(100) };

    #[test]
    fn a_measurement_counts_answers_and_latencies() {
        let sample = measure(&Calls(false), LOAD).unwrap();
        assert!(sample.rate > 50.0 && sample.rate < 1000.0, "{sample:?}");
        assert!(sample.p50_us > 900.0 && sample.p99_us >= sample.p50_us, "{sample:?}");
    }

    #[test]
    fn a_contender_that_answers_wrongly_fails() {
        assert!(measure(&Calls(true), LOAD).is_err());
    }

    #[test]
    fn callers_on_either_thread_are_added_up() {
        let caller = |window, first_tag| {
            call_in_a_loop(window, first_tag, async |request| {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(message::answer(&request)?)
            })
        };
        let soon = || {
            let from = Instant::now();
            Window { from, until: from + Duration::from_millis(50) }
        };
        let count = serve_beside(
            async |announce, _| announce.send(()).map_err(|()| "nobody asks".into()),
            async |()| {
                let window = soon();
                let beside = on_two_workers(window, (0..4).map(|i| caller(window, i << 40))).await?;
                let window = soon();
                let here = on_this_thread(window, (0..4).map(|i| caller(window, i << 40))).await?;
                Ok((beside.answers(), here.answers()))
            },
        );
        let (beside, here) = count.unwrap();
        assert!(beside > 20 && here > 20, "{beside} {here}");
    }

    #[test]
    fn a_failing_answering_end_is_reported() {
        let failed: Result<(), _> = serve_beside(async |_, _| Err("no port".into()), async |(): ()| Ok(()));
        assert_eq!(failed.unwrap_err().to_string(), "no port");
    }
}
