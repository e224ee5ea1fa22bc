//! Whether a tenant is at its limits, as the condition `QuotaSaturated` tells it.

use std::collections::BTreeSet;

use carillon_crds::Reason;
use carillon_tenant::{Code, Limit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Usage, is_percent};
use crate::status::Verdict;

/// A counted limit that was reached is left when less than this share of it is in use, in percent.
const LEFT_BELOW_PERCENT: u64 = 95;

/// What there is to say of a quota that was met. Fixed words: a condition names no numbers that move.
#[derive(Debug)]
pub struct Words {
    code: Code,
    reason: Reason,
    /// The field of the resource.
    pub field: &'static str,
    met: &'static str,
    /// What is refused.
    pub refused: &'static str,
    helps: &'static str,
}

impl Words {
    /// What there is to say of `code`; `None` when it is no quota.
    pub fn of(code: Code) -> Option<&'static Self> {
        WORDS.iter().find(|words| words.code == code)
    }

    fn message(&self, enforced: bool) -> String {
        let Self { field, met, refused, helps, .. } = self;
        if enforced { format!("{field} {met}: {refused}. {helps}.") } else { format!("{field} {met}; {NOTHING_REFUSED}. {helps}.") }
    }
}

/// What to say of a dry run.
pub const NOTHING_REFUSED: &str = "nothing is refused, since spec.quotas.enforcement is DryRun";

macro_rules! words {
    ($($code:ident: $field:literal $met:literal, $refused:literal, $helps:literal;)+) => {
        /// In the order of [`Code::ALL`].
        const WORDS: &[Words] = &[$(Words {
            code: Code::$code, reason: Reason::$code, field: $field, met: $met, refused: $refused, helps: $helps,
        }),+];
    };
}

words! {
    ConnectionsMax: "spec.quotas.connections.max" "is reached", "new connections are refused until some end",
        "Raise it, or close connections that idle";
    ConnectionsPerUserMax: "spec.quotas.connections.maxPerUser" "is reached", "further connections of the same user are refused",
        "Raise it, or let clients share or close connections";
    ConnectionsRate: "spec.quotas.connections.ratePerSecond" "is exceeded", "connects are refused, and clients that try again later come in",
        "Raise it or spec.quotas.connections.burst, or spread reconnects";
    RoomsMax: "spec.quotas.rooms.max" "is reached", "new rooms are refused until some empty", "Raise it, or leave rooms that are not needed";
    RoomMembersMax: "spec.quotas.rooms.maxMembers" "is reached", "full rooms can't be joined", "Raise it, or split rooms";
    RoomsPerConnectionMax: "spec.quotas.rooms.maxPerConnection" "is reached", "such connections can't join further rooms",
        "Raise it, or leave rooms that are not needed";
    RoomCreateRate: "spec.quotas.rooms.createRatePerSecond" "is exceeded", "new rooms are refused for moments",
        "Raise it, or make rooms more slowly";
    MessagesRate: "spec.quotas.messages.ratePerSecond" "is exceeded", "messages of clients are refused",
        "Raise it or spec.quotas.messages.burst, or send less";
    MessagesRatePerConnection: "spec.quotas.messages.ratePerSecondPerConnection" "is exceeded", "messages of such connections are refused",
        "Raise it or spec.quotas.messages.burstPerConnection, or send less";
    MessageBytesMax: "spec.quotas.messages.maxBytes" "is exceeded", "larger messages are refused", "Raise it, or send smaller messages";
    PublishRate: "spec.quotas.publish.ratePerSecond" "is exceeded", "publishes get 429", "Raise it or spec.quotas.publish.burst, or publish less";
    PublishBytesMax: "spec.quotas.publish.maxBytes" "is exceeded", "larger publishes get 413", "Raise it, or publish smaller data";
    EgressRate: "spec.quotas.egress.bytesPerSecond" "is exceeded", "publishing is refused until it has been made up for",
        "Raise it, or publish less, or to fewer";
}

