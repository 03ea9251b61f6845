//! One list of cases that every runtime has to pass: those with real sockets, over the loopback
//! interface, and the simulated one, in virtual time.
//!
//! A case is an async function, generic over its [`Harness`], and named once, in
//! [`conformance!`](crate::conformance!). The macro makes one test of each for every harness, so no
//! runtime can lack one. What the servers stored is the judge: `rocketmq-testkit` has its own codec
//! and its own idea of what a broker does.
//!
//! Cases wait for conditions, not for time. Limits of time are guards against hangs, unless the
//! time is what a case is about.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rocketmq_driver::{Client, ClientOptions, Config};
use rocketmq_testkit::cluster::ClusterConfig;

pub use place::{Park, Servers};

pub mod admin;
pub mod batches;
pub mod closing;
pub mod credentials;
pub mod diagnosis;
pub mod discovery;
pub mod dropping;
pub mod encrypting;
pub mod events;
pub mod faults;
pub mod gathering;
pub mod hooks;
pub mod lifecycle;
pub mod lifetimes;
pub mod messages;
pub mod name_servers;
pub mod naming;
mod place;
pub mod recalling;
pub mod requesting;
pub mod room;
mod scene;
pub mod selecting;
pub mod sending;
pub mod tracing;
pub mod transactions;

/// After this a case hangs.
const HANG: Duration = Duration::from_secs(40);

/// A future whose type does not matter.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a case needs of a runtime.
pub trait Harness: Send + Sync + 'static {
    /// The servers that clients on this runtime reach.
    type Cluster: Servers;

    /// By how much something may take longer than its time: for real clocks, what a machine with
    /// other work needs.
    const TOLERANCE: Duration = Duration::from_millis(500);

    /// How often each case is run.
    const RUNS: u64 = 1;

    /// A runtime of its own, as far as the runtime allows that, for the run with this number.
    fn new(run: u64) -> Self;

    /// Starts servers.
    fn cluster(&self, config: ClusterConfig) -> Self::Cluster;

    /// Runs the case, on the calling thread.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Starts a task.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static;

    /// The time by which the runtime's timers go, since some moment.
    fn now(&self) -> Duration {
        place::real_time()
    }

    /// The time since `start`, a time of [`Harness::now`].
    fn since(&self, start: Duration) -> Duration {
        self.now() - start
    }

    /// Runs `body` on a thread of its own, and gives what it gives.
    fn thread<T: Send + 'static>(
        &self,
        body: impl FnOnce(&dyn Park) -> T + Send + 'static,
    ) -> impl Future<Output = T> {
        let thread = thread::spawn(move || body(&place::ThisThread::new()));
        async move {
            while !thread.is_finished() {
                self.sleep(Duration::from_millis(1)).await;
            }
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        }
    }

    /// Starts a client as users do. Called inside of [`Harness::block_on`].
    fn start(&self, options: impl Into<ClientOptions>) -> Client;

    /// A client whose driver is not spawned. Called inside of [`Harness::block_on`].
    fn client(&self, config: Config) -> (Client, BoxFuture);

    /// Another runtime of the same kind, on a thread of its own, that is there to end before the
    /// case does.
    fn mortal(&self) -> Box<dyn Mortal>;
}

/// A runtime that can be ended from outside, with all of its tasks.
pub trait Mortal: Send {
    /// Starts a client on it. May be called inside of another runtime.
    fn start(&self, config: Config) -> Client;

    /// Starts a task on it.
    fn spawn(&self, future: BoxFuture);

    /// Ends it: all of its tasks are dropped, now or soon.
    fn end(self: Box<Self>);
}

