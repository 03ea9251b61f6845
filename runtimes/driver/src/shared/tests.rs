use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll};

use rocketmq_core::{ClockReading, Delivery, Message, WallTime};

use super::*;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::from_millis(0)
    }

    fn seed(&self) -> u64 {
        1
    }

    fn process_id(&self) -> u32 {
        1
    }
}

const DEADLINE: Instant = Instant::from_nanos(100);

/// Room for one message.
fn shared() -> Shared {
    let config = Config::builder("127.0.0.1:9876").in_flight_messages_max(1).build().unwrap();
    let identity = Identity::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1, 1);
    Shared::new(config, Box::new(Stopped), identity)
}

fn request(shared: &Shared) -> Request {
    let clock = ClockReading::default();
    let key = shared.identity.next_key(clock.wall, &Stopped);
    let message = Message::new("topic", "body");
    Request {
        message: PreparedMessage::new(message, key, clock, &shared.config).unwrap(),
        group: 0,
        mode: Mode::Awaited,
        selection: Selection::Any,
        when_down: WhenDown::Wait,
        order: None,
        retries_max: None,
        started: Instant::ZERO,
        deadline: DEADLINE,
        time_with_room: None,
        slot: Arc::new(Slot::new()),
        announce: false,
        gather: false,
    }
}

fn ended(slot: &SendSlot) -> Option<SendErrorKind> {
    match slot.poll(&Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(error)) => {
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert!(error.message().is_some());
            Some(error.kind().clone())
        }
        Poll::Ready(Ok(_)) | Poll::Pending => None,
    }
}

/// What may happen while one send holds the only room and two wait behind it.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Step {
    /// The one that holds room ends.
    Release,
    /// The caller of the first that waits goes.
    Cancel,
    /// Time runs out for those who still wait.
    Expire,
    /// The driver takes commands.
    Exchange,
    /// The driver ends.
    Stop,
}

/// Every order of `items`.
pub(crate) fn orders<T: Copy>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(index);
        all.extend(orders(&rest).into_iter().map(|order| [&[*item], &*order].concat()));
    }
    all
}

/// Plays one order and returns how often each of the three ended or reached the driver.
fn play(order: &[Step]) -> [u32; 3] {
    let shared = shared();
    let requests = [request(&shared), request(&shared), request(&shared)];
    let slots = requests.each_ref().map(|request| Arc::clone(&request.slot));
    let placements = requests.map(|request| shared.submit(request, true).unwrap());
    assert_eq!(placements[0], Placement::Accepted);
    assert_eq!(placements[2], Placement::Waiting(1));
    assert!(shared.submit(request(&shared), false).is_err(), "no room, or others are first");

    let (mut reached, mut held, mut stopped) = ([0; 3], Vec::new(), false);
    let (mut expired, mut wakers) = (Vec::new(), Vec::new());
    let mut take = |commands: VecDeque<Command>, held: &mut Vec<Ended>, lost: bool| {
        for command in commands {
            if let Command::Send { op, room, request } = command {
                let index = slots.iter().position(|slot| Arc::ptr_eq(slot, &request.slot));
                reached[index.unwrap()] += 1;
                held.push(Ended { op: Some(op), room });
                if lost {
                    request.refuse(SendErrorKind::DriverStopped, DEADLINE);
                }
            }
        }
    };
    for step in order.iter().chain(&[Step::Exchange]) {
        match step {
            Step::Release => shared.release(Counts::default(), &mut held, &mut wakers),
            Step::Cancel => shared.cancel(&slots[1], Some(0)),
            Step::Expire | Step::Exchange => {
                let now = if *step == Step::Expire { DEADLINE } else { Instant::ZERO };
                let mut batch = VecDeque::new();
                let counts = Counts::default();
                shared.exchange(now, counts, &mut batch, &mut expired, &mut wakers);
                for (request, bound) in expired.drain(..) {
                    request.refuse(SendErrorKind::Backpressure(bound), now);
                }
                take(batch, &mut held, false);
            }
            Step::Stop => {
                let (commands, waiting) = shared.stop();
                stopped = true;
                take(commands, &mut held, true);
                for request in waiting {
                    request.refuse(SendErrorKind::DriverStopped, DEADLINE);
                }
            }
        }
    }
    let stats = shared.stats();
    assert_eq!(stats.in_flight as usize, held.len(), "{order:?}");
    assert!(!stopped || stats.waiting == 0, "{order:?}");
    let mut ends = [0; 3];
    for index in 0..3 {
        ends[index] = reached[index].max(u32::from(ended(&slots[index]).is_some()));
        assert!(reached[index] <= 1, "{order:?}");
    }
    ends
}