/// Whether the tenant is at a limit. What was reached stays so until use is well below, so that the condition doesn't flap.
pub fn verdict(usage: &Usage, previous: Option<&Condition>) -> Verdict {
    let counted =
        [(Code::ConnectionsMax, usage.connections, usage.limits.connections), (Code::RoomsMax, usage.rooms_at_least, usage.limits.rooms)];
    let was = |code: Code| {
        let reason = Words::of(code).map(|words| words.reason.as_str());
        previous.is_some_and(|previous| previous.status == "True" && Some(previous.reason.as_str()) == reason)
    };
    let holds = |code: Code, count: u64, limit: Limit| limit.reached_by(count) || was(code) && is_percent(count, limit, LEFT_BELOW_PERCENT);
    let reached = counted.into_iter().filter(|(code, count, limit)| holds(*code, *count, *limit)).map(|(code, _, _)| code);
    let met: BTreeSet<_> = reached.chain(usage.limited.iter().copied()).collect();
    match WORDS.iter().find(|words| met.contains(&words.code)) {
        Some(words) => Verdict::new("True", words.reason, words.message(usage.limits.enforced)),
        None => Verdict::new("False", Reason::WithinLimits, "No limit is reached, and none refused anything within the last minute."),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;
    use crate::fixtures::usage;

    fn condition(status: &str, reason: &str) -> Condition {
        Condition {
            type_: "QuotaSaturated".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn follows_from_use_and_refusals_and_lets_go_late() {
        type State = (&'static str, &'static str);
        type Case<'a> = (&'a str, [u64; 2], &'a [Code], Option<State>, State);
        const MAX: State = ("True", "ConnectionsMax");
        const RATE: State = ("True", "MessagesRate");
        const WITHIN: State = ("False", "WithinLimits");
        // Connections and rooms of 1000 each, what was limited, what the condition was, and what it is.
        let cases: [Case<'_>; 14] = [
            ("idle", [0, 0], &[], None, WITHIN),
            ("nearly", [999, 999], &[], None, WITHIN),
            ("nearly, and never reached", [999, 0], &[], Some(WITHIN), WITHIN),
            ("connections reached", [1000, 0], &[], None, MAX),
            ("lowered below use", [2000, 0], &[], Some(WITHIN), MAX),
            ("rooms reached", [0, 1000], &[], Some(WITHIN), ("True", "RoomsMax")),
            ("both: the first", [1000, 1000], &[], None, MAX),
            ("holds down to 95 %", [950, 0], &[], Some(MAX), MAX),
            ("lets go below", [949, 0], &[], Some(MAX), WITHIN),
            ("lets go below, unless something was refused", [949, 0], &[Code::ConnectionsMax], Some(MAX), MAX),
            ("refused by a rate", [5, 5], &[Code::MessagesRate], Some(WITHIN), RATE),
            ("a rate that holds no more, with many connections", [960, 0], &[], Some(RATE), WITHIN),
            ("the first of several", [0, 0], &[Code::EgressRate, Code::MessagesRate], None, RATE),
            ("the reason moves on", [0, 1000], &[], Some(MAX), ("True", "RoomsMax")),
        ];
        for (name, [connections, rooms], limited, previous, expected) in cases {
            let usage = Usage { limited: limited.iter().copied().collect(), ..usage(connections, rooms, 0) };
            let previous = previous.map(|(status, reason)| condition(status, reason));
            let verdict = verdict(&usage, previous.as_ref());
            assert_eq!((verdict.status, verdict.reason.as_str()), expected, "{name}");
        }
    }

    #[test]
    fn every_quota_has_words_in_the_order_of_codes() {
        let quotas: Vec<_> = Code::ALL.into_iter().filter(|code| code.is_quota()).collect();
        assert_eq!(WORDS.iter().map(|words| words.code).collect::<Vec<_>>(), quotas);
        for words in WORDS {
            assert_eq!(words.reason.as_str(), format!("{:?}", words.code), "the reason is the code in CamelCase");
        }
    }

    #[test]
    fn the_message_names_the_field_and_what_helps() {
        let mut reached = usage(1000, 0, 0);
        let expected =
            "spec.quotas.connections.max is reached: new connections are refused until some end. Raise it, or close connections that idle.";
        assert_eq!(verdict(&reached, None).message, expected);
        reached.limits.enforced = false;
        let expected = "spec.quotas.connections.max is reached; nothing is refused, since spec.quotas.enforcement is DryRun. \
                        Raise it, or close connections that idle.";
        assert_eq!(verdict(&reached, None).message, expected);
    }
}