/// Runs a case on a thread of its own, so that one that hangs fails.
///
/// # Panics
/// If the case fails or hangs.
pub fn run<H: Harness>(case: impl AsyncFn(&H) + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let name = thread::current().name().unwrap_or("case").to_owned();
    let body = move || {
        for run in 0..H::RUNS {
            let harness = H::new(run);
            harness.block_on(case(&harness));
        }
        // Nobody listens any more after the time limit.
        let _ = done.send(());
    };
    let case = thread::Builder::new().name(name).spawn(body).expect("a thread can be started");
    match ended.recv_timeout(HANG) {
        Err(RecvTimeoutError::Timeout) => panic!("hangs: not over after {HANG:?}"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = case.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// The names of all cases.
pub const CASES: &[&str] = crate::conformance!(@all names);

/// Makes a test of every case for one harness.
#[macro_export]
macro_rules! conformance {
    (@all $($made:tt)+) => {
        $crate::conformance! { @$($made)+;
            sending: send, receipts_tell_what_the_broker_stored, oneway, many_tasks_send_at_once,
                one_task_submits_thousands_and_answers_come_out_of_order,
                submits_to_one_queue_keep_their_order, the_smallest_and_the_largest_body,
                a_broker_that_stops_reading_gets_every_byte_in_the_end, binary_headers,
                the_encoding_is_on_the_wire,
                name_servers_by_host_name, addresses_are_mapped, two_groups_share_a_client,
                a_busy_connection_leaves_idle_ones_alone, an_invalid_message_comes_back;
            batches: a_batch_is_one_request_and_a_receipt_for_each,
                a_batch_kept_as_one_unit_has_one_id,
                an_old_broker_shows_the_key_of_the_batch, an_invalid_batch_comes_back_whole,
                messages_are_split_by_their_size_as_sent, a_dead_broker_moves_the_whole_batch,
                a_refused_batch_gives_all_messages_back,
                an_unreadable_receipt_of_a_batch_is_one_for_all,
                a_batch_takes_room_for_its_size_as_sent,
                batches_are_cancelled_whole_and_do_not_mix;
            gathering: sends_at_once_leave_together, a_lone_send_is_a_plain_send,
                only_alike_sends_leave_together, a_full_batch_leaves_at_once,
                close_sends_what_is_held, the_last_handle_sends_what_is_held,
                a_send_dropped_while_it_is_held_is_not_sent,
                a_refused_batch_fails_each_of_its_sends, a_dead_broker_moves_what_was_gathered,
                who_waits_for_room_does_not_wait_for_the_linger, the_time_of_a_held_send_runs,
                settings_out_of_range_are_refused;
            messages: bodies_are_compressed_when_that_helps,
                a_message_that_was_compressed_comes_back_as_it_was, delays_reach_the_broker;
            selecting: hashes_choose_the_queue, the_queues_of_a_topic,
                a_question_for_queues_ends_in_time, a_function_chooses_the_queue,
                a_function_that_fails_fails_its_own_send, ordered_submits_are_stored_in_order;
            room: senders_wait_and_go_on_in_the_order_in_which_they_came,
                try_submit_without_room_gives_the_message_back,
                no_room_in_time_names_the_bound_on_messages,
                no_room_in_time_names_the_bound_on_bytes,
                a_body_larger_than_all_room_is_refused_at_once,
                submit_waits_for_room_alone,
                a_topic_at_its_bound_does_not_hold_up_others,
                an_unlimited_wait_for_room_spends_no_time_of_the_send,
                room_is_resized_while_sends_wait,
                a_send_that_fails_on_bytes_gives_its_number_back;
            dropping: a_send_that_was_never_polled_does_nothing,
                a_send_dropped_while_it_waits_for_room_leaves_the_queue,
                a_send_dropped_while_it_waits_for_a_route_is_not_sent,
                a_send_dropped_while_it_waits_for_a_connection_is_not_sent,
                a_send_dropped_after_its_bytes_left_is_stored_once,
                a_submit_dropped_while_it_waits_for_room_leaves_the_queue,
                a_dropped_handle_lets_the_send_go_on,
                cancel_before_a_byte_has_left_ends_the_send,
                cancel_after_the_bytes_left_waits_for_the_answer,
                sends_dropped_at_any_moment_leave_nothing_behind;
            faults: a_silent_broker_costs_the_time_of_the_send_and_no_more,
                three_silent_brokers_are_all_tried_and_listed,
                a_broker_that_dies_and_returns_under_load_loses_nothing_acknowledged,
                a_black_hole_among_three_brokers_fails_no_send, a_stalled_broker_is_waited_for,
                a_late_answer_is_told_apart, an_answer_that_comes_twice_counts_once,
                an_answer_to_another_request_is_ignored, garbage_costs_one_attempt,
                an_answer_cut_short_costs_one_attempt, a_busy_broker_is_left_for_another,
                a_refusal_tells_code_and_remark;
            name_servers: the_second_name_server_answers_for_a_dead_first,
                the_second_name_server_answers_for_a_black_hole,
                something_else_than_a_name_server_is_named,
                a_closed_port_is_named_with_what_to_do, an_unknown_topic_says_so,
                ready_when_a_name_server_answers, not_ready_names_every_name_server;
            closing: flush_waits_for_all_that_was_accepted, close_lets_open_sends_end,
                close_ends_at_its_time_and_gives_back_what_is_open,
                close_lets_in_who_waits_for_room, closing_twice_reports_once,
                a_later_close_shortens_the_wait, after_close_every_call_is_refused,
                many_tasks_close_at_once, without_handles_accepted_sends_still_end;
            lifetimes: the_end_of_the_runtime_answers_everybody,
                the_end_of_the_runtime_before_a_route_is_known,
                a_dropped_driver_answers_everybody, a_driver_that_never_ran_answers_everybody,
                a_driver_that_never_ran_reports_to_who_closes,
                a_client_outlives_the_runtimes_it_is_used_from,
                handles_are_used_without_any_runtime, an_idle_client_is_not_polled,
                handles_cross_threads_and_futures_are_small;
            naming: a_namespace_is_on_the_wire_and_nowhere_else,
                a_namespace_leaves_the_default_topic_alone,
                a_namespace_of_the_second_version_is_in_every_request,
                messages_go_to_the_vip_port_and_all_else_does_not,
                brokers_know_the_client_by_its_id, a_named_topic_makes_brokers_know_the_group;
            discovery: name_servers_are_looked_up_by_url,
                a_look_up_that_fails_is_told_and_tried_again,
                the_list_of_name_servers_is_replaced;
            lifecycle: every_call_in_every_state, a_start_that_fails_leaves_nothing;
            events: a_fail_over_is_told_in_order, a_slow_reader_loses_the_oldest_events,
                events_end_with_the_client;
            hooks: interceptors_that_panic_or_refuse_cost_their_own_send,
                interceptors_hear_of_attempts_that_a_dropped_driver_leaves,
                the_histogram_holds_the_latency_of_every_stored_send;
            credentials: every_request_is_signed,
                a_refused_client_is_told_why_and_tries_no_other_broker,
                a_refused_route_ends_sends_at_once,
                credentials_are_replaced_while_the_client_runs,
                a_provider_is_asked_at_the_start_and_before_expiry,
                a_provider_that_never_answers_costs_each_call_its_own_time,
                a_provider_that_fails_or_panics_is_asked_again;
            admin: a_topic_is_created_on_every_broker, a_topic_is_created_where_sends_create_none,
                offsets_follow_what_is_stored, stored_messages_are_found,
                a_silent_broker_costs_the_time_of_a_call,
                the_end_of_the_driver_answers_who_asked, admin_calls_stay_in_the_namespace;
            recalling: a_timer_message_is_recalled, what_is_not_recalled_says_why,
                a_broker_that_recalls_nothing_says_so, a_recall_whose_answer_is_lost_may_be_done;
            requesting: a_request_gets_its_reply, every_broker_is_greeted_before_a_request_leaves,
                a_broker_that_is_away_holds_up_the_first_request_alone,
                a_request_without_reply_ends_in_time, the_first_reply_counts,
                a_reply_may_come_before_the_receipt, a_reply_is_decompressed,
                odd_pushes_are_answered, a_request_that_is_not_sent_says_so,
                a_dropped_request_leaves_nothing_behind, close_waits_for_replies,
                the_end_of_the_driver_ends_requests,
                another_group_that_goes_takes_no_replies_along, only_requests_are_replied_to;
            tracing: a_record_tells_of_each_send, records_leave_in_batches_or_after_the_interval,
                each_topic_has_trace_messages_of_its_own, a_batch_is_one_record,
                nothing_is_recorded_without_a_receipt, a_bad_region_breaks_no_record,
                a_retried_send_is_one_record,
                a_trace_that_cannot_keep_up_is_dropped_and_counted,
                a_trace_topic_that_takes_nothing_fails_nothing,
                close_sends_what_was_recorded, the_last_handle_sends_what_was_recorded,
                the_ends_of_transactions_are_recorded, a_recall_is_recorded,
                traces_are_not_heard_of, two_producers_have_traces_of_their_own;
            transactions: a_transaction_is_delivered_when_it_is_committed,
                a_transaction_that_is_rolled_back_is_not_delivered,
                what_a_proxy_acknowledges_is_told_again_when_asked,
                a_commit_without_answer_leaves_once_and_is_told_when_asked,
                a_broker_that_asks_too_early_hears_undecided,
                a_dropped_transaction_is_decided_by_the_handler,
                another_process_of_the_group_decides,
                a_handler_that_is_late_or_panics_is_asked_again,
                without_a_handler_nothing_is_decided,
                a_begin_that_is_dropped_is_rolled_back,
                a_begin_that_fails_is_rolled_back,
                a_weak_beginning_is_none,
                a_half_message_that_was_left_behind_is_rolled_back,
                a_copy_at_the_same_broker_is_told_apart,
                close_waits_for_decisions_and_reports_the_rest,
                a_decision_moves_to_another_connection,
                a_decision_for_a_dead_broker_waits_and_is_told_later,
                a_decision_after_the_end_says_so;
            encrypting: servers_are_verified_and_messages_arrive,
                a_server_of_another_name_is_refused, the_name_that_is_dialed_is_verified,
                a_server_of_an_unknown_authority_is_refused,
                a_certificate_out_of_its_time_is_refused,
                a_certificate_of_the_client_is_shown_when_demanded,
                a_message_to_who_turns_the_client_away_was_not_sent,
                any_certificate_is_accepted_if_that_is_said,
                a_plain_client_is_told_that_a_server_may_demand_tls,
                a_server_without_tls_is_told_apart,
                a_handshake_that_is_cut_short_fails_the_dial,
                a_server_that_never_answers_the_handshake_is_left,
                large_and_many_messages_are_encrypted, the_second_connection_resumes_the_first,
                tls_settings_are_replaced_while_the_client_runs,
                tls_is_turned_on_while_the_client_runs, a_diagnosis_looks_at_tls;
            diagnosis: a_diagnosis_of_a_sound_cluster_finds_no_fault,
                a_diagnosis_tells_how_far_a_brokers_clock_is_off,
                a_diagnosis_tells_what_is_no_name_server, a_diagnosis_judges_the_topic,
                a_diagnosis_tells_which_broker_cannot_be_reached;
        }
    };
    (@names; $($module:ident: $($case:ident),+;)+) => {
        &[$($(stringify!($case)),+),+]
    };
    (@tests $harness:ty; $($module:ident: $($case:ident),+;)+) => {
        $($(
            #[test]
            fn $case() {
                $crate::conformance::run::<$harness>($crate::conformance::$module::$case);
            }
        )+)+
    };
    ($harness:ty) => {
        $crate::conformance! { @all tests $harness }
    };
}