#[test]
fn in_every_order_each_send_is_taken_in_or_ends_with_its_message() {
    use Step::{Cancel, Exchange, Expire, Release, Stop};
    for order in orders(&[Release, Release, Cancel, Exchange, Expire, Stop]) {
        assert_eq!(play(&order), [1, 1, 1], "{order:?}");
    }
    for order in orders(&[Release, Release, Exchange, Exchange, Cancel]) {
        let ends = play(&order);
        assert_eq!(&ends[..2], [1, 1], "{order:?}");
    }
}

#[test]
fn the_driver_is_told_of_deadlines_and_sleeps_only_when_nothing_is_to_be_done() {
    let shared = shared();
    assert!(shared.may_sleep(Instant::FAR_FUTURE));
    shared.submit(request(&shared), true).unwrap();
    assert!(!shared.may_sleep(Instant::FAR_FUTURE));
    let (mut batch, mut expired, mut wakers) = (VecDeque::new(), Vec::new(), Vec::new());
    let counts = Counts::default();
    let now = Instant::ZERO;
    shared.exchange(now, counts, &mut batch, &mut expired, &mut wakers);
    shared.submit(request(&shared), true).unwrap();
    assert!(!shared.may_sleep(Instant::FAR_FUTURE), "it would sleep through a deadline");
    assert!(shared.may_sleep(DEADLINE));
}

#[test]
fn a_hundred_thousand_wait_at_less_than_2_kib_each_and_leave_nothing() {
    let shared = shared();
    let first = request(&shared);
    shared.submit(first, true).unwrap();
    let slots: Vec<_> = (0..100_000)
        .map(|number| {
            let request = request(&shared);
            let slot = Arc::clone(&request.slot);
            assert_eq!(shared.submit(request, true).unwrap(), Placement::Waiting(number));
            slot
        })
        .collect();
    assert_eq!(shared.stats().waiting, 100_000);
    let state = shared.lock();
    // The request, its slot, its places in the two queues, half full at worst, and its end.
    let queued = 2 * size_of::<(u64, Request)>() + 2 * size_of::<(u64, u64, u64)>();
    let ends = state.deadlines.capacity() * size_of::<(Instant, u64)>() / 100_000;
    drop(state);
    let each = queued + size_of::<SendSlot>() + 2 * size_of::<usize>() + ends;
    // What the message itself owns: key, topic, body and rendered properties.
    assert!(each + 512 <= 2_048, "{each} bytes");
    for (number, slot) in slots.iter().enumerate() {
        shared.cancel(slot, Some(number as u64));
        assert_eq!(ended(slot), Some(SendErrorKind::Cancelled));
    }
    let mut state = shared.lock();
    assert_eq!((state.waiting.len(), state.admission.waiting()), (0, 0));
    state.next_deadline();
    assert!(state.deadlines.is_empty());
}

#[test]
fn groups_are_unique_until_they_are_forgotten() {
    let shared = shared();
    assert_eq!(shared.register("a", None, None), Ok(0));
    assert_eq!(shared.register("a", None, None), Err(GroupError::Duplicate("a".into())));
    assert_eq!(shared.register("b", None, None), Ok(1));
    shared.unregister(0);
    assert_eq!(shared.register("c", None, None), Ok(0));
    assert!(matches!(shared.register("no good", None, None), Err(GroupError::Illegal(_))));
    shared.stop();
    assert_eq!(shared.register("d", None, None), Err(GroupError::Closed));
}
