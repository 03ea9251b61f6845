//! Taking a timer message back.

use rocketmq_core::{QueryError, QueryErrorKind, QueryRequest, RecallHandle};

use crate::admin::Call;
use crate::producer::Producer;

impl Producer {
    /// Recalls a message that was sent with
    /// [`deliver_at`](rocketmq_core::Message::deliver_at) or
    /// [`deliver_after`](rocketmq_core::Message::deliver_after) and is not delivered yet. `handle`
    /// is what the receipt of its send has as
    /// [`recall_handle`](rocketmq_core::SendReceipt::recall_handle); it is a text that any process
    /// may keep. The broker that has the message is asked once, within
    /// [`Config::send_timeout`](rocketmq_core::Config::send_timeout).
    ///
    /// Success means that the broker has noted not to deliver the stored message of this handle.
    /// It does not look whether there is one, and what is due within the next second, or while the
    /// broker's timer lags, may be delivered all the same. A send whose receipt has
    /// [`failed_attempts`](rocketmq_core::SendReceipt::failed_attempts) with an unknown fate may
    /// have stored another copy; nobody has the handle of that one, and it is delivered.
    ///
    /// ```
    /// # use rocketmq_driver::{Message, Producer};
    /// # use std::time::Duration;
    /// # async fn remind(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let reminder = Message::new("Reminders", "pay").deliver_after(Duration::from_secs(3_600));
    /// let receipt = producer.send(reminder).await?;
    /// if let Some(handle) = &receipt.recall_handle {
    ///     producer.recall("Reminders", handle).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`InvalidRecallHandle`](QueryErrorKind::InvalidRecallHandle),
    ///   [`ForeignRecallHandle`](QueryErrorKind::ForeignRecallHandle): nobody was asked.
    /// - [`NoSuchBroker`](QueryErrorKind::NoSuchBroker): the topic's route does not name the broker
    ///   that has the message.
    /// - [`RecallDisabled`](QueryErrorKind::RecallDisabled): the broker recalls nothing. That is
    ///   the default of brokers from 5.3.2 on, and older ones cannot.
    /// - [`NotRecallable`](QueryErrorKind::NotRecallable): not this message, mostly because its
    ///   time has come.
    ///
    /// [`QueryError::may_be_done`] says whether the message may have been recalled all the same. It
    /// does no harm to recall it again.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer; the message may have been recalled.
    // Java: DefaultMQProducerImpl#recallMessage, which asks any broker of the topic if the route
    // does not name that of the handle.
    pub async fn recall(&self, topic: &str, handle: &str) -> Result<(), QueryError> {
        let what = "recall of the message";
        let refused = |kind| QueryError::new(kind, what);
        let handle: RecallHandle =
            handle.parse().map_err(|_| refused(QueryErrorKind::InvalidRecallHandle))?;
        let config = &self.shared().config;
        if *handle.topic != *config.wire_topic(topic) {
            return Err(refused(QueryErrorKind::ForeignRecallHandle(handle.topic)));
        }
        let request = QueryRequest::Recall {
            topic: topic.into(),
            // The group is registered, so it has a name.
            producer_group: config.wire_group(self.group()).unwrap_or_default().into(),
            broker_name: handle.broker_name.clone(),
            handle: handle.to_string().into(),
        };
        let call = Call::within(self.handle(), config.send_timeout);
        call.of_broker(topic, &handle.broker_name, what, request).await.map(drop)
    }
}
