//! The same seed again, and the same bytes cut differently.

use rocketmq_testkit::cluster::{Fault, Rule};
use rocketmq_testkit::world::{
    Habits, LinkProfile, Outcome, Segmentation, SendSpec, World, Writes,
};

use crate::common::{A, B, TOPIC, cluster, config, ms, secs};

/// Something of everything: slow answers, busy brokers, a kill, oneway, given queues.
fn story(seed: u64, profile: LinkProfile, habits: Habits) -> World {
    let mut world = World::new(seed, cluster(3).name_servers(1), config(|c| c));
    world.set_profile(profile);
    world.set_habits(habits);
    world.with(|cluster| {
        cluster.script(A, Rule::sends().after(5).times(3), Fault::answer(2, "busy"));
        cluster.script(B, Rule::sends().after(3).times(2), Fault::delay(ms(1_500)));
        cluster.script(B, Rule::sends().times(2), Fault::answer(1, "perhaps"));
    });
    for n in 0..60 {
        let spec = SendSpec::new(TOPIC, format!("message {n}"));
        let spec = match n % 7 {
            3 => spec.oneway(),
            5 => spec.to("broker-c", n % 4),
            _ => spec,
        };
        world.submit(spec);
        world.run_for(ms(u64::from(n % 5) * 20));
        if n == 30 {
            world.with(|cluster| cluster.kill(A));
        }
        if n == 50 {
            world.with(|cluster| cluster.restart(A));
        }
    }
    world.run_for(secs(20));
    world.finish();
    world
}

fn ends(world: &World) -> Vec<String> {
    let line = |outcome: &Outcome| match outcome {
        Outcome::Stored(r) => {
            format!("{:?} {} {:?} {}", r.status, r.broker_name, r.position, r.failed_attempts.len())
        }
        Outcome::Sent(r) => format!("{} {}", r.broker_name, r.queue_id),
        Outcome::Failed(error) => format!("{:?} {:?}", error.kind(), error.delivery()),
        Outcome::Rejected(kind) => format!("{kind:?}"),
    };
    world
        .records()
        .iter()
        .map(|record| record.outcome.as_ref().map_or(String::new(), line))
        .collect()
}

#[test]
fn i26_the_same_seed_tells_the_same_story() {
    for seed in 0..4 {
        let profile = LinkProfile {
            jitter: ms(3),
            segmentation: Segmentation::Random(90),
            writes: Writes::Partial,
            ..LinkProfile::default()
        };
        let habits = Habits { late_timers: ms(20), noise: 100, lazy: 100 };
        let first = story(seed, profile.clone(), habits.clone());
        let second = story(seed, profile.clone(), habits.clone());
        assert_eq!(first.trace().hash(), second.trace().hash());
        assert!(first.trace().total() > 300);
        let other = story(seed + 100, profile, habits);
        assert_ne!(first.trace().hash(), other.trace().hash());
    }
}

#[test]
fn i27_the_same_bytes_in_other_pieces_end_the_same() {
    for seed in 0..4 {
        let with = |segmentation| {
            let profile = LinkProfile { segmentation, ..LinkProfile::default() };
            story(seed, profile, Habits::default())
        };
        let whole = with(Segmentation::Whole);
        for cuts in [Segmentation::Bytes, Segmentation::Random(7), Segmentation::Random(300)] {
            assert_eq!(ends(&whole), ends(&with(cuts)), "{cuts:?}");
        }
    }
}

#[test]
fn inputs_that_mean_nothing_change_nothing() {
    for seed in 0..4 {
        let quiet = story(seed, LinkProfile::default(), Habits::default());
        let noise = Habits { noise: 700, ..Habits::default() };
        let noisy = story(seed, LinkProfile::default(), noise);
        assert_eq!(ends(&quiet), ends(&noisy), "seed {seed}");
    }
}
