import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.AccessChannel;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.client.trace.TraceBean;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Reads back, with the official Java client, everything that is stored in the given topics.
 *
 * Run: java Reader NAMESRV [COMMAND], COMMAND being one of:
 *   read TOPIC ...             prints everything that is stored there
 *   traces TOPIC ...           prints the records of the message trace that are stored there
 *   encode CHANNEL RECORDS     reads records (hexadecimal) and writes them again, for a channel
 *   send TOPIC COUNT [LENGTH]  sends messages with bodies that are short, or of that length
 *   hash TOPIC KEY ...         sends a message for each key to the queue of its hash
 *   respond TOPIC              replies to everything that is sent there, from now on
 *   request TOPIC COUNT MS     sends requests and prints the replies
 *   sign KEY SECRET TOKEN BODY [NAME VALUE] ...  signs a request, all of it in hexadecimal behind a
 *                              dash
 *   mqadmin WORD ...           what the script of this name does
 * Without a command it reads commands from standard input, one a line, until that closes. Each
 * command prints one JSON object a line, the last one {"end":true,"count":N} or {"error":"..."}.
 */
@SuppressWarnings("deprecation") // The simple pull consumer is the one that both 4.9 and 5.x have.
public class Reader {
    private static final PrintStream OUT = new PrintStream(
        new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
    private static final int TOPIC_NOT_EXIST = 17;

    private final String nameServer;
    private DefaultMQPullConsumer consumer;
    private DefaultMQProducer producer;
    /** Whether records of the message trace are read, not messages. */
    private boolean traces;

    private Reader(String nameServer) {
        this.nameServer = nameServer;
    }

    public static void main(String[] args) throws Exception {
        // The client's loggers may print: standard output is for the answers alone.
        System.setOut(System.err);
        Reader reader = new Reader(args[0]);
        boolean good = true;
        if (args.length > 1) {
            good = reader.obey(Arrays.copyOfRange(args, 1, args.length));
        } else {
            BufferedReader in = new BufferedReader(
                new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                reader.obey(line.trim().split(" +"));
            }
        }
        // The client's own threads need no clean end, and some are not daemons.
        Runtime.getRuntime().halt(good ? 0 : 1);
    }

    private boolean obey(String[] words) {
        Line end = new Line();
        boolean good = true;
        try {
            int count;
            traces = words[0].equals("traces");
            if (words[0].equals("read") || traces) {
                count = read(Arrays.asList(words).subList(1, words.length));
            } else if (words[0].equals("send") && words.length >= 3) {
                int length = words.length > 3 ? Integer.parseInt(words[3]) : 0;
                count = send(words[1], Integer.parseInt(words[2]), length);
            } else if (words[0].equals("encode") && words.length == 3) {
                count = encode(AccessChannel.valueOf(words[1]), text(words[2]));
            } else if (words[0].equals("hash")) {
                count = hash(words[1], Arrays.asList(words).subList(2, words.length));
            } else if (words[0].equals("respond")) {
                count = respond(words[1]);
            } else if (words[0].equals("request")) {
                count = request(words[1], Integer.parseInt(words[2]), Long.parseLong(words[3]));
            } else if (words[0].equals("sign")) {
                count = sign(words);
            } else if (words[0].equals("mqadmin")) {
                MQAdminStartup.main0(Arrays.copyOfRange(words, 1, words.length), credentials());
                count = 0;
            } else {
                throw new IllegalArgumentException("no such command: " + String.join(" ", words));
            }
            end.put("end", true).put("count", count);
        } catch (Exception e) {
            good = false;
            StringBuilder text = new StringBuilder(String.valueOf(e));
            for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
                text.append(", caused by ").append(cause);
            }
            end.put("error", text.toString());
        }
        OUT.println(end.text());
        OUT.flush();
        return good;
    }

