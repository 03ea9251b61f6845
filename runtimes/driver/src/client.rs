//! The handle on one client, and what it tells about itself.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    Address, Config, ConfigError, Credentials, Delivery, GroupError, NotReady, PublishQueues,
    QueuesError, SendError, limits,
};

use crate::admin::Admin;
use crate::diagnose::{Diagnosis, diagnose};
use crate::driver::Driver;
use crate::events::EventStream;
use crate::gather::AutoBatchError;
use crate::guard::guarded;
use crate::histogram::Histogram;
use crate::identity::Identity;
use crate::options::ClientOptions;
use crate::producer::{Producer, ProducerOptions};
use crate::runtime::Runtime;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::trace::TraceError;
use crate::transport::Transport;

/// A client: its connections, its name servers and the routes that it knows. Producers are made
/// from it and share all of that.
///
/// Clones are cheap and mean the same client. When the last handle has gone (clients, producers,
/// event streams and futures of sends), accepted sends still finish within their time; then the
/// client ends. [`Client::close`] tells how they ended.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Starts a client as a task of `runtime`. Needs no reachable name server; see
    /// [`Client::wait_ready`] for that.
    ///
    /// Users call `start` of the crate for their runtime.
    pub fn start_with<R: Runtime>(options: impl Into<ClientOptions>, runtime: R) -> Client {
        let (client, driver) = Client::new(options, runtime.clone());
        runtime.spawn(driver);
        client
    }

    /// A client and the future that drives it, for those who spawn it themselves. When that future
    /// is dropped before it has ended, every open send fails with
    /// [`SendErrorKind::DriverStopped`](rocketmq_core::SendErrorKind::DriverStopped), and so does
    /// every later one.
    pub fn new<R: Runtime>(options: impl Into<ClientOptions>, runtime: R) -> (Client, Driver<R>) {
        let options = options.into();
        let transport = Arc::new(Transport::new(&options, &runtime));
        let mut config = options.config;
        let loader = runtime.seed() as u32;
        let identity = Identity::new(runtime.host(), runtime.process_id(), loader);
        if config.client_id.is_empty() {
            config.client_id = identity.client_id(&config, runtime.seed()).into();
        }
        config.interceptors.guard(guard);
        let clock = Box::new(runtime.clone());
        let shared = Arc::new(Shared::new(config, clock, identity));
        let driver = Driver::new(runtime, Arc::clone(&shared), Arc::clone(&transport));
        (Client { handle: Arc::new(Handle { shared, transport }) }, driver)
    }

    /// A producer of `group`. Clone it for further ones of the same group.
    ///
    /// # Errors
    /// If the name is not legal, this client already has a producer of this group, or it is closed.
    pub fn producer(&self, group: &str) -> Result<Producer, GroupError> {
        Producer::new(Arc::clone(&self.handle), group)
    }

    /// Calls about topics, offsets and stored messages.
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.handle))
    }

    /// Looks at everything between this process and a stored message: name servers (reachable, and
    /// really name servers), host names, the route of `topic` (existence, queues, permission), the
    /// address of every broker, its VIP port, version and clock, and whether name servers and
    /// brokers refuse the credentials. Each finding says what to do. Whether they may send to a
    /// topic is known when they do.
    ///
    /// Nothing is changed or sent anywhere; brokers are asked to describe themselves. Takes a few
    /// times [`Config::request_timeout`] at most.
    ///
    /// ```no_run
    /// # async fn example(client: rocketmq_driver::Client) {
    /// println!("{}", client.diagnose(Some("Orders")).await);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future gives the walk up.
    pub async fn diagnose(&self, topic: Option<&str>) -> Diagnosis {
        diagnose(&self.handle, topic).await
    }

    /// As [`Client::producer`], with options.
    ///
    /// # Errors
    /// As [`Client::producer`], or if an option is out of range.
    pub fn producer_with(
        &self,
        group: &str,
        options: ProducerOptions,
    ) -> Result<Producer, StartError> {
        Producer::with_options(Arc::clone(&self.handle), group, options)
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.handle.shared.config
    }

    /// Replaces the list of name servers with one like `10.0.0.1:9876;10.0.0.2:9876`, and ends its
    /// look-up by [`Config::name_server_url`] if there is one.
    ///
    /// Servers that are no longer listed are not asked any more and their connections close.
    /// Routes stay, and sends go on. On a closed client this does nothing.
    ///
    /// # Errors
    /// If an address cannot be read, or the list is empty. Nothing has changed then.
    ///
    /// ```
    /// # fn example(client: &rocketmq_driver::Client) -> Result<(), rocketmq_driver::ConfigError> {
    /// client.set_name_servers("10.0.0.1:9876;10.0.0.2:9876")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_name_servers(&self, name_servers: &str) -> Result<(), ConfigError> {
        self.set_name_server_addresses(Address::parse_list(name_servers)?)
    }

    /// As [`Client::set_name_servers`], with a list that was read already.
    ///
    /// # Errors
    /// If the list is empty or has more than [`limits::NAME_SERVERS_MAX`] entries.
    pub fn set_name_server_addresses(&self, addresses: Vec<Address>) -> Result<(), ConfigError> {
        if addresses.is_empty() {
            return Err(ConfigError::NoNameServer);
        }
        if addresses.len() > limits::NAME_SERVERS_MAX {
            let max = limits::NAME_SERVERS_MAX as u64;
            return Err(ConfigError::TooLarge { setting: "name_servers", max });
        }
        self.handle.shared.set_name_servers(addresses);
        Ok(())
    }

    /// Signs every request with `credentials` from the next one that is written on, or none with
    /// `None`. Requests that have been written stay as they are. A provider is asked on as before,
    /// and what it gives next replaces them. On a closed client this does nothing.
    ///
    /// ```
    /// # use rocketmq_driver::{Client, CredentialsError};
    /// # fn example(client: &Client) -> Result<(), CredentialsError> {
    /// use rocketmq_driver::Credentials;
    ///
    /// client.set_credentials(Some(Credentials::new("orders-service", "12345678")?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_credentials(&self, credentials: Option<Credentials>) {
        self.handle.shared.set_credentials(credentials);
    }

    /// Replaces the TLS settings, say because certificates were renewed: connections that are made
    /// from now on use them. Those that are open go on as they are; so do sends.
    ///
    /// On a client that was started without TLS, connections from now on are encrypted.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: crate::tls::TlsConfig) {
        self.handle.transport.tls.set(tls);
    }

    /// Waits until a name server has answered, at most for `timeout`.
    ///
    /// # Errors
    /// Tells what happened with each name server that was asked, or with the look-up of the name
    /// servers. The list is empty if the client is closed or its driver has ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReady> {
        let shared = &self.handle.shared;
        let slot = Arc::new(Slot::new());
        shared.wait_ready(&slot, shared.clock.now() + timeout);
        poll_fn(|cx| slot.poll(cx)).await
    }

    /// The queues of a topic that can be written to. The route is looked up if it is not known,
    /// once for all who ask or send at the same time, within
    /// [`Config::send_timeout`](rocketmq_core::Config::send_timeout). A topic that does not exist
    /// has the queues that it would get, if it can be created by a send.
    ///
    /// # Errors
    /// Tells why the queues are not known, and what the name servers said.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn queues(&self, topic: &str) -> Result<PublishQueues, QueuesError> {
        let shared = &self.handle.shared;
        let slot = Arc::new(Slot::new());
        shared.queues(topic, &slot, shared.clock.now() + shared.config.send_timeout);
        poll_fn(|cx| slot.poll(cx)).await
    }

    /// Waits until every send accepted so far has ended, well or not. Sends that wait for room are
    /// not accepted yet.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flush(&self) {
        let slot = Arc::new(Slot::new());
        self.handle.shared.flush(&slot);
        poll_fn(|cx| slot.poll(cx)).await;
    }

    /// Closes the client: refuses new sends, lets the others end, at most for `timeout`, and tells
    /// the brokers; those that do not answer get up to one second more. Sends still open after
    /// `timeout` end with [`SendErrorKind::Closed`](rocketmq_core::SendErrorKind::Closed). So long
    /// as there is time, it waits for transactions to be decided as well.
    ///
    /// Closing twice is fine: the first call gets the report, later ones wait as well and get an
    /// empty one. A later call with an earlier end shortens the wait.
    ///
    /// # Cancel safety
    /// The client closes even if the future is dropped after its first poll; the report is lost.
    pub async fn close(&self, timeout: Duration) -> CloseReport {
        let shared = &self.handle.shared;
        let slot = Arc::new(Slot::new());
        shared.close(&slot, shared.clock.now() + timeout);
        poll_fn(|cx| slot.poll(cx)).await
    }

    /// Changes how much may be in flight, from now on: so many sends, and so many bytes of bodies.
    /// They begin as [`Config::in_flight_messages_max`](rocketmq_core::Config) and
    /// [`Config::in_flight_bytes_max`](rocketmq_core::Config); those are left as they were.
    ///
    /// Nothing in flight or waiting is lost. With less room than is taken, the others wait until
    /// enough has ended; a message that waits and is larger than all room goes when it is alone.
    ///
    /// # Errors
    /// If one of them is 0, or there are more messages than the client can handle. Nothing is
    /// changed then.
    pub fn set_in_flight_max(&self, messages: u32, bytes: usize) -> Result<(), ConfigError> {
        rocketmq_core::check_in_flight_max(messages, bytes)?;
        self.handle.shared.resize(messages, bytes);
        Ok(())
    }

    /// The client's events from now on.
    pub fn events(&self) -> EventStream {
        EventStream::new(Arc::clone(&self.handle))
    }

    /// Counters, as of the driver's latest turn.
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }

    pub(crate) fn from_handle(handle: Arc<Handle>) -> Client {
        Client { handle }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.handle.shared;
        let mut debug = f.debug_struct("Client");
        debug.field("client_id", &shared.config.client_id).finish_non_exhaustive()
    }
}

