//! Options of the commands that ask instead of sending.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use rocketmq_tokio::{
    Address, AddressMap, ClientOptions, Config, Message, TopicSettings, TopicType,
};

use crate::access::AccessArguments;
use crate::args::{RuntimeName, address_rule, millis, name_servers, property};
use crate::transport::TransportArguments;

/// Which servers to ask, and how.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Name servers
    #[arg(
        short,
        long,
        env = "NAMESRV_ADDR",
        value_name = "HOST:PORT[;HOST:PORT…]",
        value_parser = name_servers
    )]
    pub(crate) name_server: String,

    /// Address of a broker as reachable from here, when it announces another one (containers,
    /// NAT, tunnels); may be repeated
    #[arg(long = "map", value_name = "ANNOUNCED=REACHABLE", value_parser = address_rule)]
    pub(crate) address_rules: Vec<(Address, Address)>,

    /// Namespace whose topics are meant
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) namespace: String,

    /// Time for the whole question
    #[arg(long, value_name = "MS", default_value = "3000", value_parser = millis)]
    pub(crate) timeout: Duration,

    /// Async runtime that carries the client
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,

    /// Print lines of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) access: AccessArguments,

    #[command(flatten)]
    pub(crate) transport: TransportArguments,
}

impl ServerArguments {
    pub(crate) fn options(&self) -> Result<ClientOptions, String> {
        self.transport.options(self.config()?)
    }

    fn config(&self) -> Result<Config, String> {
        let rules = self.address_rules.iter().cloned();
        let map = rules.fold(AddressMap::new(), |map, (from, to)| map.with_rule(from, to));
        let config = Config::builder(&self.name_server)
            .address_map(map)
            .namespace(&*self.namespace)
            .request_timeout(self.timeout)
            // That of a recall; a request has its own.
            .send_timeout(self.timeout);
        self.access.apply(config)?.build().map_err(|error| error.to_string())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if there is a reply, 1 if not.\n\
                        \n\
                        --json prints one object with the keys outcome (replied, no_reply, \
                        unreadable; or that of\na send: refused, not_sent, unknown, invalid), \
                        topic, correlation_id, broker and unique_key\n(of a request that was \
                        stored and has no reply), producer_group, tag, keys, properties, body\n\
                        (null if it is not text), body_hex (null if it is) of the reply, \
                        elapsed_ms and error (a text).")]
pub(crate) struct RequestArguments {
    /// Topic to send to
    pub(crate) topic: String,

    /// Body of the request
    #[arg(allow_hyphen_values = true)]
    pub(crate) body: String,

    /// Tag, by which consumers filter
    #[arg(long)]
    pub(crate) tag: Option<String>,

    /// Keys by which the message can be found, separated by spaces
    #[arg(long, value_name = "K1 K2 …")]
    pub(crate) keys: Option<String>,

    /// Property of the message; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,

    /// Producer group
    #[arg(short, long, value_name = "NAME", default_value = "rmq")]
    pub(crate) group: String,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}

impl RequestArguments {
    pub(crate) fn message(&self) -> Message {
        let mut message = Message::new(self.topic.clone(), self.body.clone());
        if let Some(tag) = &self.tag {
            message = message.with_tag(tag.clone());
        }
        for key in self.keys.iter().flat_map(|keys| keys.split_whitespace()) {
            message = message.with_key(key.to_owned());
        }
        for (name, value) in &self.properties {
            message = message.with_property(name.clone(), value.clone());
        }
        message
    }
}

#[derive(Debug, Args)]
#[command(after_help = "--json prints one object with the keys topic, order, queues (each with \
                        broker, cluster, master, read_queues, write_queues, perm) and error \
                        (null, or request, kind, code, address, elapsed_ms, text).")]
pub(crate) struct RouteArguments {
    /// Topic
    pub(crate) topic: String,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}

#[derive(Debug, Args)]
pub(crate) struct TopicArguments {
    #[command(subcommand)]
    pub(crate) command: TopicCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic on every broker, or change it where it exists
    Create(CreateArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "--json prints one object with the keys topic, queues, type, brokers (each \
                        with broker, address, created, error) and error."
)]
pub(crate) struct CreateArguments {
    /// Topic
    pub(crate) topic: String,

    /// Queues on each broker
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) queues: u32,

    /// What messages it takes, on brokers of 5.x
    #[arg(long = "type", value_enum)]
    pub(crate) topic_type: Option<TypeName>,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}

impl CreateArguments {
    pub(crate) fn settings(&self) -> TopicSettings {
        let settings = TopicSettings::new(&*self.topic, self.queues);
        match self.topic_type {
            Some(name) => settings.with_type(name.into()),
            None => settings,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TypeName {
    Normal,
    Fifo,
    Delay,
    Transaction,
    Mixed,
}

impl From<TypeName> for TopicType {
    fn from(name: TypeName) -> TopicType {
        match name {
            TypeName::Normal => TopicType::Normal,
            TypeName::Fifo => TopicType::Fifo,
            TypeName::Delay => TopicType::Delay,
            TypeName::Transaction => TopicType::Transaction,
            TypeName::Mixed => TopicType::Mixed,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "--json prints one object per queue with the keys topic, broker, queue, \
                        min, max, messages and error.")]
pub(crate) struct OffsetsArguments {
    /// Topic
    pub(crate) topic: String,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "--json prints one object with the keys topic, queue, offset, \
                        commit_log_offset, offset_message_id, unique_key, tag, keys, properties, \
                        flag, sys_flag, compressed, born_ms, born_host, stored_ms, store_host, \
                        reconsume_times, body (null if it is not text), body_hex (null if it is) \
                        and error.")]
pub(crate) struct ViewArguments {
    /// Topic
    pub(crate) topic: String,

    /// Offset message id or unique key, as in a send's receipt
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "--json prints one object with the keys topic, handle, recalled (null if it is \
                        not known) and error."
)]
pub(crate) struct RecallArguments {
    /// Topic
    pub(crate) topic: String,

    /// The recall_handle of the send's receipt
    pub(crate) handle: String,

    /// Producer group that asks
    #[arg(short, long, value_name = "NAME", default_value = "rmq")]
    pub(crate) group: String,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if nothing keeps messages from being sent, 1 otherwise.\n\
                        \n\
                        --json prints one object per finding with the keys severity (ok, warning, \
                        problem), subject\n(client, name_server, topic, broker), name, address, \
                        what and remedy.")]
pub(crate) struct DiagnoseArguments {
    /// Topic to look at as well
    pub(crate) topic: Option<String>,

    #[command(flatten)]
    pub(crate) servers: ServerArguments,
}
