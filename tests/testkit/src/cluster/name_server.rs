//! The name server: answers from what the brokers announced, unless a test made it lie.

use std::collections::BTreeMap;

use super::broker::{Reply, respond, unsupported};
use super::config::{ClusterConfig, ServerVersion};
use crate::wire::{
    BrokerData, Command, TopicRoute, cluster_info_json, request_code as request,
    response_code as answer,
};

// Clients from this version on get strict JSON. Java: ClientRequestProcessor, V4_9_4.
const STRICT_JSON_VERSION: i32 = 401;

/// What a name server says about a topic instead of the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteOverride {
    /// It does not know the topic.
    Missing,
    /// This route.
    Route(TopicRoute),
    /// Success with this body, whatever it is.
    Body(Vec<u8>),
}

/// One name server.
#[derive(Clone, Debug, Default)]
pub(super) struct NameServer {
    pub(super) overrides: BTreeMap<String, RouteOverride>,
    /// Every route as it was when the name server stopped to listen to brokers.
    pub(super) frozen: Option<BTreeMap<String, TopicRoute>>,
    pub(super) route_queries: BTreeMap<String, u64>,
}

impl NameServer {
    /// Processes a request; `routes` is what the brokers announce.
    pub(super) fn process(
        &mut self,
        config: &ClusterConfig,
        routes: &dyn Fn(&str) -> Option<TopicRoute>,
        brokers: &[BrokerData],
        command: &Command,
    ) -> Reply {
        match command.code {
            request::GET_ROUTEINFO_BY_TOPIC => {
                Reply::Answer(self.route_answer(config, routes, command))
            }
            request::GET_BROKER_CLUSTER_INFO => {
                let mut response = respond(config, command, (answer::SUCCESS, None));
                let brokers = if self.frozen.as_ref().is_some_and(BTreeMap::is_empty) {
                    &[]
                } else {
                    brokers
                };
                response.body = cluster_info_json(brokers, is_new(config)).into_bytes();
                Reply::Answer(response)
            }
            // A 4.9 name server does not answer at all (measured).
            _ if !is_new(config) => Reply::Nothing,
            code => Reply::Answer(respond(config, command, unsupported(code))),
        }
    }

    // Java: ClientRequestProcessor#getRouteInfoByTopic.
    fn route_answer(
        &mut self,
        config: &ClusterConfig,
        routes: &dyn Fn(&str) -> Option<TopicRoute>,
        command: &Command,
    ) -> Command {
        let topic = command.ext.get("topic").unwrap_or_default().to_owned();
        *self.route_queries.entry(topic.clone()).or_default() += 1;
        let accept_strict = command.ext.get("acceptStandardJsonOnly");
        let strict = command.version >= STRICT_JSON_VERSION
            || accept_strict.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let route = match (self.overrides.get(&topic), &self.frozen) {
            (Some(RouteOverride::Body(body)), _) => {
                let mut response = respond(config, command, (answer::SUCCESS, None));
                response.body = body.clone();
                return response;
            }
            (Some(RouteOverride::Route(route)), _) => Some(route.clone()),
            (Some(RouteOverride::Missing), _) => None,
            (None, Some(frozen)) => frozen.get(&topic).cloned(),
            (None, None) => routes(&topic),
        };
        let Some(route) = route else {
            return respond(
                config,
                command,
                (answer::TOPIC_NOT_EXIST, Some(no_route(config, &topic))),
            );
        };
        let mut response = respond(config, command, (answer::SUCCESS, None));
        response.body = route.to_json(strict, is_new(config)).into_bytes();
        response
    }
}

fn is_new(config: &ClusterConfig) -> bool {
    config.version > ServerVersion::V4_9
}

// The texts of 4.9.7 and 5.x as recorded.
fn no_route(config: &ClusterConfig, topic: &str) -> String {
    let page = if is_new(config) {
        "https://rocketmq.apache.org/docs/bestPractice/06FAQ"
    } else {
        "http://rocketmq.apache.org/docs/faq/"
    };
    format!(
        "No topic route info in name server for the topic: {topic}\n\
         See {page} for further details."
    )
}