    private int read(List<String> topics) throws Exception {
        if (consumer == null) {
            consumer = new DefaultMQPullConsumer("interop_reader", credentials());
            consumer.setNamesrvAddr(nameServer);
            consumer.setInstanceName("interop_reader");
            consumer.setNamespace(namespace());
            consumer.start();
        }
        int count = 0;
        Map<MessageQueue, Long> next = new TreeMap<>();
        for (String topic : topics) {
            try {
                // What it remembers of a topic may be half a minute old, and lack a broker that
                // was away.
                // Java: DefaultMQPullConsumerImpl#fetchSubscribeMessageQueues
                consumer.getDefaultMQPullConsumerImpl().getRebalanceImpl()
                    .getTopicSubscribeInfoTable().remove(consumer.withNamespace(topic));
                for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                    next.put(queue, consumer.minOffset(queue));
                }
            } catch (MQClientException e) {
                if (!isAbsent(e)) {
                    throw e;
                }
                OUT.println(new Line().put("topic", topic).put("absent", true).text());
            }
        }
        // A broker indexes a moment after it acknowledges: go round until nothing new shows up.
        for (int quiet = 0; quiet < 2; ) {
            int found = 0;
            for (Map.Entry<MessageQueue, Long> entry : next.entrySet()) {
                found += drain(entry);
            }
            count += found;
            quiet = found == 0 ? quiet + 1 : 0;
            if (quiet == 1) {
                Thread.sleep(60);
            }
        }
        return count;
    }

    /** Signs requests if the properties interop.accessKey and interop.secretKey are set. */
    private static RPCHook credentials() {
        String accessKey = System.getProperty("interop.accessKey");
        String secretKey = System.getProperty("interop.secretKey");
        return accessKey == null ? null
            : new AclClientRPCHook(new SessionCredentials(accessKey, secretKey));
    }

    /** Has the client's own hook sign a request, as it does before each one leaves. */
    private static int sign(String[] words) {
        String token = text(words[3]);
        SessionCredentials credentials = token.isEmpty()
            ? new SessionCredentials(text(words[1]), text(words[2]))
            : new SessionCredentials(text(words[1]), text(words[2]), token);
        RemotingCommand request = RemotingCommand.createRequestCommand(10, null);
        HashMap<String, String> fields = new HashMap<>();
        for (int i = 5; i + 1 < words.length; i += 2) {
            fields.put(text(words[i]), text(words[i + 1]));
        }
        request.setExtFields(fields);
        byte[] body = bytes(words[4]);
        request.setBody(body.length == 0 ? null : body);
        new AclClientRPCHook(credentials).doBeforeRequest("127.0.0.1:1", request);
        OUT.println(new Line().put("signature", request.getExtFields().get("Signature")).text());
        return 1;
    }

    private static String text(String hex) {
        return new String(bytes(hex), StandardCharsets.UTF_8);
    }

    private static byte[] bytes(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i + 1, 2 * i + 3), 16);
        }
        return bytes;
    }

    /** The part before each topic and group, if the property interop.namespace is set. */
    private static String namespace() {
        return System.getProperty("interop.namespace");
    }

    private static boolean isAbsent(Throwable e) {
        for (; e != null; e = e.getCause()) {
            if (e instanceof MQClientException
                && ((MQClientException) e).getResponseCode() == TOPIC_NOT_EXIST) {
                return true;
            }
        }
        return false;
    }

    /** Reads one queue from where the last round stopped up to its end as of now. */
    private int drain(Map.Entry<MessageQueue, Long> entry) throws Exception {
        MessageQueue queue = entry.getKey();
        long offset = entry.getValue();
        long end = consumer.maxOffset(queue);
        int count = 0;
        int empty = 0;
        while (offset < end) {
            PullResult result = consumer.pull(queue, "*", offset, 32);
            if (result.getPullStatus() == PullStatus.FOUND) {
                for (MessageExt message : result.getMsgFoundList()) {
                    if (traces) {
                        count += records(message);
                    } else {
                        OUT.println(describe(queue, message).text());
                        count++;
                    }
                }
                empty = 0;
            } else if (++empty > 100) {
                throw new IllegalStateException(
                    queue + " ends at " + end + " but gives nothing at " + offset);
            } else {
                Thread.sleep(20);
            }
            if (result.getPullStatus() != PullStatus.NO_NEW_MSG) {
                offset = Math.max(offset, result.getNextBeginOffset());
            }
        }
        entry.setValue(offset);
        return count;
    }

    /** Prints what the client's own decoder makes of the records in a message. */
    private static int records(MessageExt message) {
        String text = new String(message.getBody(), StandardCharsets.UTF_8);
        List<TraceContext> contexts = TraceDataEncoder.decoderFromTraceDataString(text);
        StringBuilder again = new StringBuilder();
        for (TraceContext context : contexts) {
            context.setAccessChannel(AccessChannel.LOCAL);
            again.append(TraceDataEncoder.encoderFromContextBean(context).getTransData());
        }
        for (TraceContext context : contexts) {
            TraceBean bean = context.getTraceBeans().get(0);
            OUT.println(new Line()
                .put("kind", context.getTraceType().name())
                .put("time", String.valueOf(context.getTimeStamp()))
                .put("region", context.getRegionId())
                .put("group", context.getGroupName())
                .put("cost", String.valueOf(context.getCostTime()))
                .put("success", String.valueOf(context.isSuccess()))
                .put("topic", bean.getTopic())
                .put("id", bean.getMsgId())
                .put("tags", bean.getTags())
                .put("keys", bean.getKeys())
                .put("store_host", bean.getStoreHost())
                .put("body_length", String.valueOf(bean.getBodyLength()))
                .put("type", String.valueOf(bean.getMsgType()))
                .put("offset_id", bean.getOffsetMsgId())
                .put("transaction_id", String.valueOf(bean.getTransactionId()))
                .put("state", String.valueOf(bean.getTransactionState()))
                .put("from_check", String.valueOf(bean.isFromTransactionCheck()))
                .put("message_keys", message.getKeys())
                .put("exact", String.valueOf(again.toString().equals(text)))
                .text());
        }
        return contexts.size();
    }

    /** Has the client's own classes read records and write them again. */
    private static int encode(AccessChannel channel, String text) {
        StringBuilder again = new StringBuilder();
        List<TraceContext> contexts = TraceDataEncoder.decoderFromTraceDataString(text);
        for (TraceContext context : contexts) {
            context.setAccessChannel(channel);
            again.append(TraceDataEncoder.encoderFromContextBean(context).getTransData());
        }
        OUT.println(new Line().put("text", again.toString()).put("records", contexts.size()).text());
        return 1;
    }

    private static Line describe(MessageQueue queue, MessageExt message) throws Exception {
        String offsetId = message instanceof MessageClientExt
            ? ((MessageClientExt) message).getOffsetMsgId() : message.getMsgId();
        return new Line()
            .put("topic", message.getTopic())
            .put("broker", queue.getBrokerName())
            .put("queue", message.getQueueId())
            .put("offset", message.getQueueOffset())
            .put("offset_message_id", offsetId)
            .put("born_timestamp", message.getBornTimestamp())
            .put("store_timestamp", message.getStoreTimestamp())
            .put("sys_flag", message.getSysFlag())
            .put("unique_key", message.getProperty("UNIQ_KEY"))
            .content(message);
    }

    private int send(String topic, int count, int length) throws Exception {
        for (int i = 0; i < count; i++) {
            String body = "body " + i;
            if (length > 0) {
                StringBuilder text = new StringBuilder();
                while (text.length() < length) {
                    text.append(body).append(' ');
                }
                body = text.substring(0, length);
            }
            Message message = new Message(topic, "Tag" + i % 3, "key" + i + "订单",
                body.getBytes(StandardCharsets.UTF_8));
            message.setFlag(i);
            message.putUserProperty("city", "münchen \"" + i + "\"");
            message.putUserProperty("number", String.valueOf(i));
            report(topic, message, producer().send(message));
        }
        return count;
    }

    private int hash(String topic, List<String> keys) throws Exception {
        SelectMessageQueueByHash selector = new SelectMessageQueueByHash();
        for (String key : keys) {
            Message message =
                new Message(topic, "Hash", key, key.getBytes(StandardCharsets.UTF_8));
            report(topic, message, producer().send(message, selector, key));
        }
        return keys.size();
    }

    private int respond(String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("respond_" + topic);
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName("respond_" + topic);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        DefaultMQProducer producer = producer();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            try {
                for (MessageExt message : messages) {
                    String body = "re: " + new String(message.getBody(), StandardCharsets.UTF_8);
                    Message reply = MessageUtil.createReplyMessage(
                        message, body.getBytes(StandardCharsets.UTF_8));
                    reply.setTags("reply");
                    reply.putUserProperty("number", message.getUserProperty("number"));
                    producer.send(reply, 3000);
                }
            } catch (Exception e) {
                e.printStackTrace();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        // The first try to share the queues may come before the brokers know the consumer, and the
        // next one 20 s later.
        int queues = consumer.fetchSubscribeMessageQueues(topic).size();
        Map<?, ?> assigned =
            consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable();
        for (int i = 0; assigned.size() < queues; i++) {
            if (i > 1000) {
                throw new IllegalStateException(assigned.size() + " of " + queues + " queues");
            }
            Thread.sleep(50);
        }
        return 0;
    }

    private int request(String topic, int count, long timeout) throws Exception {
        for (int i = 0; i < count; i++) {
            Message message = new Message(topic, "ask", "ask-" + i,
                ("ask " + i).getBytes(StandardCharsets.UTF_8));
            Message reply = producer().request(message, timeout);
            OUT.println(new Line().put("topic", reply.getTopic()).content(reply).text());
        }
        return count;
    }

    private DefaultMQProducer producer() throws Exception {
        if (producer == null) {
            producer = new DefaultMQProducer("interop_sender", credentials());
            producer.setNamesrvAddr(nameServer);
            producer.setInstanceName("interop_sender");
            producer.setNamespace(namespace());
            producer.setSendMsgTimeout(10000);
            producer.start();
        }
        return producer;
    }

    private static void report(String topic, Message message, SendResult result) throws Exception {
        MessageQueue queue = result.getMessageQueue();
        OUT.println(new Line()
            .put("topic", topic)
            .put("broker", queue.getBrokerName())
            .put("queue", queue.getQueueId())
            .put("offset", result.getQueueOffset())
            .put("offset_message_id", result.getOffsetMsgId())
            .put("unique_key", result.getMsgId())
            .put("status", result.getSendStatus().name())
            .content(message)
            .text());
    }

    /** One JSON object, written by hand: the JSON library on the class path differs by version. */
    private static final class Line {
        private final StringBuilder out = new StringBuilder("{");

        String text() {
            return out + "}";
        }

        Line content(Message message) throws Exception {
            byte[] body = message.getBody() == null ? new byte[0] : message.getBody();
            put("sha256", hex(MessageDigest.getInstance("SHA-256").digest(body)));
            put("length", body.length);
            if (body.length <= 64) {
                put("body", hex(body));
            }
            put("tags", message.getTags());
            put("keys", message.getKeys());
            put("flag", message.getFlag());
            key("properties").append('{');
            String comma = "";
            for (Map.Entry<String, String> e : new TreeMap<>(message.getProperties()).entrySet()) {
                quote(out.append(comma), e.getKey());
                quote(out.append(':'), e.getValue());
                comma = ",";
            }
            out.append('}');
            return this;
        }

        Line put(String key, Object value) {
            key(key);
            if (value instanceof String) {
                quote(out, (String) value);
            } else {
                out.append(value);
            }
            return this;
        }

        private StringBuilder key(String key) {
            if (out.length() > 1) {
                out.append(',');
            }
            quote(out, key);
            return out.append(':');
        }

        private static void quote(StringBuilder out, String text) {
            out.append('"');
            for (char c : text.toCharArray()) {
                if (c == '"' || c == '\\') {
                    out.append('\\').append(c);
                } else if (c < 32) {
                    out.append(String.format("\\u%04x", (int) c));
                } else {
                    out.append(c);
                }
            }
            out.append('"');
        }

        private static String hex(byte[] bytes) {
            StringBuilder text = new StringBuilder(bytes.length * 2);
            for (byte b : bytes) {
                text.append(Character.forDigit(b >> 4 & 15, 16));
                text.append(Character.forDigit(b & 15, 16));
            }
            return text.toString();
        }
    }
}
