//! The executor: one thread, virtual time, and a seed that decides who is next.
//!
//! Everything is behind locks because handles of clients may be used from anywhere, but all work is
//! done by the one thread that runs [`Core::block_on`]. No lock is held while foreign code runs,
//! but for the closure of [`Core::with_network`].

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::guest::Guests;
use super::stream::{Socket, SocketId};
use crate::cluster::{Cluster, ClusterConfig, Node, NodeState};
use crate::network::{Network, Notice, Random};
use crate::world::Trace;

/// Polls and events at one virtual instant, after which something goes in circles.
const STANDING_MAX: u64 = 1_000_000;

/// So many of a thousand times the next thing that is due happens before a task that is ready runs.
const EVENTS_FIRST: u64 = 250;

/// Lines of the story in a panic.
const TOLD: usize = 40;

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

type Call = Box<dyn FnOnce(&mut Network) + Send>;

/// Everything of one simulation.
pub(super) struct Core {
    pub(super) seed: u64,
    /// Nanoseconds. Outside the locks, so that handles can ask anywhere.
    now: AtomicU64,
    /// The wall clock: milliseconds, and when it showed them.
    wall: Mutex<(i64, u64)>,
    /// What clients draw their seeds from.
    secrets: Mutex<Random>,
    pub(super) ready: Mutex<Ready>,
    /// Guests and the executor wait here for each other.
    pub(super) changed: Condvar,
    state: Mutex<State>,
    running: AtomicBool,
    /// The story was told by a panic.
    told: AtomicBool,
}

/// Tasks that are to be polled.
#[derive(Debug)]
pub(super) struct Ready {
    queue: Vec<u64>,
    random: Random,
    pub(super) guests: Guests,
}

pub(super) struct State {
    random: Random,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    /// Processes that were killed.
    pub(super) dead: BTreeSet<u64>,
    pub(super) processes: u64,
    pub(super) clients: usize,
    /// Servers that are cut off from every client.
    pub(super) parted: BTreeSet<Node>,
    /// By time, then in order.
    timers: BTreeMap<(u64, u64), Waker>,
    calls: BTreeMap<(u64, u64), Call>,
    sequence: u64,
    pub(super) network: Network,
    /// How often the network was replaced.
    pub(super) era: u64,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    pub(super) trace: Trace,
    /// Frames of the cluster that the story has told.
    frames_told: usize,
    /// Polls and events since the clock last moved.
    standing: u64,
    ended: bool,
}

struct Task {
    /// `None` while it is polled.
    future: Option<BoxFuture>,
    waker: Arc<TaskWaker>,
    process: u64,
}

pub(super) struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    core: Arc<Core>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            lock(&self.core.ready).queue.push(self.id);
        }
    }
}