/// Calls an interceptor, whose panic must not reach the driver.
fn guard(call: &mut dyn FnMut()) {
    guarded(call);
}

/// What became of the sends that were open when [`Client::close`] was called.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// Sends acknowledged since, oneway ones handed to a socket included.
    pub acknowledged: u64,
    /// Sends that failed since.
    pub failed: u64,
    /// The unique key of each that failed, and whether a broker may have stored it.
    pub failures: Vec<(UniqueKey, Delivery)>,
    /// Failures of sends whose handle had been dropped, with their messages: nobody else will hear
    /// of them.
    pub unclaimed: Vec<SendError>,
    /// Transactions that were not decided until the end. Their brokers will ask another process of
    /// the group about them.
    pub undecided: Vec<UniqueKey>,
}

/// Counters of one client since its start, and its present load. A batch counts as one send; those
/// that the client gathers count one by one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Sends that had room and were taken in.
    pub accepted: u64,
    /// Sends that a broker stored.
    pub acknowledged: u64,
    /// Of those, the ones stored with less durability than asked for.
    pub weak: u64,
    /// Oneway sends handed to a socket.
    pub oneway: u64,
    /// Sends that failed and that no broker stored.
    pub refused: u64,
    /// Sends that failed before any broker had them whole.
    pub not_sent: u64,
    /// Sends that failed and that a broker may have stored.
    pub unknown: u64,
    /// Attempts beyond the first of each send.
    pub retries: u64,
    /// Messages in flight.
    pub in_flight: u32,
    /// Bytes of bodies in flight.
    pub in_flight_bytes: usize,
    /// Sends that wait for room.
    pub waiting: usize,
    /// Connections, those being made included.
    pub connections: usize,
    /// Time from the call to the acknowledgement of every send that a broker stored.
    pub latency: Histogram,
}

/// Why a client or producer could not be started.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The producer group cannot be used.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The settings of automatic batches cannot work.
    #[error(transparent)]
    AutoBatch(#[from] AutoBatchError),
    /// The settings of the message trace cannot work.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// There is no runtime here to start on.
    #[error("no runtime here; start inside of one, or pass its handle to start_on")]
    NoRuntime,
}

/// Ends the client when the last of all handles goes.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Arc<Transport>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.handles_gone();
    }
}
