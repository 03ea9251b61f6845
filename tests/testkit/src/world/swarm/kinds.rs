//! The menu: every kind of fault that a run can have.

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Connections: partitions, delays, cuts.
    Link,
    /// How bytes are cut into pieces.
    Segmentation,
    /// Processes and machines of brokers.
    Broker,
    /// What brokers answer.
    Answer,
    /// Name servers and what they say.
    NameServer,
    /// Clocks.
    Time,
    /// The application and the loop around the machine.
    Local,
}

macro_rules! kinds {
    ($($group:ident { $($kind:ident $text:literal,)+ })+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[doc = $text] $kind,)+)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$($(Kind::$kind,)+)+];

            /// Where it strikes.
            pub fn group(self) -> Group {
                match self {
                    $($(Kind::$kind)|+ => Group::$group,)+
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $($(Kind::$kind => stringify!($kind),)+)+
                }
            }

            /// What happens.
            pub fn text(self) -> &'static str {
                match self {
                    $($(Kind::$kind => $text,)+)+
                }
            }
        }
    };
}

kinds! {
    Link {
        Partition "Nothing gets through between the clients and one server; it arrives afterwards.",
        PartitionOut "Nothing gets through to one server.",
        PartitionIn "Nothing gets through from one server.",
        PartitionOfClient "One client is cut off from every server.",
        PartitionOfSide "A random set of servers is cut off, one way or both.",
        Delay "Bytes take up to 5 s more.",
        Jitter "Bytes take up to half a second more, each write anew.",
        Bandwidth "A narrow line: from one byte to 20 kB per second.",
        Swizzle "All connections stop one by one, and go on in another order.",
        Clog "One connection stops, and goes on.",
        ResetOut "Connections are reset once so many bytes were sent.",
        ResetIn "Connections are reset once so many bytes were received.",
        FinOut "Connections end in order once so many bytes were sent.",
        FinIn "Connections end in order once so many bytes were received.",
        HalfClose "A server finishes its side of connections and goes on reading.",
        HalfOpen "Connections fall silent for ever, without an end.",
        Unread "A server stops to read from its connections.",
        Resets "All connections of a server are reset at once.",
        DialRefused "Dials are refused.",
        DialBlackHole "Dials get no answer.",
        DialNoName "The name does not resolve.",
        DialClosed "Dials are accepted, and closed at once.",
        Mute "Dials are accepted, and nothing follows.",
        Refusing "The server's listener refuses.",
        BlackHole "The server's listener does not answer.",
        Replay "A middlebox delivers what was sent once more, on another connection.",
        Corruption "Up to 10 % of all bytes are changed on the way.",
        SmallBuffer "The socket has room for 300 bytes.",
    }
    Segmentation {
        ByteReads "Bytes come one at a time.",
        PrefixReads "Bytes come in pieces of up to 7, so that every length prefix is split.",
        ByteWrites "The socket takes one byte at a time.",
        PartialWrites "The socket takes any part of what it is offered.",
        BlockingWrites "The socket has no room at every first try.",
    }
    Broker {
        Kill "A server is killed and restarted with its log.",
        KillAll "All brokers are killed and restarted.",
        CrashLoop "A server is killed and restarted again and again.",
        Loss "A broker is killed and loses the end of its log.",
        Moved "A broker is restarted under another address.",
        Stall "A server stands still, as after SIGSTOP.",
        SlowFixed "A broker answers late, always by the same time.",
        SlowUniform "A broker answers late, each time by another time.",
        SlowTail "One answer in ten is very late.",
        MasterGone "The master of a group is gone; its slaves are left.",
        ReadOnly "A topic may not be written on one broker.",
        QueuesShrunk "A topic has fewer queues on one broker.",
        QueuesGrown "A topic has more queues on one broker.",
        BrokerRemoved "A broker leaves all routes and comes back.",
        TopicRemoved "A broker forgets a topic.",
    }
    Answer {
        SystemError "Code 1; the message may be stored.",
        Busy "Code 2.",
        FlowControl "Code 215.",
        MessageIllegal "Code 13.",
        ServiceNotAvailable "Code 14.",
        NoPermission "Code 16.",
        TopicNotExist "Code 17.",
        InvalidParameter "Code 29.",
        OtherFinal "Codes 3, 15 and 26.",
        OtherRetried "Codes 204 and 205.",
        NotLeader "Code 501.",
        FlushDiskTimeout "Code 10: stored, not flushed.",
        SlaveNotAvailable "Code 11: stored, no slave.",
        FlushSlaveTimeout "Code 12: stored, not replicated.",
        GoAwayOnce "Code 1500 once.",
        GoAwayAlways "Code 1500 to every send for a while.",
        UnknownCode "A code that nobody knows; the message may be stored.",
        NegativeCode "Code -1; the message may be stored.",
        WithoutReceipt "Success without any field.",
        MalformedReceipt "Success with fields that cannot be read.",
        AnswerLost "Stored, and no answer.",
        RequestLost "Neither stored nor answered.",
        AnswerTwice "Every answer comes twice.",
        AnswerLate "The answer comes after the deadline.",
        OutOfOrder "Answers overtake each other.",
        WrongOpaque "The answer names a request that never was.",
        OldOpaque "The answer names an earlier request.",
        OtherConnection "The answer of one connection comes on another as well.",
        OnewayAnswered "Oneway messages are answered.",
        LongRemark "A remark of up to 1 MB.",
        OddJson "Answers in JSON with another order, spaces, nulls and unknown fields.",
        HalfFrame "The beginning of a long frame, and then silence.",
        Garbage "Bytes that are no frame instead of an answer.",
        GarbageAfterStoring "Stored, and then bytes that are no frame.",
        CloseInsteadOfAnswer "The connection is closed instead.",
        ResetAfterStoring "Stored, and the connection is reset.",
        ResetInRequest "The connection is reset in the middle of a request.",
        ResetInAnswer "The connection is reset in the middle of an answer.",
        ServerRequests "Requests that a producer does not serve, with numbers that clash.",
        CompressedGarbage "Requests whose bodies say that they are compressed, and are not.",
    }
    NameServer {
        NameServerDown "One name server is killed and restarted.",
        HalfDown "Half of the name servers, or the only one, are killed.",
        NameServerSlow "A name server answers late.",
        NameServerHole "A name server's machine does not answer.",
        Forgets "A name server knows no topic, as after its restart.",
        NotReady "A name server says that it is not ready.",
        StaleRoutes "A name server goes on telling what was true.",
        EmptyRoute "A route without brokers.",
        HostileRoute "A route that nobody can mean.",
        RouteFlips "A route changes at every look.",
        RoutesDisagree "Name servers tell different routes.",
        LooseJson "Routes in JSON as fastjson writes it.",
        NameServerGarbage "Something else than a name server answers.",
        NameServerSilent "A name server takes queries and does not answer.",
    }
    Time {
        WallJump "The wall clock jumps by up to an hour.",
        WallFar "The wall clock jumps to 1970, 2038 or 2106.",
        LateTimers "Timers are served up to 5 s late.",
    }
    Local {
        Burst "Hundreds of sends at one moment.",
        CancelStorm "Every open send is cancelled.",
        CloseClient "A client closes in the middle of everything.",
        GroupsChange "A client's group leaves and another one comes.",
        Noise "The machine gets inputs that mean nothing.",
        Lazy "The loop drains the machine late.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_menu_is_long_and_every_group_has_something() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(names.len() >= 90, "{} kinds", names.len());
        let groups: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.group()).collect();
        assert_eq!(groups.len(), 7);
    }
}