thread_local! {
    /// This thread is inside of a closure that holds the lock.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Core {
    pub(super) fn new(seed: u64, cluster: ClusterConfig) -> Arc<Core> {
        let root = Random::new(seed);
        let wall_ms = cluster.wall_start_ms;
        let ready =
            Ready { queue: Vec::new(), random: root.fork(0x7265_6164), guests: Guests::default() };
        let state = State {
            random: root.fork(0x7374_6174),
            tasks: BTreeMap::new(),
            next_task: 0,
            dead: BTreeSet::new(),
            processes: 0,
            clients: 0,
            parted: BTreeSet::new(),
            timers: BTreeMap::new(),
            calls: BTreeMap::new(),
            sequence: 0,
            network: Network::new(seed, cluster),
            era: 0,
            sockets: BTreeMap::new(),
            trace: Trace::new(),
            frames_told: 0,
            standing: 0,
            ended: false,
        };
        Arc::new(Core {
            seed,
            now: AtomicU64::new(0),
            wall: Mutex::new((wall_ms, 0)),
            secrets: Mutex::new(root.fork(0x7365_6372)),
            ready: Mutex::new(ready),
            changed: Condvar::new(),
            state: Mutex::new(state),
            running: AtomicBool::new(false),
            told: AtomicBool::new(false),
        })
    }

    // ---- Time and chance --------------------------------------------------------------------

    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    pub(super) fn wall_ms(&self) -> i64 {
        let (ms, at) = *lock(&self.wall);
        ms.saturating_add(((self.now() - at) / 1_000_000) as i64)
    }

    pub(super) fn set_wall_ms(&self, ms: i64) {
        *lock(&self.wall) = (ms, self.now());
    }

    pub(super) fn secret(&self) -> u64 {
        lock(&self.secrets).draw()
    }

    pub(super) fn fork_random(&self) -> Random {
        let label = self.secret();
        Random::new(self.seed).fork(label)
    }

    // ---- State ------------------------------------------------------------------------------

    /// The state; nothing foreign may be called while it is held.
    ///
    /// # Panics
    /// Inside of a closure that was given the cluster or the network.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        assert!(
            !INSIDE.get(),
            "the simulation is called inside of `with`, which holds its lock: take what you need \
             out of the closure first, and call afterwards"
        );
        lock(&self.state)
    }

    /// Lets a closure use the network, and tells in the story what became of the servers.
    pub(super) fn with_network<T>(&self, call: impl FnOnce(&mut Network) -> T) -> T {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                INSIDE.set(false);
            }
        }
        let mut state = self.state();
        let before = states(state.network.cluster());
        let leave = Leave;
        INSIDE.set(true);
        let result = call(&mut state.network);
        drop(leave);
        state.tell_changes(&before);
        let wakers = state.take_notices();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Adds a line to the story.
    pub(super) fn note(&self, text: &str) {
        self.state().note(text);
    }

    // ---- Tasks ------------------------------------------------------------------------------

    /// Starts a task of a process.
    pub(super) fn spawn(self: &Arc<Core>, process: u64, future: BoxFuture) {
        let mut state = self.state();
        if state.ended || state.dead.contains(&process) {
            drop(state);
            return drop(future);
        }
        let waker = self.new_waker(&mut state);
        let task = Task { future: Some(future), waker: Arc::clone(&waker), process };
        state.tasks.insert(waker.id, task);
        drop(state);
        waker.wake();
    }

    fn new_waker(self: &Arc<Core>, state: &mut State) -> Arc<TaskWaker> {
        let id = state.next_task;
        state.next_task += 1;
        Arc::new(TaskWaker { id, queued: AtomicBool::new(false), core: Arc::clone(self) })
    }

    /// Drops every task of a process, now and later.
    pub(super) fn kill(&self, process: u64) {
        let mut state = self.state();
        state.dead.insert(process);
        state.note(&format!("process {process} is killed"));
        let of_it = |task: &Task| task.process == process && task.future.is_some();
        let ids: Vec<u64> =
            state.tasks.iter().filter(|(_, task)| of_it(task)).map(|(id, _)| *id).collect();
        let tasks: Vec<_> = ids.iter().filter_map(|id| state.tasks.remove(id)).collect();
        drop(state);
        drop(tasks);
    }

    /// Drops every task; later ones are dropped at once.
    pub(super) fn end(&self) {
        loop {
            let mut state = lock(&self.state);
            state.ended = true;
            let tasks = std::mem::take(&mut state.tasks);
            let calls = std::mem::take(&mut state.calls);
            let timers = std::mem::take(&mut state.timers);
            drop(state);
            if tasks.is_empty() && calls.is_empty() && timers.is_empty() {
                break;
            }
            drop((tasks, calls, timers));
        }
        lock(&self.ready).guests.end();
        self.changed.notify_all();
    }

    /// How many tasks have not ended.
    pub(super) fn tasks(&self) -> usize {
        self.state().tasks.len()
    }

    // ---- The loop ---------------------------------------------------------------------------

    /// Runs everything until `future` is done.
    ///
    /// # Panics
    /// If it never will be, or something goes in circles.
    pub(super) fn block_on<F: Future>(self: &Arc<Core>, future: F) -> F::Output {
        struct Running<'a>(&'a Core);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.running.store(false, Ordering::SeqCst);
            }
        }
        assert!(
            !self.running.swap(true, Ordering::SeqCst),
            "`run` is called inside of `run`: await the future instead"
        );
        let _running = Running(self);
        let mut future = pin!(future);
        let root = self.new_waker(&mut self.state());
        let waker = Waker::from(Arc::clone(&root));
        root.wake_by_ref();
        loop {
            self.wait_for_guests();
            if self.events_first() && self.happen(true) {
                continue;
            }
            match self.pick() {
                Some(id) if id == root.id => {
                    root.queued.store(false, Ordering::SeqCst);
                    self.count(id);
                    let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
                    if let Poll::Ready(output) = poll {
                        return output;
                    }
                }
                Some(id) => self.poll(id),
                None => {
                    self.happen(false);
                }
            }
        }
    }

    fn events_first(&self) -> bool {
        lock(&self.ready).random.chance(EVENTS_FIRST)
    }

    fn pick(&self) -> Option<u64> {
        let mut ready = lock(&self.ready);
        let count = ready.queue.len() as u64;
        if count == 0 {
            return None;
        }
        let index = ready.random.below(count) as usize;
        Some(ready.queue.swap_remove(index))
    }

    fn poll(&self, id: u64) {
        let mut state = self.state();
        let Some(task) = state.tasks.get_mut(&id) else { return };
        let (future, waker) = (task.future.take(), Arc::clone(&task.waker));
        drop(state);
        let Some(mut future) = future else { return };
        self.count(id);
        waker.queued.store(false, Ordering::SeqCst);
        let done = future.as_mut().poll(&mut Context::from_waker(&waker.into())).is_ready();
        let mut state = self.state();
        let dead = state.tasks.get(&id).is_none_or(|task| state.dead.contains(&task.process));
        if done || dead {
            let task = state.tasks.remove(&id);
            drop(state);
            // What a task holds may call back when it is dropped.
            drop((task, future));
        } else if let Some(task) = state.tasks.get_mut(&id) {
            task.future = Some(future);
        }
    }

    /// Counts a poll, and makes it part of what two runs have to agree on.
    fn count(&self, id: u64) {
        let mut state = self.state();
        state.absorb(&[id]);
        state.standing += 1;
        if state.standing > STANDING_MAX {
            let text = format!(
                "the simulation goes in circles: {STANDING_MAX} polls at one moment, the last of \
                 task {id}. Look for a loop that awaits nothing that takes time, and let it sleep"
            );
            self.fail(state, &text);
        }
    }

    /// Does the next thing, if `due` only one whose time has come. Whether there was one.
    fn happen(&self, due: bool) -> bool {
        let mut state = self.state();
        let next = state.next();
        let Some(next) = next.filter(|next| !due || *next <= self.now()) else {
            if !due {
                self.stuck(state);
            }
            return false;
        };
        if next > self.now() {
            self.now.store(next, Ordering::SeqCst);
            state.standing = 0;
        }
        state.standing += 1;
        state.network.advance(next);
        let mut wakers = Vec::new();
        let mut call = None;
        match state.choose(next) {
            What::Timer => wakers.extend(state.timers.pop_first().map(|(_, waker)| waker)),
            What::Call => call = state.calls.pop_first().map(|(_, call)| call),
            What::Network => {
                state.network.step();
                wakers = state.take_notices();
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if let Some(call) = call {
            self.with_network(call);
        }
        true
    }

    /// Nothing is ready and nothing will be.
    fn stuck(&self, state: MutexGuard<'_, State>) -> ! {
        let text = format!(
            "the simulation stands still: nothing is ready and nothing is planned, but the future \
             given to `run` is not done; {} tasks wait as well. Something waits for what nobody \
             does: look for a send or a channel whose other side is gone, and give waits a limit",
            state.tasks.len()
        );
        self.fail(state, &text)
    }

    // ---- The story --------------------------------------------------------------------------

    /// Panics with seed, time and story.
    #[track_caller]
    pub(super) fn fail(&self, state: MutexGuard<'_, State>, text: &str) -> ! {
        let story = state.trace.tail(TOLD);
        drop(state);
        self.told.store(true, Ordering::SeqCst);
        let at = std::time::Duration::from_nanos(self.now());
        panic!("{text}\nseed {}, at {at:?}; the last lines of the story:\n{story}", self.seed)
    }

    /// The end of the story, for those who panicked without it; once.
    pub(super) fn untold(&self) -> Option<String> {
        let told = self.told.swap(true, Ordering::SeqCst);
        (!told).then(|| lock(&self.state).trace.tail(TOLD))
    }
}

enum What {
    Timer,
    Call,
    Network,
}

impl State {
    /// When the next thing happens by itself.
    fn next(&self) -> Option<u64> {
        let timer = self.timers.first_key_value().map(|(key, _)| key.0);
        let call = self.calls.first_key_value().map(|(key, _)| key.0);
        [timer, call, self.network.next_at()].into_iter().flatten().min()
    }

    /// One of the things that are due at `at`, by chance.
    fn choose(&mut self, at: u64) -> What {
        let mut due = Vec::new();
        if self.timers.first_key_value().is_some_and(|(key, _)| key.0 <= at) {
            due.push(What::Timer);
        }
        if self.calls.first_key_value().is_some_and(|(key, _)| key.0 <= at) {
            due.push(What::Call);
        }
        if self.network.next_at().is_some_and(|next| next <= at) {
            due.push(What::Network);
        }
        let index = self.random.below(due.len() as u64) as usize;
        due.swap_remove(index)
    }

    /// Has `waker` woken at `at`. Returns the name under which it can be taken back.
    pub(super) fn set_timer(&mut self, at: u64, waker: Waker) -> (u64, u64) {
        self.sequence += 1;
        let key = (at, self.sequence);
        self.timers.insert(key, waker);
        key
    }

    pub(super) fn take_timer(&mut self, key: (u64, u64)) -> Option<Waker> {
        self.timers.remove(&key)
    }

    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn plan(&mut self, at: u64, call: Call) {
        self.sequence += 1;
        self.calls.insert((at, self.sequence), call);
    }

    /// Hands the network's notices to the sockets. The wakers are to be woken without the lock.
    pub(super) fn take_notices(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(notice) = self.network.poll_notice() {
            let link = match notice {
                Notice::Connected(link)
                | Notice::Failed(link, _)
                | Notice::Readable(link)
                | Notice::Writable(link)
                | Notice::Ended(link, _) => link,
            };
            let Some(socket) = self.sockets.get_mut(&(self.era, link)) else { continue };
            wakers.extend(socket.heed(&notice));
            match notice {
                Notice::Connected(link) => self.note(&format!("link {} is connected", link.0)),
                Notice::Failed(link, failure) => {
                    self.note(&format!("link {} fails: {failure:?}", link.0));
                }
                Notice::Ended(link, end) => self.note(&format!("link {} ends: {end:?}", link.0)),
                Notice::Readable(_) | Notice::Writable(_) => {}
            }
        }
        self.tell_frames();
        wakers
    }

    /// Begins anew with other servers. The wakers are to be woken without the lock.
    pub(super) fn replace_network(&mut self, seed: u64, cluster: ClusterConfig) -> Vec<Waker> {
        let now = self.network.now();
        self.era += 1;
        self.network = Network::new(seed ^ self.era, cluster);
        self.network.advance(now);
        self.parted.clear();
        self.frames_told = 0;
        self.sockets.values_mut().flat_map(Socket::lose).collect()
    }

    /// Adds a line to the story.
    pub(super) fn note(&mut self, text: &str) {
        let now = self.network.now();
        self.trace.push(now, format_args!("{text}"));
    }

    /// Makes something part of what two runs have to agree on, without a line in the story.
    pub(super) fn absorb(&mut self, numbers: &[u64]) {
        let now = self.network.now();
        [now].iter().chain(numbers).for_each(|number| self.trace.absorb(*number));
    }

    /// Tells which requests the servers got since the last time.
    fn tell_frames(&mut self) {
        let frames = self.network.cluster().frames();
        // Somebody may have had them forgotten.
        let from = self.frames_told.min(frames.len());
        let lines: Vec<String> = frames[from..]
            .iter()
            .map(|frame| {
                let key = frame.ext.get("i").and_then(unique_key);
                let topic = frame.ext.get("b").or_else(|| frame.ext.get("topic"));
                let (node, code, link) = (frame.node, frame.code, frame.connection.0);
                let mut line = format!("{node:?} gets {code} #{} on link {link}", frame.opaque);
                for part in [topic, key].into_iter().flatten() {
                    line.push(' ');
                    line.push_str(part);
                }
                line
            })
            .collect();
        self.frames_told = frames.len();
        for line in lines {
            self.note(&line);
        }
    }

    /// Tells which servers are not what they were.
    fn tell_changes(&mut self, before: &[(Node, NodeState)]) {
        let after = states(self.network.cluster());
        for (node, state) in after.iter().filter(|state| !before.contains(state)) {
            self.note(&format!("{node:?} is {:?}, {:?}", state.process, state.listener));
        }
    }
}

/// The unique key among the properties of a message as they are on the wire.
fn unique_key(properties: &str) -> Option<&str> {
    let mut parts = properties.split('\u{2}').map(|part| part.split_once('\u{1}'));
    parts.find_map(|part| part.filter(|(name, _)| *name == "UNIQ_KEY").map(|(_, key)| key))
}

fn states(cluster: &Cluster) -> Vec<(Node, NodeState)> {
    cluster.nodes().into_iter().map(|node| (node, cluster.node_state(node))).collect()
}

/// A lock that a panicking task does not poison: the state behind it is whole after every call.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
